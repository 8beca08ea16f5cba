-- class: expand
-- Every order in which certificates are listed follows an index: a page costs the same in a small fleet and in a large one.
CREATE INDEX certificates_common_name ON certificates (common_name, id);
CREATE INDEX certificates_environment ON certificates (environment, id);
CREATE INDEX certificates_by_status ON certificates (status, id);

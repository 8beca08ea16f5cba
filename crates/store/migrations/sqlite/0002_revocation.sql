-- class: expand
-- What relying parties are told of revocations: lists, their numbers, and the responders that answer in the place of CAs.

-- In which part of its CA's list a revocation stands, and the number of the first list that was to have it. NULL until then.
ALTER TABLE revocations ADD COLUMN shard INTEGER;
ALTER TABLE revocations ADD COLUMN listed_in INTEGER;
CREATE INDEX revocations_listed ON revocations (issuer_id, listed_in);
CREATE INDEX revocations_shard ON revocations (issuer_id, shard, serial_number);

-- Lists of the CAs that this installation keeps. The first one of a CA is about all of its certificates; further ones, with a url, are
-- each about the certificates that name that url. Everything behind opened_at is NULL until the first list is published.
CREATE TABLE crls (
    issuer_id     TEXT NOT NULL REFERENCES issuers (id),
    shard         INTEGER NOT NULL,
    authority_id  TEXT NOT NULL REFERENCES authorities (id),
    url           TEXT,
    opened_at     INTEGER NOT NULL,
    number        INTEGER,
    der           BLOB,
    der_bytes     INTEGER,
    sha256        TEXT,
    this_update   INTEGER,
    next_update   INTEGER,
    generated_at  INTEGER,
    duration_ms   INTEGER,
    revoked_count INTEGER,
    PRIMARY KEY (issuer_id, shard)
) STRICT;

-- The last number that was taken for a list of an issuer, published or not. Only the task that makes lists touches it.
CREATE TABLE crl_numbers (
    issuer_id TEXT PRIMARY KEY REFERENCES issuers (id),
    number    INTEGER NOT NULL
) STRICT;

-- Delegated OCSP responders; the newest one that is valid answers.
CREATE TABLE ocsp_responders (
    authority_id    TEXT NOT NULL REFERENCES authorities (id),
    certificate_pem TEXT NOT NULL,
    secret_id       TEXT PRIMARY KEY REFERENCES secrets (id),
    not_before      INTEGER NOT NULL,
    not_after       INTEGER NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX ocsp_responders_authority ON ocsp_responders (authority_id, created_at);

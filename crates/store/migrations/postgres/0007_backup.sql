-- class: expand
-- What became of each kind of run on backups the last time, so that every replica can show it. One row for each verb: it does not grow.
CREATE TABLE backup_runs (
    verb text PRIMARY KEY,
    succeeded_at timestamptz,
    archive text,
    size_bytes bigint,
    duration_ms bigint,
    failed_at timestamptz,
    failure text
);

-- class: expand
-- What became of each kind of run on backups the last time, so that every replica can show it. One row for each verb: it does not grow.
CREATE TABLE backup_runs (
    verb TEXT PRIMARY KEY,
    succeeded_at INTEGER,
    archive TEXT,
    size_bytes INTEGER,
    duration_ms INTEGER,
    failed_at INTEGER,
    failure TEXT
) STRICT;

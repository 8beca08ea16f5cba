-- class: expand
-- The accounts of ACME issuers, the HTTP challenges that every replica answers, and when their CAs are asked about renewal.

CREATE TABLE acme_accounts (
    issuer_id      TEXT NOT NULL REFERENCES issuers (id) ON DELETE CASCADE,
    directory_url  TEXT NOT NULL,
    secret_id      TEXT NOT NULL REFERENCES secrets (id),
    next_secret_id TEXT REFERENCES secrets (id),
    account_url    TEXT,
    contact        TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    PRIMARY KEY (issuer_id, directory_url)
) STRICT;

CREATE TABLE acme_challenges (
    token             TEXT PRIMARY KEY,
    issuer_id         TEXT NOT NULL REFERENCES issuers (id) ON DELETE CASCADE,
    key_authorization TEXT NOT NULL,
    expires_at        INTEGER NOT NULL,
    created_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX acme_challenges_expires ON acme_challenges (expires_at);

-- When the CA of a version is asked again when it suggests renewal; a version without a row is asked at once.
CREATE TABLE acme_renewals (
    version_id TEXT PRIMARY KEY REFERENCES certificate_versions (id) ON DELETE CASCADE,
    ask_at     INTEGER NOT NULL
) STRICT;

-- class: expand
-- The accounts of ACME issuers, the HTTP challenges that every replica answers, and when their CAs are asked about renewal.

CREATE TABLE acme_accounts (
    issuer_id      text NOT NULL REFERENCES issuers (id) ON DELETE CASCADE,
    directory_url  text NOT NULL,
    secret_id      text NOT NULL REFERENCES secrets (id),
    next_secret_id text REFERENCES secrets (id),
    account_url    text,
    contact        text NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (issuer_id, directory_url)
);

CREATE TABLE acme_challenges (
    token             text PRIMARY KEY,
    issuer_id         text NOT NULL REFERENCES issuers (id) ON DELETE CASCADE,
    key_authorization text NOT NULL,
    expires_at        timestamptz NOT NULL,
    created_at        timestamptz NOT NULL
);
CREATE INDEX acme_challenges_expires ON acme_challenges (expires_at);

-- When the CA of a version is asked again when it suggests renewal; a version without a row is asked at once.
CREATE TABLE acme_renewals (
    version_id text PRIMARY KEY REFERENCES certificate_versions (id) ON DELETE CASCADE,
    ask_at     timestamptz NOT NULL
);

-- The accounts of ACME issuers, and the HTTP challenges that every replica answers.

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

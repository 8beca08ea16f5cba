-- class: expand
-- What relying parties are told of revocations: lists, their numbers, and the responders that answer in the place of CAs.

-- In which part of its CA's list a revocation stands, and the number of the first list that was to have it. NULL until then.
ALTER TABLE revocations ADD COLUMN shard bigint;
ALTER TABLE revocations ADD COLUMN listed_in bigint;
CREATE INDEX revocations_listed ON revocations (issuer_id, listed_in);
CREATE INDEX revocations_shard ON revocations (issuer_id, shard, serial_number);

-- Lists of the CAs that this installation keeps. The first one of a CA is about all of its certificates; further ones, with a url, are
-- each about the certificates that name that url. Everything behind opened_at is NULL until the first list is published.
CREATE TABLE crls (
    issuer_id     text NOT NULL REFERENCES issuers (id),
    shard         bigint NOT NULL,
    authority_id  text NOT NULL REFERENCES authorities (id),
    url           text,
    opened_at     timestamptz NOT NULL,
    number        bigint,
    der           bytea,
    der_bytes     bigint,
    sha256        text,
    this_update   timestamptz,
    next_update   timestamptz,
    generated_at  timestamptz,
    duration_ms   bigint,
    revoked_count bigint,
    PRIMARY KEY (issuer_id, shard)
);

-- The last number that was taken for a list of an issuer, published or not. Only the task that makes lists touches it.
CREATE TABLE crl_numbers (
    issuer_id text PRIMARY KEY REFERENCES issuers (id),
    number    bigint NOT NULL
);

-- Delegated OCSP responders; the newest one that is valid answers.
CREATE TABLE ocsp_responders (
    authority_id    text NOT NULL REFERENCES authorities (id),
    certificate_pem text NOT NULL,
    secret_id       text PRIMARY KEY REFERENCES secrets (id),
    not_before      timestamptz NOT NULL,
    not_after       timestamptz NOT NULL,
    created_at      timestamptz NOT NULL
);
CREATE INDEX ocsp_responders_authority ON ocsp_responders (authority_id, created_at);

-- class: expand
-- The whole schema of the first release. Instants are UTC with microseconds; every identifier is text.

CREATE TABLE teams (
    id          text PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    description text NOT NULL,
    revision    bigint NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

CREATE TABLE owners (
    id         text PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    email      text,
    team_id    text REFERENCES teams (id),
    revision   bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX owners_team ON owners (team_id);

CREATE TABLE profiles (
    id                     text PRIMARY KEY,
    name                   text NOT NULL UNIQUE,
    description            text NOT NULL,
    allowed_key_algorithms jsonb NOT NULL,
    max_ttl_seconds        bigint NOT NULL,
    allowed_ekus           jsonb NOT NULL,
    required_san_patterns  jsonb NOT NULL,
    spiffe_uri_pattern     text,
    allow_short_lived      boolean NOT NULL,
    must_staple            boolean NOT NULL,
    requires_approval      boolean NOT NULL,
    enabled                boolean NOT NULL,
    revision               bigint NOT NULL,
    created_at             timestamptz NOT NULL,
    updated_at             timestamptz NOT NULL
);

CREATE TABLE renewal_policies (
    id                     text PRIMARY KEY,
    name                   text NOT NULL UNIQUE,
    renewal_window_days    bigint NOT NULL,
    auto_renew             boolean NOT NULL,
    max_retries            bigint NOT NULL,
    retry_interval_seconds bigint NOT NULL,
    alert_thresholds_days  jsonb NOT NULL,
    certificate_profile_id text,
    revision               bigint NOT NULL,
    created_at             timestamptz NOT NULL,
    updated_at             timestamptz NOT NULL
);

-- Secrets under an envelope: each value has a data key of its own, wrapped by the key named in key_id.
CREATE TABLE secrets (
    id          text PRIMARY KEY,
    purpose     text NOT NULL,
    key_id      text NOT NULL,
    wrapped_key bytea NOT NULL,
    nonce       bytea NOT NULL,
    ciphertext  bytea NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX secrets_key ON secrets (key_id, id);

CREATE TABLE issuers (
    id             text PRIMARY KEY,
    name           text NOT NULL UNIQUE,
    type           text NOT NULL,
    config         jsonb NOT NULL,
    enabled        boolean NOT NULL,
    last_tested_at timestamptz,
    test_status    text NOT NULL,
    secret_id      text REFERENCES secrets (id),
    revision       bigint NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL
);

-- CA certificates whose keys this installation holds. purpose: 'issuing' of an issuer, 'root' of an issuer, 'platform', 'seal'.
CREATE TABLE authorities (
    id         text PRIMARY KEY,
    issuer_id  text REFERENCES issuers (id),
    purpose    text NOT NULL,
    chain_pem  text NOT NULL,
    secret_id  text NOT NULL REFERENCES secrets (id),
    not_after  timestamptz NOT NULL,
    retired_at timestamptz,
    created_at timestamptz NOT NULL
);
-- One active authority of a purpose; concurrent first starts cannot make two.
CREATE UNIQUE INDEX authorities_active ON authorities (purpose, COALESCE(issuer_id, '')) WHERE retired_at IS NULL;

CREATE TABLE agents (
    id                text PRIMARY KEY,
    name              text NOT NULL UNIQUE,
    hostname          text NOT NULL,
    status            text NOT NULL,
    last_heartbeat_at timestamptz,
    registered_at     timestamptz NOT NULL,
    os                text NOT NULL,
    architecture      text NOT NULL,
    ip_address        text NOT NULL,
    version           text NOT NULL,
    labels            jsonb NOT NULL,
    clock_skew_ms     bigint,
    retired_at        timestamptz,
    retired_reason    text,
    secret_hash       text NOT NULL,
    revision          bigint NOT NULL,
    updated_at        timestamptz NOT NULL
);
CREATE INDEX agents_status ON agents (status, last_heartbeat_at);
CREATE INDEX agents_registered ON agents (registered_at, id);

CREATE TABLE enrollment_tokens (
    id          text PRIMARY KEY,
    secret_hash text NOT NULL,
    agent_name  text,
    labels      jsonb NOT NULL,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    used_by     text REFERENCES agents (id),
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX enrollment_tokens_created ON enrollment_tokens (created_at, id);

CREATE TABLE targets (
    id         text PRIMARY KEY,
    name       text NOT NULL UNIQUE,
    type       text NOT NULL,
    agent_id   text NOT NULL REFERENCES agents (id),
    config     jsonb NOT NULL,
    enabled    boolean NOT NULL,
    secret_id  text REFERENCES secrets (id),
    revision   bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);
CREATE INDEX targets_agent ON targets (agent_id);
CREATE INDEX targets_created ON targets (created_at, id);

CREATE TABLE certificates (
    id                     text PRIMARY KEY,
    name                   text NOT NULL UNIQUE,
    common_name            text NOT NULL,
    sans                   jsonb NOT NULL,
    environment            text NOT NULL,
    owner_id               text REFERENCES owners (id),
    team_id                text REFERENCES teams (id),
    issuer_id              text NOT NULL REFERENCES issuers (id),
    target_ids             jsonb NOT NULL,
    renewal_policy_id      text NOT NULL REFERENCES renewal_policies (id),
    certificate_profile_id text NOT NULL REFERENCES profiles (id),
    key_algorithm          text,
    status                 text NOT NULL,
    reason                 text NOT NULL,
    hint                   text,
    next_try_at            timestamptz,
    expires_at             timestamptz,
    tags                   jsonb NOT NULL,
    failures               bigint NOT NULL,
    last_failure_at        timestamptz,
    last_renewal_at        timestamptz,
    last_deployment_at     timestamptz,
    revoked_at             timestamptz,
    revocation_reason      text,
    source                 text NOT NULL,
    revision               bigint NOT NULL,
    created_at             timestamptz NOT NULL,
    updated_at             timestamptz NOT NULL
);
-- The scheduler reads what is due through this one.
CREATE INDEX certificates_due ON certificates (next_try_at, id) WHERE next_try_at IS NOT NULL;
CREATE INDEX certificates_created ON certificates (created_at, id);
CREATE INDEX certificates_updated ON certificates (updated_at, id);
-- The status, so that the expiration timeline is counted from the index alone.
CREATE INDEX certificates_expires ON certificates (expires_at, id, status);
CREATE INDEX certificates_status ON certificates (status, created_at, id);
CREATE INDEX certificates_issuer ON certificates (issuer_id, created_at, id);
CREATE INDEX certificates_profile ON certificates (certificate_profile_id, created_at, id);
CREATE INDEX certificates_owner ON certificates (owner_id);
CREATE INDEX certificates_team ON certificates (team_id);
CREATE INDEX certificates_policy ON certificates (renewal_policy_id);

-- Every name of a certificate, for exact look-up and for search.
CREATE TABLE certificate_names (
    certificate_id text NOT NULL REFERENCES certificates (id) ON DELETE CASCADE,
    name           text NOT NULL,
    PRIMARY KEY (certificate_id, name)
);
CREATE INDEX certificate_names_name ON certificate_names (name);

CREATE TABLE certificate_targets (
    certificate_id text NOT NULL REFERENCES certificates (id) ON DELETE CASCADE,
    target_id      text NOT NULL REFERENCES targets (id),
    PRIMARY KEY (certificate_id, target_id)
);
CREATE INDEX certificate_targets_target ON certificate_targets (target_id);

CREATE TABLE certificate_versions (
    id                 text PRIMARY KEY,
    certificate_id     text NOT NULL REFERENCES certificates (id),
    agent_id           text REFERENCES agents (id),
    issuer_id          text NOT NULL REFERENCES issuers (id),
    job_id             text NOT NULL UNIQUE,
    serial_number      text NOT NULL,
    fingerprint_sha256 text NOT NULL UNIQUE,
    not_before         timestamptz NOT NULL,
    not_after          timestamptz NOT NULL,
    pem_chain          text NOT NULL,
    csr_pem            text NOT NULL,
    key_algorithm      text NOT NULL,
    key_size           bigint NOT NULL,
    state              text NOT NULL,
    issuer_ref         jsonb NOT NULL,
    ari                jsonb,
    revoked_at         timestamptz,
    revocation_reason  text,
    created_at         timestamptz NOT NULL,
    UNIQUE (issuer_id, serial_number)
);
CREATE INDEX certificate_versions_certificate ON certificate_versions (certificate_id, created_at, id);
CREATE INDEX certificate_versions_serial ON certificate_versions (serial_number);
CREATE INDEX certificate_versions_created ON certificate_versions (created_at);
-- One version in use for each agent that holds a key.
CREATE UNIQUE INDEX certificate_versions_current ON certificate_versions (certificate_id, COALESCE(agent_id, '')) WHERE state = 'current';

CREATE TABLE revocations (
    id                 text PRIMARY KEY,
    issuer_id          text NOT NULL REFERENCES issuers (id),
    serial_number      text NOT NULL,
    certificate_id     text NOT NULL,
    version_id         text NOT NULL,
    reason             text NOT NULL,
    revoked_by         text NOT NULL,
    revoked_at         timestamptz NOT NULL,
    not_after          timestamptz NOT NULL,
    issuer_notified_at timestamptz,
    UNIQUE (issuer_id, serial_number)
);
CREATE INDEX revocations_due ON revocations (revoked_at, id) WHERE issuer_notified_at IS NULL;

CREATE TABLE jobs (
    id               text PRIMARY KEY,
    type             text NOT NULL,
    certificate_id   text NOT NULL REFERENCES certificates (id),
    target_id        text REFERENCES targets (id),
    agent_id         text REFERENCES agents (id),
    version_id       text,
    status           text NOT NULL,
    reason           text NOT NULL,
    hint             text,
    scheduled_at     timestamptz NOT NULL,
    attempts         bigint NOT NULL,
    max_attempts     bigint NOT NULL,
    last_error       text,
    progress         jsonb NOT NULL,
    verification     jsonb,
    requested_by     text NOT NULL,
    fence            bigint NOT NULL,
    created_at       timestamptz NOT NULL,
    started_at       timestamptz,
    completed_at     timestamptz,
    updated_at       timestamptz NOT NULL,
    -- not shown
    worker           text NOT NULL,
    lease_holder     text,
    lease_expires_at timestamptz,
    csr_pem          text,
    dedup_key        text
);
-- At most one job of a kind for a thing that has not ended.
CREATE UNIQUE INDEX jobs_active ON jobs (dedup_key) WHERE dedup_key IS NOT NULL;
-- What can be claimed: by worker ('server', or an agent's id) and time.
CREATE INDEX jobs_claim ON jobs (worker, scheduled_at, id) WHERE status IN ('Pending', 'AwaitingCSR');
CREATE INDEX jobs_lease ON jobs (lease_expires_at) WHERE lease_expires_at IS NOT NULL;
CREATE INDEX jobs_created ON jobs (created_at, id);
CREATE INDEX jobs_status ON jobs (status, created_at, id);
CREATE INDEX jobs_certificate ON jobs (certificate_id, created_at, id);
CREATE INDEX jobs_agent ON jobs (agent_id, created_at, id);
CREATE INDEX jobs_target ON jobs (target_id);
CREATE INDEX jobs_over ON jobs (completed_at, id, status) WHERE completed_at IS NOT NULL;

-- What a local CA is about to sign, or where an order at a remote CA stands. Written before the signature or call.
CREATE TABLE issuances (
    job_id     text PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    issuer_id  text NOT NULL,
    state      text NOT NULL,
    serial     text,
    tbs        bytea,
    ticket     jsonb,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE roles (
    id          text PRIMARY KEY,
    tenant_id   text NOT NULL,
    name        text NOT NULL UNIQUE,
    description text NOT NULL,
    system      boolean NOT NULL,
    permissions jsonb NOT NULL,
    revision    bigint NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

CREATE TABLE actors (
    id          text PRIMARY KEY,
    type        text NOT NULL,
    name        text NOT NULL,
    roles       jsonb NOT NULL,
    disabled_at timestamptz,
    revision    bigint NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);
CREATE INDEX actors_created ON actors (created_at, id);

-- Which actor holds which role: the same as actors.roles, for joins and for the foreign key.
CREATE TABLE actor_roles (
    actor_id   text NOT NULL REFERENCES actors (id) ON DELETE CASCADE,
    role_id    text NOT NULL REFERENCES roles (id),
    scope_type text NOT NULL,
    scope_id   text NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (actor_id, role_id, scope_type, scope_id)
);
CREATE INDEX actor_roles_role ON actor_roles (role_id);

CREATE TABLE api_keys (
    id           text PRIMARY KEY,
    actor_id     text NOT NULL REFERENCES actors (id),
    name         text NOT NULL,
    prefix       text NOT NULL,
    secret_hash  text NOT NULL,
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    rotated_to   text
);
CREATE UNIQUE INDEX api_keys_prefix ON api_keys (prefix);
CREATE INDEX api_keys_actor ON api_keys (actor_id);
CREATE INDEX api_keys_created ON api_keys (created_at, id);

-- Append-only. What was done, written in the transaction that did it.
CREATE TABLE audit_events (
    id             text PRIMARY KEY,
    actor          text NOT NULL,
    actor_type     text NOT NULL,
    action         text NOT NULL,
    resource_type  text NOT NULL,
    resource_id    text NOT NULL,
    details        jsonb NOT NULL,
    timestamp      timestamptz NOT NULL,
    event_category text NOT NULL,
    request_id     text
);
CREATE INDEX audit_events_time ON audit_events (timestamp, id);
CREATE INDEX audit_events_resource ON audit_events (resource_type, resource_id, timestamp, id);
CREATE INDEX audit_events_actor ON audit_events (actor, timestamp, id);

-- Events that have no number yet; the sealer empties it.
CREATE TABLE audit_unsealed (
    event_id text PRIMARY KEY
);

-- Append-only. The gapless number of each event and the hash that chains it to the one before.
CREATE TABLE audit_seals (
    sequence  bigint PRIMARY KEY,
    event_id  text NOT NULL UNIQUE,
    prev_hash text NOT NULL,
    row_hash  text NOT NULL,
    sealed_at timestamptz NOT NULL
);

-- Append-only. A signed head of the chain every so often.
CREATE TABLE audit_checkpoints (
    sequence       bigint PRIMARY KEY,
    after_sequence bigint NOT NULL,
    row_hash       text NOT NULL,
    merkle_root    text NOT NULL,
    signature      bytea NOT NULL,
    public_key     bytea NOT NULL,
    created_at     timestamptz NOT NULL
);

-- Through which number old events were exported and may be pruned; the triggers below look here.
CREATE TABLE audit_horizon (
    one              bigint PRIMARY KEY CHECK (one = 1),
    pruned_through   bigint NOT NULL,
    pruned_hash      text NOT NULL
);
INSERT INTO audit_horizon (one, pruned_through, pruned_hash) VALUES (1, 0, '');

CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    horizon bigint := (SELECT pruned_through FROM audit_horizon);
    number bigint;
BEGIN
    IF TG_OP IN ('UPDATE', 'TRUNCATE') THEN
        RAISE EXCEPTION 'audit rows are append-only';
    END IF;
    IF TG_TABLE_NAME = 'audit_events' THEN
        number := (SELECT sequence FROM audit_seals WHERE event_id = OLD.id);
    ELSE
        number := OLD.sequence;
    END IF;
    IF number IS NULL OR number > horizon THEN
        RAISE EXCEPTION 'audit rows are append-only';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER audit_events_append_only BEFORE UPDATE OR DELETE ON audit_events FOR EACH ROW EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_seals_append_only BEFORE UPDATE OR DELETE ON audit_seals FOR EACH ROW EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_checkpoints_append_only BEFORE UPDATE OR DELETE ON audit_checkpoints FOR EACH ROW EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON audit_events EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_seals_no_truncate BEFORE TRUNCATE ON audit_seals EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_checkpoints_no_truncate BEFORE TRUNCATE ON audit_checkpoints EXECUTE FUNCTION audit_append_only();

-- What people are to be told.
CREATE TABLE outbox (
    id             text PRIMARY KEY,
    type           text NOT NULL,
    certificate_id text,
    message        text NOT NULL,
    payload        jsonb NOT NULL,
    dedup_key      text NOT NULL UNIQUE,
    created_at     timestamptz NOT NULL,
    done_at        timestamptz
);
CREATE INDEX outbox_due ON outbox (created_at, id) WHERE done_at IS NULL;
CREATE INDEX outbox_done ON outbox (done_at, id) WHERE done_at IS NOT NULL;

-- Fleet counters: changes are appended by transactions, a task folds them into the totals.
CREATE TABLE counters (
    name  text PRIMARY KEY,
    value bigint NOT NULL
);
CREATE TABLE counter_deltas (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name  text NOT NULL,
    delta bigint NOT NULL
);

-- Who runs a periodic task. fence grows with each new holder.
CREATE TABLE leases (
    name         text PRIMARY KEY,
    holder       text NOT NULL,
    fence        bigint NOT NULL,
    expires_at   timestamptz NOT NULL,
    succeeded_at timestamptz
);

-- Numbers that replicas compare to know whether what they keep in memory is stale.
CREATE TABLE epochs (
    name  text PRIMARY KEY,
    value bigint NOT NULL
);
INSERT INTO epochs (name, value) VALUES ('authz', 1), ('issuers', 1);

CREATE TABLE idempotency_keys (
    actor        text NOT NULL,
    key          text NOT NULL,
    request_hash text NOT NULL,
    status       bigint,
    headers      jsonb,
    body         bytea,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (actor, key)
);
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- Single values of the installation.
CREATE TABLE meta (
    name  text PRIMARY KEY,
    value text NOT NULL
);

-- class: expand
-- The whole schema of the first release. Instants are UTC with microseconds; every identifier is text.

CREATE TABLE teams (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE owners (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    email      TEXT,
    team_id    TEXT REFERENCES teams (id),
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX owners_team ON owners (team_id);

CREATE TABLE profiles (
    id                     TEXT PRIMARY KEY,
    name                   TEXT NOT NULL UNIQUE,
    description            TEXT NOT NULL,
    allowed_key_algorithms TEXT NOT NULL,
    max_ttl_seconds        INTEGER NOT NULL,
    allowed_ekus           TEXT NOT NULL,
    required_san_patterns  TEXT NOT NULL,
    spiffe_uri_pattern     TEXT,
    allow_short_lived      INTEGER NOT NULL,
    must_staple            INTEGER NOT NULL,
    requires_approval      INTEGER NOT NULL,
    enabled                INTEGER NOT NULL,
    revision               INTEGER NOT NULL,
    created_at             INTEGER NOT NULL,
    updated_at             INTEGER NOT NULL
) STRICT;

CREATE TABLE renewal_policies (
    id                     TEXT PRIMARY KEY,
    name                   TEXT NOT NULL UNIQUE,
    renewal_window_days    INTEGER NOT NULL,
    auto_renew             INTEGER NOT NULL,
    max_retries            INTEGER NOT NULL,
    retry_interval_seconds INTEGER NOT NULL,
    alert_thresholds_days  TEXT NOT NULL,
    certificate_profile_id TEXT,
    revision               INTEGER NOT NULL,
    created_at             INTEGER NOT NULL,
    updated_at             INTEGER NOT NULL
) STRICT;

-- Secrets under an envelope: each value has a data key of its own, wrapped by the key named in key_id.
CREATE TABLE secrets (
    id          TEXT PRIMARY KEY,
    purpose     TEXT NOT NULL,
    key_id      TEXT NOT NULL,
    wrapped_key BLOB NOT NULL,
    nonce       BLOB NOT NULL,
    ciphertext  BLOB NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX secrets_key ON secrets (key_id, id);

CREATE TABLE issuers (
    id             TEXT PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    type           TEXT NOT NULL,
    config         TEXT NOT NULL,
    enabled        INTEGER NOT NULL,
    last_tested_at INTEGER,
    test_status    TEXT NOT NULL,
    secret_id      TEXT REFERENCES secrets (id),
    revision       INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT;

-- CA certificates whose keys this installation holds. purpose: 'issuing' of an issuer, 'root' of an issuer, 'platform', 'seal'.
CREATE TABLE authorities (
    id         TEXT PRIMARY KEY,
    issuer_id  TEXT REFERENCES issuers (id),
    purpose    TEXT NOT NULL,
    chain_pem  TEXT NOT NULL,
    secret_id  TEXT NOT NULL REFERENCES secrets (id),
    not_after  INTEGER NOT NULL,
    retired_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
-- One active authority of a purpose; concurrent first starts cannot make two.
CREATE UNIQUE INDEX authorities_active ON authorities (purpose, COALESCE(issuer_id, '')) WHERE retired_at IS NULL;

CREATE TABLE agents (
    id                TEXT PRIMARY KEY,
    name              TEXT NOT NULL UNIQUE,
    hostname          TEXT NOT NULL,
    status            TEXT NOT NULL,
    last_heartbeat_at INTEGER,
    registered_at     INTEGER NOT NULL,
    os                TEXT NOT NULL,
    architecture      TEXT NOT NULL,
    ip_address        TEXT NOT NULL,
    version           TEXT NOT NULL,
    labels            TEXT NOT NULL,
    clock_skew_ms     INTEGER,
    retired_at        INTEGER,
    retired_reason    TEXT,
    secret_hash       TEXT NOT NULL,
    revision          INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX agents_status ON agents (status, last_heartbeat_at);
CREATE INDEX agents_registered ON agents (registered_at, id);

CREATE TABLE enrollment_tokens (
    id          TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL,
    agent_name  TEXT,
    labels      TEXT NOT NULL,
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER,
    used_by     TEXT REFERENCES agents (id),
    created_by  TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX enrollment_tokens_created ON enrollment_tokens (created_at, id);

CREATE TABLE targets (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    type       TEXT NOT NULL,
    agent_id   TEXT NOT NULL REFERENCES agents (id),
    config     TEXT NOT NULL,
    enabled    INTEGER NOT NULL,
    secret_id  TEXT REFERENCES secrets (id),
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX targets_agent ON targets (agent_id);
CREATE INDEX targets_created ON targets (created_at, id);

CREATE TABLE certificates (
    id                     TEXT PRIMARY KEY,
    name                   TEXT NOT NULL UNIQUE,
    common_name            TEXT NOT NULL,
    sans                   TEXT NOT NULL,
    environment            TEXT NOT NULL,
    owner_id               TEXT REFERENCES owners (id),
    team_id                TEXT REFERENCES teams (id),
    issuer_id              TEXT NOT NULL REFERENCES issuers (id),
    target_ids             TEXT NOT NULL,
    renewal_policy_id      TEXT NOT NULL REFERENCES renewal_policies (id),
    certificate_profile_id TEXT NOT NULL REFERENCES profiles (id),
    key_algorithm          TEXT,
    status                 TEXT NOT NULL,
    reason                 TEXT NOT NULL,
    hint                   TEXT,
    next_try_at            INTEGER,
    expires_at             INTEGER,
    tags                   TEXT NOT NULL,
    failures               INTEGER NOT NULL,
    last_failure_at        INTEGER,
    last_renewal_at        INTEGER,
    last_deployment_at     INTEGER,
    revoked_at             INTEGER,
    revocation_reason      TEXT,
    source                 TEXT NOT NULL,
    revision               INTEGER NOT NULL,
    created_at             INTEGER NOT NULL,
    updated_at             INTEGER NOT NULL
) STRICT;
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
    certificate_id TEXT NOT NULL REFERENCES certificates (id) ON DELETE CASCADE,
    name           TEXT NOT NULL,
    PRIMARY KEY (certificate_id, name)
) STRICT;
CREATE INDEX certificate_names_name ON certificate_names (name);

CREATE TABLE certificate_targets (
    certificate_id TEXT NOT NULL REFERENCES certificates (id) ON DELETE CASCADE,
    target_id      TEXT NOT NULL REFERENCES targets (id),
    PRIMARY KEY (certificate_id, target_id)
) STRICT;
CREATE INDEX certificate_targets_target ON certificate_targets (target_id);

CREATE TABLE certificate_versions (
    id                 TEXT PRIMARY KEY,
    certificate_id     TEXT NOT NULL REFERENCES certificates (id),
    agent_id           TEXT REFERENCES agents (id),
    issuer_id          TEXT NOT NULL REFERENCES issuers (id),
    job_id             TEXT NOT NULL UNIQUE,
    serial_number      TEXT NOT NULL,
    fingerprint_sha256 TEXT NOT NULL UNIQUE,
    not_before         INTEGER NOT NULL,
    not_after          INTEGER NOT NULL,
    pem_chain          TEXT NOT NULL,
    csr_pem            TEXT NOT NULL,
    key_algorithm      TEXT NOT NULL,
    key_size           INTEGER NOT NULL,
    state              TEXT NOT NULL,
    issuer_ref         TEXT NOT NULL,
    ari                TEXT,
    revoked_at         INTEGER,
    revocation_reason  TEXT,
    created_at         INTEGER NOT NULL,
    UNIQUE (issuer_id, serial_number)
) STRICT;
CREATE INDEX certificate_versions_certificate ON certificate_versions (certificate_id, created_at, id);
CREATE INDEX certificate_versions_serial ON certificate_versions (serial_number);
CREATE INDEX certificate_versions_created ON certificate_versions (created_at);
-- One version in use for each agent that holds a key.
CREATE UNIQUE INDEX certificate_versions_current ON certificate_versions (certificate_id, COALESCE(agent_id, '')) WHERE state = 'current';

CREATE TABLE revocations (
    id                 TEXT PRIMARY KEY,
    issuer_id          TEXT NOT NULL REFERENCES issuers (id),
    serial_number      TEXT NOT NULL,
    certificate_id     TEXT NOT NULL,
    version_id         TEXT NOT NULL,
    reason             TEXT NOT NULL,
    revoked_by         TEXT NOT NULL,
    revoked_at         INTEGER NOT NULL,
    not_after          INTEGER NOT NULL,
    issuer_notified_at INTEGER,
    UNIQUE (issuer_id, serial_number)
) STRICT;
CREATE INDEX revocations_due ON revocations (revoked_at, id) WHERE issuer_notified_at IS NULL;

CREATE TABLE jobs (
    id               TEXT PRIMARY KEY,
    type             TEXT NOT NULL,
    certificate_id   TEXT NOT NULL REFERENCES certificates (id),
    target_id        TEXT REFERENCES targets (id),
    agent_id         TEXT REFERENCES agents (id),
    version_id       TEXT,
    status           TEXT NOT NULL,
    reason           TEXT NOT NULL,
    hint             TEXT,
    scheduled_at     INTEGER NOT NULL,
    attempts         INTEGER NOT NULL,
    max_attempts     INTEGER NOT NULL,
    last_error       TEXT,
    progress         TEXT NOT NULL,
    verification     TEXT,
    requested_by     TEXT NOT NULL,
    fence            INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    started_at       INTEGER,
    completed_at     INTEGER,
    updated_at       INTEGER NOT NULL,
    -- not shown
    worker           TEXT NOT NULL,
    lease_holder     TEXT,
    lease_expires_at INTEGER,
    csr_pem          TEXT,
    dedup_key        TEXT
) STRICT;
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
    job_id     TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    issuer_id  TEXT NOT NULL,
    state      TEXT NOT NULL,
    serial     TEXT,
    tbs        BLOB,
    ticket     TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE roles (
    id          TEXT PRIMARY KEY,
    tenant_id   TEXT NOT NULL,
    name        TEXT NOT NULL UNIQUE,
    description TEXT NOT NULL,
    system      INTEGER NOT NULL,
    permissions TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE actors (
    id          TEXT PRIMARY KEY,
    type        TEXT NOT NULL,
    name        TEXT NOT NULL,
    roles       TEXT NOT NULL,
    disabled_at INTEGER,
    revision    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX actors_created ON actors (created_at, id);

-- Which actor holds which role: the same as actors.roles, for joins and for the foreign key.
CREATE TABLE actor_roles (
    actor_id   TEXT NOT NULL REFERENCES actors (id) ON DELETE CASCADE,
    role_id    TEXT NOT NULL REFERENCES roles (id),
    scope_type TEXT NOT NULL,
    scope_id   TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (actor_id, role_id, scope_type, scope_id)
) STRICT;
CREATE INDEX actor_roles_role ON actor_roles (role_id);

CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY,
    actor_id     TEXT NOT NULL REFERENCES actors (id),
    name         TEXT NOT NULL,
    prefix       TEXT NOT NULL,
    secret_hash  TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER,
    rotated_to   TEXT
) STRICT;
CREATE UNIQUE INDEX api_keys_prefix ON api_keys (prefix);
CREATE INDEX api_keys_actor ON api_keys (actor_id);
CREATE INDEX api_keys_created ON api_keys (created_at, id);

-- Append-only. What was done, written in the transaction that did it.
CREATE TABLE audit_events (
    id             TEXT PRIMARY KEY,
    actor          TEXT NOT NULL,
    actor_type     TEXT NOT NULL,
    action         TEXT NOT NULL,
    resource_type  TEXT NOT NULL,
    resource_id    TEXT NOT NULL,
    details        TEXT NOT NULL,
    timestamp      INTEGER NOT NULL,
    event_category TEXT NOT NULL,
    request_id     TEXT
) STRICT;
CREATE INDEX audit_events_time ON audit_events (timestamp, id);
CREATE INDEX audit_events_resource ON audit_events (resource_type, resource_id, timestamp, id);
CREATE INDEX audit_events_actor ON audit_events (actor, timestamp, id);

-- Events that have no number yet; the sealer empties it.
CREATE TABLE audit_unsealed (
    event_id TEXT PRIMARY KEY
) STRICT;

-- Append-only. The gapless number of each event and the hash that chains it to the one before.
CREATE TABLE audit_seals (
    sequence  INTEGER PRIMARY KEY,
    event_id  TEXT NOT NULL UNIQUE,
    prev_hash TEXT NOT NULL,
    row_hash  TEXT NOT NULL,
    sealed_at INTEGER NOT NULL
) STRICT;

-- Append-only. A signed head of the chain every so often.
CREATE TABLE audit_checkpoints (
    sequence       INTEGER PRIMARY KEY,
    after_sequence INTEGER NOT NULL,
    row_hash       TEXT NOT NULL,
    merkle_root    TEXT NOT NULL,
    signature      BLOB NOT NULL,
    public_key     BLOB NOT NULL,
    created_at     INTEGER NOT NULL
) STRICT;

-- Through which number old events were exported and may be pruned; the triggers below look here.
CREATE TABLE audit_horizon (
    one              INTEGER PRIMARY KEY CHECK (one = 1),
    pruned_through   INTEGER NOT NULL,
    pruned_hash      TEXT NOT NULL
) STRICT;
INSERT INTO audit_horizon (one, pruned_through, pruned_hash) VALUES (1, 0, '');

CREATE TRIGGER audit_events_no_update BEFORE UPDATE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit events are append-only'); END;
CREATE TRIGGER audit_events_no_delete BEFORE DELETE ON audit_events
WHEN COALESCE((SELECT sequence FROM audit_seals WHERE event_id = OLD.id), 9223372036854775807) > (SELECT pruned_through FROM audit_horizon)
BEGIN SELECT RAISE(ABORT, 'audit events are append-only'); END;
CREATE TRIGGER audit_seals_no_update BEFORE UPDATE ON audit_seals
BEGIN SELECT RAISE(ABORT, 'audit seals are append-only'); END;
CREATE TRIGGER audit_seals_no_delete BEFORE DELETE ON audit_seals
WHEN OLD.sequence > (SELECT pruned_through FROM audit_horizon)
BEGIN SELECT RAISE(ABORT, 'audit seals are append-only'); END;
CREATE TRIGGER audit_checkpoints_no_update BEFORE UPDATE ON audit_checkpoints
BEGIN SELECT RAISE(ABORT, 'audit checkpoints are append-only'); END;
CREATE TRIGGER audit_checkpoints_no_delete BEFORE DELETE ON audit_checkpoints
WHEN OLD.sequence > (SELECT pruned_through FROM audit_horizon)
BEGIN SELECT RAISE(ABORT, 'audit checkpoints are append-only'); END;

-- What people are to be told.
CREATE TABLE outbox (
    id             TEXT PRIMARY KEY,
    type           TEXT NOT NULL,
    certificate_id TEXT,
    message        TEXT NOT NULL,
    payload        TEXT NOT NULL,
    dedup_key      TEXT NOT NULL UNIQUE,
    created_at     INTEGER NOT NULL,
    done_at        INTEGER
) STRICT;
CREATE INDEX outbox_due ON outbox (created_at, id) WHERE done_at IS NULL;
CREATE INDEX outbox_done ON outbox (done_at, id) WHERE done_at IS NOT NULL;

-- Fleet counters: changes are appended by transactions, a task folds them into the totals.
CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
CREATE TABLE counter_deltas (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    name  TEXT NOT NULL,
    delta INTEGER NOT NULL
) STRICT;

-- Who runs a periodic task. fence grows with each new holder.
CREATE TABLE leases (
    name         TEXT PRIMARY KEY,
    holder       TEXT NOT NULL,
    fence        INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    succeeded_at INTEGER
) STRICT;

-- Numbers that replicas compare to know whether what they keep in memory is stale.
CREATE TABLE epochs (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO epochs (name, value) VALUES ('authz', 1), ('issuers', 1);

CREATE TABLE idempotency_keys (
    actor        TEXT NOT NULL,
    key          TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status       INTEGER,
    headers      TEXT,
    body         BLOB,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (actor, key)
) STRICT;
CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

-- Single values of the installation.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- class: expand
-- How often a CA was told of a revocation in vain, and when it is told again: one that does not answer keeps no other back.
ALTER TABLE revocations ADD COLUMN tell_attempts bigint NOT NULL DEFAULT 0;
ALTER TABLE revocations ADD COLUMN tell_at timestamptz;

-- The open jobs of a certificate are read with every decision about it; one of a short life has thousands that ended.
CREATE INDEX jobs_open_of_certificate ON jobs (certificate_id) WHERE completed_at IS NULL;

-- The name that a CA asks for in a TLS handshake; a challenge over HTTP has none.
ALTER TABLE acme_challenges ADD COLUMN server_name TEXT;
CREATE INDEX acme_challenges_server_name ON acme_challenges (server_name) WHERE server_name IS NOT NULL;

-- class: expand
-- Which challenges of ACME CAs an agent can answer on its host, as it says of itself; NULL before it has said anything.
ALTER TABLE agents ADD COLUMN challenges jsonb;

-- The agents that are to answer a challenge, for which job, and how far each has got: ready_at when the CA may look, error when it cannot
-- answer; neither before it has said anything.
CREATE TABLE acme_challenge_agents (
    token     text NOT NULL REFERENCES acme_challenges (token) ON DELETE CASCADE,
    agent_id  text NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    job_id    text NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    ready_at  timestamptz,
    error     text,
    hint      text,
    permanent boolean NOT NULL DEFAULT false,
    PRIMARY KEY (token, agent_id)
);
CREATE INDEX acme_challenge_agents_agent ON acme_challenge_agents (agent_id);
CREATE INDEX acme_challenge_agents_job ON acme_challenge_agents (job_id);

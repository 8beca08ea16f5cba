//! What the server's memory does when everybody asks for the largest answers at once.

use certctl_testkit::{Engine, require_program};
use tokio::task::JoinSet;

use crate::harness::{World, command, run};

/// A certificate with versions, and the events of a year, in bulk.
const FLEET: &str = "
    INSERT INTO certificate_versions (id, certificate_id, agent_id, issuer_id, job_id, serial_number, fingerprint_sha256, not_before,
        not_after, pem_chain, csr_pem, key_algorithm, key_size, state, issuer_ref, ari, revoked_at, revocation_reason, created_at)
    SELECT 'ver-many-' || n, c.id, NULL, c.issuer_id, 'job-many-' || n, '5a' || md5('serial ' || n),
        encode(sha256(('fingerprint ' || n)::bytea), 'hex'), now(), now() + interval '90 days', repeat('A', 4000), repeat('B', 1000), 'ECDSA', 256,
        'superseded', '{}', NULL, NULL, NULL, now() FROM certificates c, generate_series(1, 1000) n;
    INSERT INTO audit_events (id, actor, actor_type, action, resource_type, resource_id, details, timestamp, event_category, request_id)
    SELECT 'aud-many-' || n, 'actor-admin', 'User', 'certificate.renew', 'certificate', 'mc-' || n, jsonb_build_object('why', repeat('x', 200)),
        timestamptz '2026-11-05', 'cert_lifecycle', NULL FROM generate_series(1, 20000) n; ANALYZE;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_of_the_largest_answers_at_once_fit_into_little_memory() {
    let world = World::open(Engine::Postgres).await;
    world.cli.run(&["certs", "request", "--name", "web", "--san", "web.example.test"]).await.ok();
    let mut psql = command(&world.home, require_program("psql"));
    let url = world.database.as_ref().unwrap().url();
    run(psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--command", FLEET, url])).await.ok();
    let before = world.server.peak_memory();
    let mut asked = JoinSet::new();
    for number in 0..32 {
        let api = world.api.clone();
        asked.spawn(async move {
            let path = [
                "/api/v1/certificates/web/versions?per_page=500",
                "/api/v1/audit/export?from=2026-11-01T00:00:00Z&to=2026-12-01T00:00:00Z",
            ][number % 2];
            let reply = api.get(path).await.is(200);
            assert!(reply.text.len() > 1_000_000, "{path}: {} bytes", reply.text.len());
        });
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap();
    }
    let grown = world.server.peak_memory() - before;
    assert!(grown < MOST, "{} MiB more", grown / 1024);
}

/// In KiB.
const MOST: u64 = 160 * 1024;

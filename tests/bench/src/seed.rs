//! Fills a database by bulk statements with rows as the product writes them: every column, every counter, every name.

use aws_lc_rs::digest::{SHA256, digest};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::failure::{Context as _, Result};
use crate::postgres::Cluster;
use crate::world::Issued;

/// Makes agents up to this number, each with a target and the same secret.
pub(crate) async fn agents(sql: &mut PgConnection, up_to: u64) -> Result<()> {
    let hash: String = digest(&SHA256, SECRET.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let statement = format!(
        "SET session_replication_role = replica;
         INSERT INTO agents (id, name, hostname, status, last_heartbeat_at, registered_at, os, architecture, ip_address, version, labels,
             clock_skew_ms, retired_at, retired_reason, secret_hash, revision, updated_at)
         SELECT 'ag-bench-' || n, 'host-' || n, 'host-' || n || '.example.test', 'Online', now(), now() - n * interval '1 second', 'linux',
             'x86_64', '127.0.0.1', '0.1.0', '{{\"site\": \"a\"}}', 0, NULL, NULL, '{hash}', 1, now()
         FROM generate_series(1, {up_to}) n;
         INSERT INTO targets (id, name, type, agent_id, config, enabled, secret_id, revision, created_at, updated_at)
         SELECT 'tgt-bench-' || n, 'host-' || n || '-files', 'Files', 'ag-bench-' || n,
             '{{\"certificate_path\": \"/etc/ssl/site.pem\", \"key_path\": \"/etc/ssl/site.key\"}}', true, NULL, 1, now(), now()
         FROM generate_series(1, {up_to}) n;
         INSERT INTO counter_deltas (name, delta) VALUES ('agents', {up_to}), ('agents.status.Online', {up_to}), ('targets', {up_to});
         SET session_replication_role = DEFAULT;"
    );
    sql.execute(AssertSqlSafe(statement)).await.context("cannot seed agents")?;
    vacuum(sql, "agents, targets").await
}

/// The bearer token of a seeded agent.
pub(crate) fn agent_token(n: u64) -> String {
    format!("ca_bench-{n}_{SECRET}")
}

/// Makes certificates with one version each, from number `from` to number `to`; the first ones are put on the targets of agents. All
/// share the body of one certificate that the product issued, with serial numbers and fingerprints of their own.
pub(crate) async fn certificates(cluster: &Cluster, database: &str, (from, to): (u64, u64), agents: u64, body: &Issued) -> Result<()> {
    let series = format!("generate_series({from}, {to}) n");
    let targets = agents.min(to);
    let rows = format!(
        "INSERT INTO certificates (id, name, common_name, sans, environment, owner_id, team_id, issuer_id, target_ids, renewal_policy_id,
             certificate_profile_id, key_algorithm, status, reason, hint, next_try_at, expires_at, tags, failures, last_failure_at,
             last_renewal_at, last_deployment_at, revoked_at, revocation_reason, source, revision, created_at, updated_at)
         SELECT 'mc-bench-' || n, 'service-' || n, 'service-' || n || '.example.test',
             jsonb_build_array('service-' || n || '.example.test'), (ARRAY['production', 'staging', 'test'])[1 + n % 3], NULL, NULL,
             'iss-local', CASE WHEN n <= {targets} THEN jsonb_build_array('tgt-bench-' || n) ELSE '[]' END, 'rp-default', 'prof-default',
             NULL, status, CASE status WHEN 'Failed' THEN 'the last attempt failed: the CA does not answer' ELSE 'a version was issued' END,
             NULL, now() + interval '12 hours', now() + (40 + n % 40) * interval '1 day', '{{\"tier\": \"web\"}}',
             CASE status WHEN 'Failed' THEN 1 ELSE 0 END, CASE status WHEN 'Failed' THEN now() END, {made}, NULL, NULL, NULL, 'API', 1,
             {made}, {made}
         FROM (SELECT n, CASE n % 50 WHEN 0 THEN 'Expiring' WHEN 1 THEN 'Failed' ELSE 'Active' END AS status FROM {series}) part",
        made = made("n"),
    );
    let names = format!("INSERT INTO certificate_names SELECT 'mc-bench-' || n, 'service-' || n || '.example.test' FROM {series}");
    let deployed = format!(
        "INSERT INTO certificate_targets SELECT 'mc-bench-' || n, 'tgt-bench-' || n FROM generate_series({from}, {}) n",
        targets.max(from.saturating_sub(1))
    );
    let counts = format!(
        "INSERT INTO counter_deltas (name, delta) SELECT 'certificates.status.' || status, count(*)
         FROM (SELECT CASE n % 50 WHEN 0 THEN 'Expiring' WHEN 1 THEN 'Failed' ELSE 'Active' END AS status FROM {series}) part
         GROUP BY status UNION ALL SELECT 'certificates', {to} - {from} + 1"
    );
    let versions = format!(
        "INSERT INTO certificate_versions (id, certificate_id, agent_id, issuer_id, job_id, serial_number, fingerprint_sha256, not_before,
             not_after, pem_chain, csr_pem, key_algorithm, key_size, state, issuer_ref, ari, revoked_at, revocation_reason, created_at)
         SELECT 'ver-bench-' || n, 'mc-bench-' || n, CASE WHEN n <= {targets} THEN 'ag-bench-' || n END, 'iss-local', 'job-bench-' || n,
             '5a' || md5('serial ' || n), encode(sha256(('fingerprint ' || n)::bytea), 'hex'), {made},
             now() + (40 + n % 40) * interval '1 day', $1, $2, 'ECDSA', 256, 'current', '{{}}', NULL, NULL, NULL, {made}
         FROM {series}",
        made = made("n"),
    );
    let plain = async {
        let mut sql = cluster.connect(database).await?;
        let all = format!("SET session_replication_role = replica; {rows}; {names}; {deployed}; {counts}");
        sql.execute(AssertSqlSafe(all)).await.context("cannot seed certificates")?;
        vacuum(&mut sql, "certificates, certificate_names, certificate_targets").await
    };
    let bulky = async {
        let mut sql = cluster.connect(database).await?;
        sql.execute("SET session_replication_role = replica").await.context("cannot seed versions")?;
        let insert = sqlx::query(AssertSqlSafe(versions)).bind(&body.chain_pem).bind(&body.csr_pem);
        insert.execute(&mut sql).await.context("cannot seed versions")?;
        vacuum(&mut sql, "certificate_versions").await
    };
    let ((), ()) = tokio::try_join!(plain, bulky)?;
    cluster.connect(database).await?.execute("CHECKPOINT").await.context("cannot seed")?;
    Ok(())
}

/// The tables of the bare server.
pub(crate) async fn bare_tables(sql: &mut PgConnection, agents: u64) -> Result<()> {
    let statement = format!(
        "CREATE SCHEMA bench;
         CREATE TABLE bench.beats (id bigint PRIMARY KEY, name text NOT NULL, at timestamptz NOT NULL);
         INSERT INTO bench.beats SELECT n, 'host-' || n, now() FROM generate_series(1, {agents}) n;
         CREATE TABLE bench.commits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL);
         GRANT USAGE ON SCHEMA bench TO bare; GRANT ALL ON ALL TABLES IN SCHEMA bench TO bare;"
    );
    sql.execute(AssertSqlSafe(statement)).await.context("cannot make the tables of the bare server")?;
    Ok(())
}

/// Leaves nothing for the database to tidy up while something is measured.
pub(crate) async fn vacuum(sql: &mut PgConnection, tables: &str) -> Result<()> {
    sql.execute(AssertSqlSafe(format!("VACUUM (ANALYZE) {tables}"))).await.context("cannot vacuum")?;
    Ok(())
}

/// The later ones are the newer ones, a second apart.
fn made(n: &str) -> String {
    format!("date_trunc('second', now()) - interval '60 days' + {n} * interval '1 second'")
}

/// What every seeded agent keeps to itself.
const SECRET: &str = "YmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggYmVuY2gh";

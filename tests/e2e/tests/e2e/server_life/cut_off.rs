//! Migrations that are cut off: the real program is killed in the midst of each statement, and whoever comes next makes it good.

use std::collections::BTreeSet;

use certctl_testkit::{Database, Engine, require_postgres_program, require_program, wait_until};
use nix::sys::signal::Signal;

use crate::harness::{Home, LONG, Process, Setup, Tables, command, product, run};

/// What a schema consists of, and which migrations made it.
async fn postgres_schema(home: &Home, database: &Database) -> (String, Vec<String>) {
    let mut dump = command(home, require_postgres_program("pg_dump"));
    let text = run(dump.args(["--schema-only", "--schema=public", "--no-owner", database.url()])).await.ok();
    // Each dump has words of its own there.
    let text = text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    (text.collect::<Vec<_>>().join("\n"), rows(&mut Tables::at(database.url(), "test").await).await)
}

async fn rows(tables: &mut Tables) -> Vec<String> {
    let hex = if matches!(tables, Tables::Sqlite(_)) { "hex(checksum)" } else { "encode(checksum, 'hex')" };
    let applied = format!("SELECT version || ' ' || description || ' ' || {hex} FROM _sqlx_migrations WHERE success ORDER BY version");
    let mut rows = tables.texts(&applied).await;
    rows.extend(tables.texts("SELECT name || ' ' || value FROM meta ORDER BY name").await);
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_killed_at_any_statement_is_made_good_on_postgresql() {
    let home = Home::new();
    let (calm, database) = (Database::empty(Engine::Postgres).await, Database::empty(Engine::Postgres).await);
    Setup::on(&home, "calm", &calm).run(&home, &["migrate"]).await.ok();
    let expected = postgres_schema(&home, &calm).await;

    let setup = Setup::on(&home, "server", &database);
    let mut trap = Tables::at(&database.superuser_url(), "trap").await;
    trap.run(TRAP).await;
    // Counted from where the killed one before had begun, for what it began is not there.
    let (mut statement, mut kills, mut killed_in) = (1, 0, BTreeSet::new());
    loop {
        trap.run(&format!("SELECT pg_advisory_lock(1); SELECT setval('trap.n', 1, false); UPDATE trap.target SET at = {statement}")).await;
        let before = trap.schema().await;
        let program = product("certctl-server");
        let words = [program.to_str().unwrap(), "migrate"];
        let mut migrating = Process::start(&home, "migrate", &words, Signal::SIGKILL, |command| setup.apply(command));
        let ended = async { migrating.ended(LONG).await };
        let trapped = wait_until("a statement that is held", LONG, async || {
            trap.number("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").await > 0
        });
        let ended = tokio::select! { ended = ended => Some(ended), () = trapped => None };
        if let Some(ended) = ended {
            assert!(ended.success(), "{ended}: {}", migrating.log());
            break;
        }
        migrating.kill().await;
        kills += 1;
        trap.run("SELECT pg_advisory_unlock(1)").await;
        // PostgreSQL notices only when it is through with what it was given.
        wait_until("the session of the dead program to end", LONG, async || {
            trap.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'certctl'").await == 0
        })
        .await;
        let after = trap.schema().await;
        killed_in.insert(after + 1);
        statement = if after > before { 1 } else { statement + 1 };
    }
    assert!(kills > 100, "killed {kills} times");
    let all: BTreeSet<i64> = (1..=trap.schema().await).collect();
    assert!(killed_in.is_superset(&all), "killed in every migration: {killed_in:?}");
    trap.run("DROP SCHEMA trap CASCADE").await;
    assert_eq!(postgres_schema(&home, &database).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_killed_at_any_page_that_it_writes_is_made_good_on_sqlite() {
    let home = Home::new();
    let (calm, killed) = (Setup::plain(&home, "calm"), Setup::plain(&home, "killed"));
    calm.run(&home, &["migrate"]).await.ok();
    let of = async |setup: &Setup| {
        let mut tables = Tables::of(setup, "test").await;
        let schema = tables
            .texts("SELECT type || ' ' || name || ' ' || tbl_name || ' ' || COALESCE(sql, '') FROM sqlite_master ORDER BY type, name");
        (schema.await, rows(&mut tables).await)
    };
    // SQLite writes nothing before it commits. The kernel kills whoever writes beyond this many bytes (setrlimit(2), RLIMIT_FSIZE),
    // and so at each page of what is committed, and of what is moved from the log into the file.
    let (mut limit, mut kills) = (0, 0);
    loop {
        let mut limited = command(&home, require_program("prlimit"));
        limited.args([&format!("--fsize={limit}"), "--core=0", "--"]).arg(product("certctl-server")).arg("migrate");
        killed.apply(&mut limited);
        let ran = run(&mut limited).await;
        match ran.code {
            Some(0) => break,
            // It may also have been told so by an error.
            None | Some(1) => kills += 1,
            Some(_) => panic!("{ran:?}"),
        }
        limit += 4096;
    }
    assert!(kills > 100, "killed {kills} times");
    assert_eq!(of(&killed).await, of(&calm).await);
}

/// Counts what is done to the schema, rows of the table of migrations and the word for older programs, and holds the one that is told.
const TRAP: &str = "
CREATE SCHEMA trap;
CREATE SEQUENCE trap.n;
CREATE TABLE trap.target (at bigint);
INSERT INTO trap.target VALUES (0);
CREATE FUNCTION trap.hold() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval('trap.n') = (SELECT at FROM trap.target) THEN
        PERFORM set_config('lock_timeout', '0', true);
        PERFORM pg_advisory_xact_lock(1);
    END IF;
END $$;
CREATE FUNCTION trap.row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM trap.hold();
    RETURN NULL;
END $$;
CREATE FUNCTION trap.command() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    made text;
BEGIN
    FOR made IN SELECT object_identity FROM pg_event_trigger_ddl_commands() WHERE command_tag = 'CREATE TABLE' LOOP
        IF made IN ('public._sqlx_migrations', 'public.meta') THEN
            EXECUTE format('CREATE TRIGGER trap AFTER INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION trap.row()', made);
        END IF;
    END LOOP;
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity NOT LIKE 'trap %') THEN
        PERFORM trap.hold();
    END IF;
END $$;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE EVENT TRIGGER trap ON ddl_command_end EXECUTE FUNCTION trap.command();
";

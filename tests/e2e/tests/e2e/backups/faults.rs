//! What breaks while a backup is made, kept, pruned or put back: never is there something that looks good and is not, and never is a
//! good one lost.

use std::path::Path;

use certctl_testkit::{Engine, OwnCluster, require_program, wait_until};
use serde_json::Value;
use tokio::net::TcpListener;

use super::{Kept, age_pair};
use crate::harness::{Home, LONG, Process, Server, Setup, command, free_port, product, read, run, write, write_script};

const FAULT: &str = "FAULT_AT";
const ONE: [(&str, &str); 4] = [
    ("CERTCTL_BACKUP_KEEP_LAST", "1"),
    ("CERTCTL_BACKUP_KEEP_DAILY", "0"),
    ("CERTCTL_BACKUP_KEEP_WEEKLY", "0"),
    ("CERTCTL_BACKUP_KEEP_MONTHLY", "0"),
];

fn archive(manifest: &Value) -> String {
    manifest["archive"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_destination_is_told_of_and_leaves_nothing() {
    let kept = Kept::open(Engine::Sqlite).await;
    let good = kept.create().await;
    let directory = kept.directory.to_str().unwrap();
    // The mount is the program's own; what it left there is listed before it is gone.
    let script = format!(
        "mount -t tmpfs -o size=64k tmpfs '{directory}'\ncode=0; \"$PROGRAM\" backup create || code=$?\nls -A '{directory}'\nexit $code"
    );
    let full =
        kept.world.server.setup.run_in_own_mounts(&kept.world.home, &script).await.ends(1).says(&["No space left", "hint: free space"]);
    assert_eq!(full.stdout, "", "nothing is left there");
    assert_eq!(kept.metric(&kept.world.server, "certctl_backup_failures_total{verb=\"create\"}").await, 1.0);
    assert!(kept.metric(&kept.world.server, "certctl_backup_last_success_timestamp_seconds").await > 0.0);
    let events = kept.world.cli.json(&["audit", "list", "--all"]).await;
    let runs: Vec<&Value> = events["data"].as_array().unwrap().iter().filter(|event| event["action"] == "backup.create").collect();
    let outcomes: Vec<&Value> = runs.iter().map(|event| &event["details"]["outcome"]).collect();
    assert!(outcomes.contains(&&Value::from("failure")) && outcomes.contains(&&Value::from("success")), "{runs:#?}");
    kept.backup(&["verify", &archive(&good)]).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_staging_directory_is_told_of_before_anything_is_copied() {
    let kept = Kept::open(Engine::Sqlite).await;
    let staging = kept.world.home.join("staging");
    std::fs::create_dir(&staging).unwrap();
    let setup = kept.world.server.setup.clone().with("CERTCTL_BACKUP_STAGING_DIR", staging.to_str().unwrap());
    let script = format!("mount -t tmpfs -o size=64k tmpfs '{}'\nexec \"$PROGRAM\" backup create", staging.display());
    setup.run_in_own_mounts(&kept.world.home, &script).await.ends(1).says(&["bytes free", "backup.staging_dir"]);
    assert!(kept.names().is_empty());
}

/// Made, killed at a point, made again: in between nothing is taken for a backup that is none.
async fn killed(engine: Engine, point: &str) {
    let kept = Kept::open(engine).await;
    let good = archive(&kept.create().await);
    let dead = kept.backup_with(&[(FAULT, point)], &["create"]).await;
    assert_eq!(dead.code, None, "{point}: {dead:?}");
    let named: Vec<String> = kept.names().into_iter().filter(|name| !name.ends_with(".partial") && !name.contains(&good)).collect();
    if point == "backup.named" {
        // It is whole, but nothing says so.
        assert_eq!(named.len(), 1, "{named:?}");
        assert!(kept.backup(&["list"]).await.ok().contains("broken: it has no manifest"));
    } else {
        assert!(named.is_empty(), "{point}: {named:?}");
    }
    assert!(kept.backup(&["verify"]).await.ok().contains(&good), "{point}");
    // The dead one's right to work on backups ends a few seconds later.
    kept.backup(&["create"]).await.ends(1).says(&["another run works on backups", "--wait"]);
    let next = archive(&kept.backup(&["create", "--wait", "1m", "--json"]).await.json());
    kept.backup_with(&ONE, &["prune"]).await.ok();
    assert_eq!(kept.names(), [next.clone(), format!("{next}.manifest.json")], "{point}");
    let mut left = std::fs::read_dir(&kept.world.server.setup.data).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.any(|name| name.to_str().unwrap().starts_with(".certctl-")), "{point}");
    kept.backup(&["verify", "--into-scratch"]).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_killed_is_none_on_sqlite() {
    // Each in a world of its own, at the same time: every one waits until the dead one's right has ended.
    let killed = |point| killed(Engine::Sqlite, point);
    tokio::join!(killed("backup.staged"), killed("backup.writing"), killed("backup.written"), killed("backup.named"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_killed_is_none_on_postgres() {
    let killed = |point| killed(Engine::Postgres, point);
    tokio::join!(killed("backup.writing"), killed("backup.written"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_killed_was_whole_or_was_not_on_sqlite() {
    let mut kept = Kept::open(Engine::Sqlite).await;
    kept.create().await;
    let setup = kept.nothing("restored").await;
    let restore = ["backup", "restore", "latest"];
    let dead = setup.clone().with(FAULT, "restore.fetched").run(&kept.world.home, &restore).await;
    assert_eq!(dead.code, None);
    assert!(!setup.data.join("certctl.db").exists());
    let dead = setup.clone().with(FAULT, "restore.named").run(&kept.world.home, &restore).await;
    assert_eq!(dead.code, None);
    setup.run(&kept.world.home, &restore).await.ends(1).says(&["empty"]);
    kept.go_on_with(setup).await;
    assert_eq!(kept.world.cli.json(&["audit", "verify"]).await["intact"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_is_killed_was_whole_or_was_not_on_postgres() {
    let mut kept = Kept::open(Engine::Postgres).await;
    kept.create().await;
    let setup = kept.nothing("restored").await;
    let restore = ["backup", "restore", "latest"];
    let dead = setup.clone().with(FAULT, "restore.pouring").run(&kept.world.home, &restore).await;
    assert_eq!(dead.code, None);
    // What pg_restore had begun is rolled back when it sees the end of its input; then there is nothing.
    let mut dead = setup.clone().with(FAULT, "restore.committed").run(&kept.world.home, &restore).await;
    if dead.stderr.contains("empty") {
        wait_until("the broken restore to be rolled back", LONG, async || {
            dead = setup.clone().with(FAULT, "restore.committed").run(&kept.world.home, &restore).await;
            dead.code.is_none()
        })
        .await;
    }
    assert_eq!(dead.code, None, "{dead:?}");
    setup.run(&kept.world.home, &restore).await.ends(1).says(&["not empty"]);
    kept.go_on_with(setup).await;
    assert_eq!(kept.world.cli.json(&["audit", "verify"]).await["intact"], true);
}

/// What can be wrong with an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Cut,
    Flipped,
    Empty,
}

impl Harm {
    const ALL: [Self; 3] = [Self::Cut, Self::Flipped, Self::Empty];

    fn apply(self, path: &Path) {
        let mut bytes = std::fs::read(path).unwrap();
        match self {
            Self::Cut => bytes.truncate(bytes.len() * 8 / 10),
            Self::Flipped => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            }
            Self::Empty => bytes.clear(),
        }
        std::fs::write(path, bytes).unwrap();
    }
}

/// Makes a manifest say of an archive what it now is, as if it had been so from the beginning.
async fn describe_as_it_is(kept: &Kept, name: &str) {
    let (path, manifest) = (kept.directory.join(name), kept.directory.join(format!("{name}.manifest.json")));
    let sum = run(command(&kept.world.home, require_program("sha256sum")).arg(&path)).await.ok();
    let mut said: Value = serde_json::from_str(&read(&manifest)).unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    said["sha256"] = sum.split(' ').next().unwrap().into();
    said["size_bytes"] = bytes.into();
    if said["recipients"].as_array().unwrap().is_empty() {
        said["content_bytes"] = bytes.into();
    }
    std::fs::write(&manifest, said.to_string()).unwrap();
}

async fn harmed(engine: Engine, encrypted: bool) {
    let mut kept = Kept::open(engine).await;
    let (recipient, identity) = age_pair(&kept.world.home, "ours").await;
    let variables = &mut kept.world.server.setup.variables;
    if encrypted {
        variables.insert("CERTCTL_BACKUP_RECIPIENTS".to_owned(), recipient);
        variables.insert("CERTCTL_BACKUP_IDENTITY_FILE".to_owned(), identity.to_str().unwrap().to_owned());
    }
    let older = archive(&kept.create().await);
    let name = archive(&kept.create().await);
    let setup = kept.nothing("restored").await;
    let (path, manifest) = (kept.directory.join(&name), kept.directory.join(format!("{name}.manifest.json")));
    let (good, said) = (std::fs::read(&path).unwrap(), read(&manifest));
    for harm in Harm::ALL {
        harm.apply(&path);
        kept.backup(&["verify", &name]).await.ends(1).says(&[&name]);
        setup.run(&kept.world.home, &["backup", "restore", &name]).await.ends(1).says(&[&name]);
        // The newest is bad: the one before stays, and the bad one too, for there is nothing newer.
        kept.backup_with(&ONE, &["prune"]).await.ok();
        assert!(kept.directory.join(&older).exists() && path.exists(), "{harm:?}");
        assert!(kept.backup(&["verify", &older]).await.ok().contains("is good"));
        // With a manifest that fits, the content itself tells.
        if harm != Harm::Flipped || encrypted || engine == Engine::Sqlite {
            describe_as_it_is(&kept, &name).await;
            if harm != Harm::Flipped || encrypted {
                kept.backup(&["verify", &name]).await.ends(1);
                setup.run(&kept.world.home, &["backup", "restore", &name]).await.ends(1);
            }
        }
        std::fs::write(&path, &good).unwrap();
        std::fs::write(&manifest, &said).unwrap();
    }
    // All of that touched nothing.
    setup.run(&kept.world.home, &["backup", "restore", &name]).await.ok();
    // And when none is good, none is removed.
    for one in [&name, &older] {
        Harm::Flipped.apply(&kept.directory.join(one));
    }
    let before = kept.names();
    kept.backup_with(&ONE, &["prune"]).await.ends(1).says(&["no good backup", "nothing is removed"]);
    assert_eq!(kept.names(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_changed_or_empty_is_refused_on_sqlite() {
    harmed(Engine::Sqlite, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_changed_or_empty_is_refused_on_postgres() {
    harmed(Engine::Postgres, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cut_changed_or_empty_is_refused_when_it_is_encrypted() {
    harmed(Engine::Postgres, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_newer_schema_or_another_database_is_refused_before_anything_is_touched() {
    let mut kept = Kept::open(Engine::Sqlite).await;
    let name = archive(&kept.create().await);
    let setup = kept.nothing("restored").await;
    let manifest = kept.directory.join(format!("{name}.manifest.json"));
    let said = read(&manifest);
    let mut newer: Value = serde_json::from_str(&said).unwrap();
    newer["schema"] = 999.into();
    std::fs::write(&manifest, newer.to_string()).unwrap();
    setup.run(&kept.world.home, &["backup", "restore", &name]).await.ends(1).says(&["schema 999", "newer"]);
    std::fs::write(&manifest, &said).unwrap();
    let database = certctl_testkit::database::postgres().await;
    let other = setup.clone().with_postgres(database.url());
    let other = other.with("CERTCTL_ENCRYPTION_KEY_FILE", setup.data.join("encryption.key").to_str().unwrap());
    other.run(&kept.world.home, &["backup", "restore", &name]).await.ends(1).says(&["a backup of SQLite", "CERTCTL_DATABASE_URL"]);
    assert!(!setup.data.join("certctl.db").exists());
    // Without any key, which SQLite would otherwise make for itself.
    std::fs::remove_file(setup.data.join("encryption.key")).unwrap();
    setup.run(&kept.world.home, &["backup", "restore", &name]).await.ends(1).says(&["encryption key", "none is given"]);
    assert!(!setup.data.join("encryption.key").exists() && !setup.data.join("certctl.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_ahead_and_back_loses_no_backup() {
    let kept = Kept::open(Engine::Sqlite).await;
    let mut asked = command(&kept.world.home, require_program("faketime"));
    let library = run(asked.args(["-f", "+0", "printenv", "LD_PRELOAD"])).await.ok();
    let off = |by: &'static str| [("LD_PRELOAD", library.trim()), ("FAKETIME", by), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    let good = archive(&kept.create().await);
    // Years ahead, a backup is made and others are pruned: the newest by date is the wrong one.
    let ahead = archive(&kept.backup_with(&off("+1825d"), &["create", "--json"]).await.json());
    assert!(ahead > good);
    let pruned = kept.backup_with(&ONE, &["prune", "--json"]).await.json();
    assert!(pruned["backups"].as_array().unwrap().iter().all(|fate| fate["removed"] == false), "{pruned}");
    // Years behind: what is made is the oldest by date, and stays because it was made last.
    let behind = archive(&kept.backup_with(&off("-1825d"), &["create", "--json"]).await.json());
    kept.backup_with(&ONE, &["prune"]).await.ok();
    let names = kept.names();
    // Which one is the latest, nobody can know.
    kept.backup(&["verify", "latest"]).await.ends(1).says(&[&ahead, "dated after now"]);
    for name in [&good, &ahead, &behind] {
        assert!(names.contains(name), "{name} is lost: {names:?}");
        kept.backup(&["verify", name]).await.ok();
    }
    // The clock is right again: of the rightly dated ones the newest stays.
    let last = archive(&kept.create().await);
    kept.backup_with(&ONE, &["prune"]).await.ok();
    let names = kept.names();
    assert!(names.contains(&last) && names.contains(&ahead) && !names.contains(&good) && !names.contains(&behind), "{names:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_at_once_one_is_refused_or_waits() {
    let kept = Kept::open(Engine::Postgres).await;
    // A bucket that takes connections and never answers holds the first one up.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut setup = kept.world.server.setup.clone();
    setup.variables.remove("CERTCTL_BACKUP_DIRECTORY");
    let setup = [
        ("BUCKET", "bucket"),
        ("ENDPOINT", &format!("http://127.0.0.1:{port}")),
        ("ACCESS_KEY_ID", "key"),
        ("SECRET_ACCESS_KEY", "secret"),
    ]
    .iter()
    .fold(setup, |setup, (name, value)| setup.with(&format!("CERTCTL_BACKUP_S3_{name}"), value));
    let program = product("certctl-server");
    let words = [program.to_str().unwrap(), "backup", "create"];
    let mut first = Process::start(&kept.world.home, "first", &words, nix::sys::signal::Signal::SIGKILL, |command| setup.apply(command));
    let _asked = silent.accept().await.unwrap();
    first.must_run();
    kept.backup(&["create"]).await.ends(1).says(&["another run works on backups"]);
    kept.backup(&["prune"]).await.ends(1).says(&["another run works on backups"]);
    let (waited, ()) = tokio::join!(kept.backup(&["create", "--wait", "1m"]), first.kill());
    waited.ok();
    assert_eq!(kept.names().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_shows_what_became_of_backups() {
    let kept = Kept::open(Engine::Postgres).await;
    let database = kept.world.database.as_ref().unwrap();
    let other = Server::start(&kept.world.home, Setup::on(&kept.world.home, "other", database)).await;
    for server in [&kept.world.server, &other] {
        assert_eq!(kept.metric(server, "certctl_backup_last_success_timestamp_seconds").await, 0.0);
    }
    let made = kept.create().await;
    kept.backup(&["verify"]).await.ok();
    kept.backup_with(&[("CERTCTL_BACKUP_DIRECTORY", "/nowhere")], &["create"]).await.ends(1).says(&["/nowhere", "mount"]);
    for server in [&kept.world.server, &other] {
        // What a scrape shows may be a second old.
        wait_until("a scrape that knows of the backup", LONG, async || {
            kept.metric(server, "certctl_backup_failures_total{verb=\"create\"}").await > 0.0
        })
        .await;
        assert!(kept.metric(server, "certctl_backup_last_success_timestamp_seconds").await > 1.7e9);
        assert!(kept.metric(server, "certctl_backup_last_verified_timestamp_seconds").await > 1.7e9);
        assert!(kept.metric(server, "certctl_backup_duration_seconds").await > 0.0);
        assert_eq!(kept.metric(server, "certctl_backup_size_bytes").await, made["size_bytes"].as_f64().unwrap());
        assert_eq!(kept.metric(server, "certctl_backup_failures_total{verb=\"create\"}").await, 1.0);
        assert_eq!(kept.metric(server, "certctl_backup_failures_total{verb=\"prune\"}").await, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_do_not_fit_are_told_of_and_others_do_not_matter() {
    let home = std::sync::Arc::new(crate::harness::Home::new());
    let setup = Setup { port: free_port(), ..Setup::plain(&home, "server") };
    setup.run(&home, &["backup", "list"]).await.ends(1).says(&["no place for backups", "CERTCTL_BACKUP_DIRECTORY"]);
    let both = setup.clone().with("CERTCTL_BACKUP_DIRECTORY", "/a").with("CERTCTL_BACKUP_S3_BUCKET", "bucket");
    both.run(&home, &["backup", "list"]).await.ends(2).says(&["backup.directory", "backup.s3_bucket", "one place"]);
    let half = setup.clone().with("CERTCTL_BACKUP_S3_BUCKET", "bucket").with("CERTCTL_BACKUP_S3_ACCESS_KEY_ID", "key");
    half.run(&home, &["backup", "list"]).await.ends(2).says(&["s3_secret_access_key"]);
    let misspelt = setup.clone().with("CERTCTL_BACKUP_DIRECTROY", "/a");
    misspelt.run(&home, &["backup", "list"]).await.ends(2).says(&["CERTCTL_BACKUP_DIRECTORY"]);
    // Nothing but database and backups matters, and a backup does not make a database.
    let directory = home.join("backups");
    std::fs::create_dir(&directory).unwrap();
    let other = setup.with("CERTCTL_BACKUP_DIRECTORY", directory.to_str().unwrap()).with("CERTCTL_TLS_MIN_VERSION", "nonsense");
    assert!(other.run(&home, &["backup", "list"]).await.ok().contains("no backup"));
    other.run(&home, &["backup", "create"]).await.ends(1).says(&["there is no database"]);
    write(&directory.join("notes.txt"), "not ours");
    assert!(other.run(&home, &["backup", "list"]).await.ok().contains("no backup"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pg_dump_that_is_older_than_the_server_is_refused_before_it_starts() {
    let kept = Kept::open(Engine::Postgres).await;
    let folder = kept.world.home.join("old");
    std::fs::create_dir(&folder).unwrap();
    let started = kept.world.home.join("started");
    let script = format!("[ \"$1\" = --version ] && echo 'pg_dump (PostgreSQL) 14.9' && exit 0\ntouch '{}'", started.display());
    for name in ["pg_dump", "pg_restore"] {
        write_script(&folder.join(name), &script);
    }
    let old = [("CERTCTL_BACKUP_POSTGRES_BIN", folder.to_str().unwrap())];
    kept.backup_with(&old, &["create"]).await.ends(1).says(&["older pg_dump", "14", "postgresql-client-"]);
    assert!(kept.names().is_empty() && !started.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_with_every_awkward_character_reaches_postgres_and_nobody_else() {
    const PASSWORD: &str = "a/b+c@d:e%f?g#h'i j-and-long-enough";
    let cluster = OwnCluster::start();
    let url = cluster.url();
    let _socket = cluster.demand_password(PASSWORD);
    let home = std::sync::Arc::new(Home::new());
    home.plant(PASSWORD);
    let (directory, password) = (home.join("backups"), home.write("password", PASSWORD));
    std::fs::create_dir(&directory).unwrap();
    let setup = Setup::plain(&home, "server").with_postgres(&url).with("CERTCTL_BACKUP_DIRECTORY", directory.to_str().unwrap());
    setup.run(&home, &["backup", "create"]).await.ends(1);
    let setup = setup.with("CERTCTL_DATABASE_PASSWORD_FILE", password.to_str().unwrap());
    let server = Server::start(&home, setup.clone()).await;
    for words in [["create"].as_slice(), &["verify", "--into-scratch"]] {
        let ran = setup.run(&home, &[&["backup"], words].concat()).await.ends(0);
        assert!(!ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD), "{ran:?}");
    }
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pg_dump_that_breaks_off_or_lies_is_never_a_backup() {
    let kept = Kept::open(Engine::Postgres).await;
    let (dump, restore) = (require_program("pg_dump"), require_program("pg_restore"));
    let (dump, version) = (dump.display(), "[ \"$1\" = --version ] && exec");
    for (name, script, said) in [
        (
            "failing",
            format!("{version} {dump} --version\n{dump} \"$@\" | head -c 20000\necho 'connection lost' >&2\nexit 1"),
            "connection lost",
        ),
        ("cutting", format!("{version} {dump} --version\n{dump} \"$@\" | head -c 20000"), "the dump cannot be read"),
        ("emptying", format!("{version} {dump} --version\nexit 0"), "the dump cannot be read"),
        // More of it than any pipe holds, after which nobody reads on.
        ("babbling", format!("{version} {dump} --version\nyes | head -c 9000000"), "the dump cannot be read"),
        (
            "forgetting",
            format!("{version} {dump} --version\nexec {dump} \"$@\" --exclude-table-data=jobs --exclude-table-data=audit_events"),
            "rows instead of",
        ),
    ] {
        let folder = kept.world.home.join(name);
        write_script(&folder.join("pg_dump"), &script);
        std::os::unix::fs::symlink(&restore, folder.join("pg_restore")).unwrap();
        kept.backup_with(&[("CERTCTL_BACKUP_POSTGRES_BIN", folder.to_str().unwrap())], &["create"]).await.ends(1).says(&[said]);
        assert!(kept.names().is_empty(), "{name}: {:?}", kept.names());
    }
    kept.create().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prune_that_is_killed_leaves_nothing_that_looks_whole_and_goes_on_later() {
    let kept = Kept::open(Engine::Sqlite).await;
    let old = archive(&kept.create().await);
    let new = archive(&kept.create().await);
    let dead = kept.backup_with(&[ONE.as_slice(), &[(FAULT, "prune.half")]].concat(), &["prune"]).await;
    assert_eq!(dead.code, None, "{dead:?}");
    assert_eq!(kept.names(), [old.clone(), new.clone(), format!("{new}.manifest.json")]);
    kept.backup(&["verify", &old]).await.ends(1).says(&[&old]);
    assert!(kept.backup(&["verify"]).await.ok().contains(&new));
    kept.backup_with(&ONE, &["prune", "--wait", "1m"]).await.ok();
    assert_eq!(kept.names(), [new.clone(), format!("{new}.manifest.json")]);
}

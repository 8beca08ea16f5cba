//! Backups in a bucket: of moto, and of s3s-fs, which checks every signature.

use certctl_testkit::{Engine, require_program, wait_until};

use super::{Kept, age_pair};
use crate::harness::{Bucket, Cut, Haproxy, Keeper, LONG, Wire, command, product, run};

async fn life(engine: Engine, keeper: Keeper) {
    let mut kept = Kept::open(engine).await;
    let bucket = Bucket::open(&kept.world.home, keeper).await;
    kept.goes_to(&bucket);
    let (recipient, identity) = age_pair(&kept.world.home, "ours").await;
    kept.world.server.setup.variables.insert("CERTCTL_BACKUP_RECIPIENTS".to_owned(), recipient);
    let identity = [("CERTCTL_BACKUP_IDENTITY_FILE", identity.to_str().unwrap())];

    let made = kept.create().await;
    let name = made["archive"].as_str().unwrap().to_owned();
    assert!(name.ends_with(".age"));
    assert_eq!(bucket.objects().await, [name.clone(), format!("{name}.manifest.json")]);
    let object = bucket.object(&name).await;
    assert_eq!(object.len() as u64, made["size_bytes"].as_u64().unwrap());
    assert!(object.starts_with(b"age-encryption.org/v1\n"));
    for marker in [b"PGDMP".as_slice(), b"SQLite format 3", b"certificates"] {
        assert!(!object.windows(marker.len()).any(|window| window == marker), "what should be encrypted is in clear");
    }
    kept.backup(&["verify"]).await.ends(1).says(&["age identity", "CERTCTL_BACKUP_IDENTITY_FILE"]);
    let (_, stranger) = age_pair(&kept.world.home, "stranger").await;
    kept.backup_with(&[("CERTCTL_BACKUP_IDENTITY_FILE", stranger.to_str().unwrap())], &["verify"])
        .await
        .ends(1)
        .says(&["none of the age identities"]);
    kept.backup_with(&identity, &["verify", "--into-scratch"]).await.ok();
    // The program of age itself opens it.
    let sealed = kept.world.home.write("object.age", &object);
    let opened = kept.world.home.join("object");
    let mut age = command(&kept.world.home, require_program("age"));
    run(age.args(["--decrypt", "-i", identity[0].1, "-o"]).arg(&opened).arg(&sealed)).await.ok();
    let begins: &[u8] = if engine == Engine::Sqlite { b"SQLite format 3" } else { b"PGDMP" };
    assert!(std::fs::read(&opened).unwrap().starts_with(begins));
    kept.create().await;
    let last = kept.create().await;
    assert_eq!(kept.backup(&["list", "--json"]).await.json()["backups"].as_array().unwrap().len(), 3);
    let few = [
        ("CERTCTL_BACKUP_KEEP_LAST", "1"),
        ("CERTCTL_BACKUP_KEEP_DAILY", "0"),
        ("CERTCTL_BACKUP_KEEP_WEEKLY", "0"),
        ("CERTCTL_BACKUP_KEEP_MONTHLY", "0"),
    ];
    kept.backup_with(&few, &["prune", "--dry-run"]).await.ok();
    assert_eq!(bucket.objects().await.len(), 6);
    kept.backup_with(&few, &["prune"]).await.ok();
    let last = last["archive"].as_str().unwrap().to_owned();
    assert_eq!(bucket.objects().await, [last.clone(), format!("{last}.manifest.json")]);

    let setup = kept.nothing("restored").await.with(identity[0].0, identity[0].1);
    setup.run(&kept.world.home, &["backup", "restore", &last]).await.ok();
    kept.go_on_with(setup).await;
    assert_eq!(kept.world.cli.json(&["audit", "verify"]).await["intact"], true);
    kept.world.cli.run(&["issuers", "list"]).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_backups_of_postgres_live_in_a_bucket_of_moto() {
    life(Engine::Postgres, Keeper::Moto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encrypted_backups_of_sqlite_live_in_a_bucket_that_checks_signatures() {
    life(Engine::Sqlite, Keeper::S3sFs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_and_an_absent_bucket_are_told_apart() {
    let mut kept = Kept::open(Engine::Sqlite).await;
    let bucket = Bucket::open(&kept.world.home, Keeper::S3sFs).await;
    kept.goes_to(&bucket);
    let wrong = [("CERTCTL_BACKUP_S3_SECRET_ACCESS_KEY", "not-the-key-not-the-key")];
    kept.world.home.plant(wrong[0].1);
    let refused = kept.backup_with(&wrong, &["create"]).await.ends(1).says(&["s3://certctl-backups/certctl/test"]);
    assert!(!refused.stderr.contains(wrong[0].1), "{}", refused.stderr);
    assert!(bucket.objects().await.is_empty());
    kept.create().await;
    let bucket = Bucket::open(&kept.world.home, Keeper::Moto).await;
    kept.goes_to(&bucket);
    kept.backup_with(&[("CERTCTL_BACKUP_S3_BUCKET", "no-such-bucket")], &["create"]).await.ends(1).says(&["s3://no-such-bucket"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_is_cut_in_an_upload_costs_a_try_and_one_that_stays_cut_leaves_nothing() {
    let mut kept = Kept::open(Engine::Sqlite).await;
    let bucket = Bucket::open(&kept.world.home, Keeper::Moto).await;
    let wire = Wire::to(bucket.port).await;
    kept.world.server.setup.variables.remove("CERTCTL_BACKUP_DIRECTORY");
    kept.world.server.setup = bucket.settings_at(kept.world.server.setup.clone(), wire.port);
    wire.cut(Cut::Upload);
    let made = kept.create().await;
    wait_until("the wire to be cut", LONG, async || wire.cuts() == 1).await;
    assert_eq!(bucket.object(made["archive"].as_str().unwrap()).await.len() as u64, made["size_bytes"].as_u64().unwrap());
    kept.backup(&["verify"]).await.ok();
    wire.cut(Cut::ForGood);
    kept.backup(&["create"]).await.ends(1).says(&["error: ", "s3://certctl-backups"]);
    assert_eq!(bucket.objects().await.len(), 2, "only the first is there");
    assert!(kept.metric(&kept.world.server, "certctl_backup_failures_total{verb=\"create\"}").await > 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_killed_is_no_object() {
    let mut kept = Kept::open(Engine::Postgres).await;
    let bucket = Bucket::open(&kept.world.home, Keeper::Moto).await;
    kept.goes_to(&bucket);
    for point in ["backup.writing", "backup.written"] {
        let dead = kept.backup_with(&[("FAULT_AT", point)], &["create", "--wait", "1m"]).await;
        assert_eq!(dead.code, None, "{point}: {dead:?}");
        assert!(bucket.objects().await.is_empty(), "{point}");
    }
    kept.backup(&["create", "--wait", "1m"]).await.ok();
    kept.backup(&["verify"]).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_of_many_parts_goes_through_little_memory() {
    let mut kept = Kept::open(Engine::Postgres).await;
    // 160 MB that do not become much smaller.
    let mut psql = command(&kept.world.home, require_program("psql"));
    let fill = "INSERT INTO meta (name, value) SELECT 'filler ' || n, string_agg(md5(random()::text || n), '') \
                FROM generate_series(1, 520) n, generate_series(1, 10000) m GROUP BY n";
    run(psql.args(["-v", "ON_ERROR_STOP=1", "-c", fill, kept.world.database.as_ref().unwrap().url()])).await.ok();
    let bucket = Bucket::open(&kept.world.home, Keeper::S3sFs).await;
    kept.goes_to(&bucket);
    let setup = kept.world.server.setup.clone();
    let mut peaks = Vec::new();
    for words in [["create", "--json"].as_slice(), &["verify"]] {
        let mut python = command(&kept.world.home, require_program("python3"));
        setup.apply(&mut python);
        python.args(["-c", PEAK, product("certctl-server").to_str().unwrap(), "backup"]).args(words);
        let ran = run(&mut python).await.ok();
        peaks.push(ran.lines().last().unwrap().parse::<u64>().unwrap() * 1024);
    }
    let listed = setup.run(&kept.world.home, &["backup", "list", "--json"]).await.json();
    let size = listed["backups"][0]["size_bytes"].as_u64().unwrap();
    assert!(peaks.iter().all(|peak| *peak < size), "{peaks:?} bytes of memory for an archive of {size} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_behind_tls_is_reached_with_its_own_ca_and_encrypts_what_it_is_given() {
    let mut kept = Kept::open(Engine::Sqlite).await;
    let bucket = Bucket::open(&kept.world.home, Keeper::Moto).await;
    let front = Haproxy::before(&kept.world.home, bucket.port, "").await;
    kept.goes_to(&bucket);
    let endpoint = format!("https://localhost:{}", front.port);
    kept.world.server.setup =
        kept.world.server.setup.clone().with("CERTCTL_BACKUP_S3_ENDPOINT", &endpoint).with("CERTCTL_BACKUP_S3_ENCRYPTION", "AES256");
    kept.backup(&["create"]).await.ends(1).says(&["s3://certctl-backups"]);
    assert!(bucket.objects().await.is_empty());
    let ca = front.certificate();
    kept.world.server.setup.variables.insert("CERTCTL_BACKUP_S3_CA_FILE".to_owned(), ca.to_str().unwrap().to_owned());
    let made = kept.create().await;
    let header = bucket.header(made["archive"].as_str().unwrap(), "x-amz-server-side-encryption").await;
    assert_eq!(header.as_deref(), Some("AES256"));
    kept.backup(&["verify"]).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_is_taken_on_with_a_web_identity() {
    let mut kept = Kept::open(Engine::Sqlite).await;
    let bucket = Bucket::open(&kept.world.home, Keeper::Moto).await;
    kept.goes_to(&bucket);
    // moto tells its services apart by a signature, which who takes on a role does not have yet.
    let rule = "http-request set-header Authorization \"AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0\"";
    let front = Haproxy::before(&kept.world.home, bucket.port, rule).await;
    let token = kept.world.home.write("token", "a.projected.service-account-token");
    let mut setup = kept.world.server.setup.clone();
    for name in ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"] {
        setup.variables.remove(&format!("CERTCTL_BACKUP_S3_{name}"));
    }
    kept.world.server.setup = setup
        .with("CERTCTL_BACKUP_S3_ROLE_ARN", "arn:aws:iam::123456789012:role/certctl-backup")
        .with("CERTCTL_BACKUP_S3_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap())
        .with("CERTCTL_BACKUP_S3_STS_ENDPOINT", &format!("https://localhost:{}", front.port))
        .with("CERTCTL_BACKUP_S3_CA_FILE", front.certificate().to_str().unwrap());
    let clear = [("CERTCTL_BACKUP_S3_STS_ENDPOINT", "http://sts.example.test")];
    kept.backup_with(&clear, &["create"]).await.ends(2).says(&["backup.s3_sts_endpoint", "https://"]);
    kept.create().await;
    assert_eq!(bucket.objects().await.len(), 2);
    std::fs::remove_file(&token).unwrap();
    kept.backup(&["create"]).await.ends(1).says(&["s3://certctl-backups"]);
}

/// Runs a program and prints how much memory it or its children had in use at most, in KiB.
const PEAK: &str = "import resource, subprocess, sys\n\
    ended = subprocess.run(sys.argv[1:])\n\
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n\
    sys.exit(ended.returncode)";

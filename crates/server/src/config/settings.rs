//! The table of settings. Each stands here once: name, type, variable, default, what it is for.
//!
//! From this table come the structs, the reader, the flags, `config show` and the reference page.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use certctl_domain::secret::Secret;

use super::backup::{AgeRecipient, BucketName, EndpointUrl, ObjectPrefix, Word};
use super::choice::{BucketEncryption, LogFormat, Synchronous, TlsVersion};
use super::database_url::DatabaseUrl;
use super::key::{Key, Preset, Section, key, settings};
use super::quantity::ByteSize;
use super::relying::PublishedAt;
use super::secrets::{EncryptionKey, Token};
use super::text::{LogFilter, PublicUrl, TlsHost};
use super::value::SettingValue;

use Preset::{DataDir, DatabaseInDataDir, Text, Unset};

settings! {
    /// Where the server listens, and how much it takes in.
    server: ServerSettings {
        /// Addresses to listen on. Only HTTPS is spoken; there is no plain-text port.
        listen: Vec<SocketAddr>, "CERTCTL_SERVER_LISTEN", Text("0.0.0.0:8443"), flag = Some("listen");
        /// The address under which agents, people and relying parties reach this server. Set it when that is not the
        /// host's own name, such as behind a load balancer.
        public_url: Option<PublicUrl>, "CERTCTL_SERVER_PUBLIC_URL", Unset, flag = Some("public-url");
        /// Directory for everything that the server keeps outside the database: the SQLite file, its own key and certificate,
        /// the encryption key that it made itself.
        data_dir: PathBuf, "CERTCTL_SERVER_DATA_DIR", DataDir, flag = Some("data-dir");
        /// The whole time that a graceful stop may take. What is not done by then is cut off, and its lease given back.
        shutdown_timeout: Duration, "CERTCTL_SERVER_SHUTDOWN_TIMEOUT", Text("30s"), bounds = Some(("1s", "10m"));
        /// The longest that one request may take before it is answered with 503.
        request_timeout: Duration, "CERTCTL_SERVER_REQUEST_TIMEOUT", Text("60s"), bounds = Some(("1s", "10m"));
        /// The largest request body. A larger one is answered with 413.
        max_body: ByteSize, "CERTCTL_SERVER_MAX_BODY", Text("1MiB"), bounds = Some(("64KiB", "64MiB"));
        /// The most connections at one time. Further clients wait until one closes. Each agent holds one.
        max_connections: NonZeroU32, "CERTCTL_SERVER_MAX_CONNECTIONS", Text("10000"), bounds = Some(("10", "1000000"));
        /// The longest that a client may take for the TLS handshake.
        handshake_timeout: Duration, "CERTCTL_SERVER_HANDSHAKE_TIMEOUT", Text("10s"), bounds = Some(("100ms", "5m"));
        /// The longest that a client may take to send the head of a request. An HTTP/1.1 connection that stays silent for
        /// as long between two requests is closed.
        header_timeout: Duration, "CERTCTL_SERVER_HEADER_TIMEOUT", Text("20s"), bounds = Some(("100ms", "10m"));
        /// How long an HTTP/2 connection may be without a request before it is closed.
        idle_timeout: Duration, "CERTCTL_SERVER_IDLE_TIMEOUT", Text("3m"), bounds = Some(("100ms", "1d"));
        /// How long a client may refuse to take the answer before its connection is closed.
        write_timeout: Duration, "CERTCTL_SERVER_WRITE_TIMEOUT", Text("60s"), bounds = Some(("100ms", "1h"));
    }

    /// The certificate that the server itself shows. Without one it makes its own, from its own platform CA. A new pair is taken
    /// up on SIGHUP and when the files change; a bad one leaves the old pair in use.
    tls: TlsSettings {
        /// PEM file with the certificate and its intermediates, leaf first. Goes with `tls.key_file`.
        cert_file: Option<PathBuf>, "CERTCTL_TLS_CERT_FILE", Unset, flag = Some("tls-cert-file");
        /// PEM file with the private key (PKCS#8, PKCS#1 or SEC 1, not encrypted).
        key_file: Option<PathBuf>, "CERTCTL_TLS_KEY_FILE", Unset, flag = Some("tls-key-file");
        /// The oldest TLS version that is accepted.
        min_version: TlsVersion, "CERTCTL_TLS_MIN_VERSION", Text("1.3");
        /// Further names and addresses for the certificate that the server makes itself, beside `localhost`, the loopback
        /// addresses, the host's name and that of `server.public_url`.
        hosts: Vec<TlsHost>, "CERTCTL_TLS_HOSTS", Unset;
        /// How often the files are read again where the system does not tell of changes, as on some network file systems.
        poll_interval: Duration, "CERTCTL_TLS_POLL_INTERVAL", Text("1m"), bounds = Some(("100ms", "1d"));
    }

    /// Where the data lives.
    database: DatabaseSettings {
        /// `sqlite:///path/to/file` for one server, `postgres://user@host:5432/database` for any number of replicas.
        url: DatabaseUrl, "CERTCTL_DATABASE_URL", DatabaseInDataDir, secret = true, file = true;
        /// The password for PostgreSQL, when `database.url` has none. It need not be percent-encoded here.
        password: Option<Secret<String>>, "CERTCTL_DATABASE_PASSWORD", Unset, secret = true, file = true;
        /// The most connections to the database that this replica holds.
        max_connections: NonZeroU32, "CERTCTL_DATABASE_MAX_CONNECTIONS", Text("20"), bounds = Some(("2", "1000"));
        /// The longest that a request waits for a free connection.
        acquire_timeout: Duration, "CERTCTL_DATABASE_ACQUIRE_TIMEOUT", Text("10s"), bounds = Some(("100ms", "5m"));
        /// How long a start and `certctl-server migrate` wait for what is in somebody else's hands: a PostgreSQL that does not answer yet, a
        /// migration that another program runs, a table that a migration changes and somebody else holds, the hook of
        /// `migrations_via_hook`. One statement of a migration may take as long.
        start_timeout: Duration, "CERTCTL_DATABASE_START_TIMEOUT", Text("5m"), bounds = Some(("1s", "1h"));
        /// SQLite only. With `full` a certificate that was handed out is never forgotten. With `normal` a power cut may lose the last
        /// commits; writes are up to twice as fast.
        synchronous: Synchronous, "CERTCTL_DATABASE_SYNCHRONOUS", Text("full");
        /// Leave migrations to `certctl-server migrate`, run by a deployment hook. The server then waits while the schema is
        /// older than it needs, and ends when `start_timeout` has passed, instead of bringing it up to date.
        migrations_via_hook: bool, "CERTCTL_MIGRATIONS_VIA_HOOK", Text("false");
    }

    /// The key under which secrets in the database are sealed (AES-256-GCM, a data key for each value).
    encryption: EncryptionSettings {
        /// The current key. With SQLite the server makes one in its data directory when none is given; with PostgreSQL it must be given,
        /// the same to every replica. **Keep a copy: without it the secrets in the database are lost.**
        key: Option<EncryptionKey>, "CERTCTL_ENCRYPTION_KEY", Unset, secret = true, file = true;
        /// Keys that were current before, still good for reading until `certctl-server rotate-key` has sealed everything anew.
        previous_keys: Vec<EncryptionKey>, "CERTCTL_ENCRYPTION_PREVIOUS_KEYS", Unset, secret = true, file = true;
    }

    /// The work that the server does by itself. Every replica may do it; a lease in the database sees to it that one does.
    scheduler: SchedulerSettings {
        /// How often certificates that are due are looked up.
        renewal_interval: Duration, "CERTCTL_SCHEDULER_RENEWAL_INTERVAL", Text("1m"), bounds = Some(("1s", "24h"));
        /// How often the job queue is read when nothing woke the replica up. New work wakes it at once.
        job_poll_interval: Duration, "CERTCTL_SCHEDULER_JOB_POLL_INTERVAL", Text("15s"), bounds = Some(("100ms", "10m"));
        /// How many jobs this replica works on at one time.
        job_concurrency: NonZeroU32, "CERTCTL_SCHEDULER_JOB_CONCURRENCY", Text("16"), bounds = Some(("1", "1000"));
        /// How long a replica may hold a job without a sign of life before another one takes it over.
        job_lease: Duration, "CERTCTL_SCHEDULER_JOB_LEASE", Text("1m"), bounds = Some(("5s", "1h"));
        /// How long a job waits for its agent to send the certificate request before people are told.
        csr_timeout: Duration, "CERTCTL_SCHEDULER_CSR_TIMEOUT", Text("24h"), bounds = Some(("1m", "30d"));
    }

    /// The agents that this server works with.
    agents: AgentSettings {
        /// How often agents are told to report.
        heartbeat_interval: Duration, "CERTCTL_AGENTS_HEARTBEAT_INTERVAL", Text("30s"), bounds = Some(("1s", "1h"));
        /// After how long a silence an agent counts as offline. At least twice the heartbeat interval.
        offline_after: Duration, "CERTCTL_AGENTS_OFFLINE_AFTER", Text("3m"), bounds = Some(("2s", "7d"));
        /// How long a poll for work is held open while there is none. Shorter than `server.request_timeout`.
        poll_wait: Duration, "CERTCTL_AGENTS_POLL_WAIT", Text("45s"), bounds = Some(("100ms", "5m"));
        /// How long an enrollment token is good for when its maker does not say.
        token_lifetime: Duration, "CERTCTL_AGENTS_TOKEN_LIFETIME", Text("24h"), bounds = Some(("1m", "30d"));
    }

    /// How this installation proves names to ACME CAs.
    acme: AcmeSettings {
        /// Addresses at which HTTP challenges (http-01) are answered over plain HTTP, and nothing else. A CA asks at port 80 of each name: let
        /// this be `0.0.0.0:80`, or have what listens there pass `/.well-known/acme-challenge/` on to here. Every replica answers for all.
        http01_listen: Vec<SocketAddr>, "CERTCTL_ACME_HTTP01_LISTEN", Unset;
        /// Addresses at which TLS challenges (tls-alpn-01) are answered: handshakes for `acme-tls/1`, and nothing else. A CA asks at port 443
        /// of each name: let this be `0.0.0.0:443`, or have what listens there pass connections with that protocol on to here, such as
        /// HAProxy by `req.ssl_alpn`. Every replica answers for all.
        tls_alpn01_listen: Vec<SocketAddr>, "CERTCTL_ACME_TLS_ALPN01_LISTEN", Unset;
        /// File with the commands that issuers may run on the server, such as the hook that writes DNS records; written as the one of an agent.
        /// Without the file none may run.
        commands_file: PathBuf, "CERTCTL_ACME_COMMANDS_FILE", Text("/etc/certctl/server-commands.toml");
    }

    /// A port of its own for scrapers.
    metrics: MetricsSettings {
        /// Addresses that serve `/metrics`, and the same at `/api/v1/metrics/prometheus`, and nothing else: over HTTPS, with the server's
        /// certificate, for keys with the permission `metrics.read`. So a network may let scrapers reach this port and not the other one,
        /// which serves the metrics all the same.
        listen: Vec<SocketAddr>, "CERTCTL_METRICS_LISTEN", Unset;
    }

    /// What relying parties fetch about certificates of the CAs that are kept here: revocation lists, OCSP, CA certificates.
    pki: PkiSettings {
        /// Addresses for plain HTTP. Only revocation lists, OCSP and CA certificates are served there: who must check a TLS certificate
        /// cannot be asked to trust TLS first. Without it they are served over HTTPS alone, which many clients do not follow.
        http_listen: Vec<SocketAddr>, "CERTCTL_PKI_HTTP_LISTEN", Unset;
        /// The address under which relying parties reach these, written into every certificate that a CA kept here issues. It should stay
        /// the same for as long as the certificates live. By default the host of `server.public_url` with the port of `pki.http_listen`,
        /// when both are set; otherwise certificates name no list and no responder.
        public_url: Option<PublishedAt>, "CERTCTL_PKI_PUBLIC_URL", Unset;
        /// How long a revocation list is good for. A new one is made when half of that is over.
        crl_lifetime: Duration, "CERTCTL_PKI_CRL_LIFETIME", Text("24h"), bounds = Some(("1h", "30d"));
        /// The longest that a revocation may take into its list. Shorter, lists are made more often while much is revoked.
        crl_delay: Duration, "CERTCTL_PKI_CRL_DELAY", Text("30s"), bounds = Some(("5s", "1h"));
        /// How many certificates may name one revocation list before further ones name the next. A list can become as long.
        crl_shard_size: NonZeroU32, "CERTCTL_PKI_CRL_SHARD_SIZE", Text("100000"), bounds = Some(("1000", "10000000"));
        /// How long an OCSP answer is good for. Clients and proxies may keep it as long.
        ocsp_lifetime: Duration, "CERTCTL_PKI_OCSP_LIFETIME", Text("1h"), bounds = Some(("5m", "7d"));
    }

    /// Who gets in at first.
    auth: AuthSettings {
        /// Token for the first administrator. When there is no administrator and no token is given, the server makes one, prints it once
        /// and keeps it in its data directory, readable by its own user only.
        bootstrap_token: Option<Token>, "CERTCTL_BOOTSTRAP_TOKEN", Unset, secret = true, file = true;
    }

    /// How much one caller may ask for. Counted in each replica by itself.
    limits: LimitSettings {
        /// Requests a second for one caller. Without it there is no limit.
        requests_per_second: Option<NonZeroU32>, "CERTCTL_LIMITS_REQUESTS_PER_SECOND", Unset, bounds = Some(("1", "1000000"));
        /// How many requests may come at once before that limit bites.
        burst: NonZeroU32, "CERTCTL_LIMITS_BURST", Text("100"), bounds = Some(("1", "1000000"));
        /// Failed logins a minute from one address before further ones are answered with 429.
        failed_logins_per_minute: NonZeroU32, "CERTCTL_LIMITS_FAILED_LOGINS_PER_MINUTE", Text("60"), bounds = Some(("1", "1000000"));
    }

    /// How long rows that only grow are kept. Certificates and their versions are kept for ever.
    retention: RetentionSettings {
        /// Days for audit events; 0 keeps them for ever. The checkpoint that proves the pruned part stays.
        audit_days: u32, "CERTCTL_RETENTION_AUDIT_DAYS", Text("0"), bounds = Some(("0", "36500"));
        /// Days for jobs that are over; 0 keeps them for ever.
        jobs_days: u32, "CERTCTL_RETENTION_JOBS_DAYS", Text("90"), bounds = Some(("0", "36500"));
        /// Days for notifications that were sent or given up; 0 keeps them for ever.
        notifications_days: u32, "CERTCTL_RETENTION_NOTIFICATIONS_DAYS", Text("30"), bounds = Some(("0", "36500"));
        /// Days for API keys and enrollment tokens that have expired or were revoked; 0 keeps them for ever.
        credentials_days: u32, "CERTCTL_RETENTION_CREDENTIALS_DAYS", Text("90"), bounds = Some(("0", "36500"));
    }

    /// Where `certctl-server backup` keeps backups, and how many. Give a directory or a bucket. The encryption key is never in a backup: keep
    /// a copy of it elsewhere.
    backup: BackupSettings {
        /// A directory for backups, on another disk than the database. It must exist.
        directory: Option<PathBuf>, "CERTCTL_BACKUP_DIRECTORY", Unset;
        /// A bucket for backups, of Amazon's S3 or of anything that speaks as it does.
        s3_bucket: Option<BucketName>, "CERTCTL_BACKUP_S3_BUCKET", Unset;
        /// What stands before the names of backups in the bucket, such as `certctl/production`.
        s3_prefix: Option<ObjectPrefix>, "CERTCTL_BACKUP_S3_PREFIX", Unset;
        /// The address of another S3 than Amazon's. With `http://` what is not encrypted by `backup.recipients` crosses the network in clear.
        s3_endpoint: Option<EndpointUrl>, "CERTCTL_BACKUP_S3_ENDPOINT", Unset;
        /// The region of the bucket.
        s3_region: Word, "CERTCTL_BACKUP_S3_REGION", Text("us-east-1");
        /// Whether the bucket's name stands in the path (`https://endpoint/bucket/`) or before the host. By default in the path when
        /// `backup.s3_endpoint` is set, and before the host at Amazon's.
        s3_path_style: Option<bool>, "CERTCTL_BACKUP_S3_PATH_STYLE", Unset;
        /// PEM file with CA certificates to trust for `backup.s3_endpoint` and `backup.s3_sts_endpoint`, beside those of the system.
        s3_ca_file: Option<PathBuf>, "CERTCTL_BACKUP_S3_CA_FILE", Unset;
        /// Id of an access key. Without a key and without a role, the role of the machine is asked of its metadata service.
        s3_access_key_id: Option<Word>, "CERTCTL_BACKUP_S3_ACCESS_KEY_ID", Unset;
        /// The secret part of the access key.
        s3_secret_access_key: Option<Secret<String>>, "CERTCTL_BACKUP_S3_SECRET_ACCESS_KEY", Unset, secret = true, file = true;
        /// Session token of an access key that expires.
        s3_session_token: Option<Secret<String>>, "CERTCTL_BACKUP_S3_SESSION_TOKEN", Unset, secret = true, file = true;
        /// A role to take on with a web identity, as pods of a Kubernetes service account do. Goes with `backup.s3_web_identity_token_file`.
        s3_role_arn: Option<Word>, "CERTCTL_BACKUP_S3_ROLE_ARN", Unset;
        /// File with the token for `backup.s3_role_arn`; somebody else keeps it fresh.
        s3_web_identity_token_file: Option<PathBuf>, "CERTCTL_BACKUP_S3_WEB_IDENTITY_TOKEN_FILE", Unset;
        /// Where roles are taken on, over https, when that is not the region's own place.
        s3_sts_endpoint: Option<EndpointUrl>, "CERTCTL_BACKUP_S3_STS_ENDPOINT", Unset;
        /// How the bucket's side encrypts: `AES256` or `aws:kms`. By default as the bucket does by itself.
        s3_encryption: Option<BucketEncryption>, "CERTCTL_BACKUP_S3_ENCRYPTION", Unset;
        /// The key for `aws:kms`; by default the account's own.
        s3_kms_key_id: Option<Word>, "CERTCTL_BACKUP_S3_KMS_KEY_ID", Unset;
        /// Public keys of age (`age1...`) that every backup is encrypted to. Without one backups are not encrypted here. To make backups
        /// the public keys are enough.
        recipients: Vec<AgeRecipient>, "CERTCTL_BACKUP_RECIPIENTS", Unset, file = true;
        /// Private keys of age, as `age-keygen` writes them, with which backups are read. Needed by `verify` and `restore` alone: keep them
        /// elsewhere than where backups are made.
        identity: Option<Secret<String>>, "CERTCTL_BACKUP_IDENTITY", Unset, secret = true, file = true;
        /// Directory for a copy of an SQLite database while it is written out or read; it takes as much room as the database. By default
        /// the data directory.
        staging_dir: Option<PathBuf>, "CERTCTL_BACKUP_STAGING_DIR", Unset;
        /// Directory with `pg_dump` and `pg_restore`, no older than the server. By default they are looked for.
        postgres_bin: Option<PathBuf>, "CERTCTL_BACKUP_POSTGRES_BIN", Unset;
        /// How many of the newest backups `prune` keeps. The newest good one stays whatever is set.
        keep_last: u32, "CERTCTL_BACKUP_KEEP_LAST", Text("3"), bounds = Some(("0", "10000"));
        /// For how many days, of those with backups, `prune` keeps the newest one.
        keep_daily: u32, "CERTCTL_BACKUP_KEEP_DAILY", Text("7"), bounds = Some(("0", "10000"));
        /// For how many weeks.
        keep_weekly: u32, "CERTCTL_BACKUP_KEEP_WEEKLY", Text("4"), bounds = Some(("0", "10000"));
        /// For how many months.
        keep_monthly: u32, "CERTCTL_BACKUP_KEEP_MONTHLY", Text("6"), bounds = Some(("0", "10000"));
    }

    /// What is logged, and how. Logs go to standard error.
    log: LogSettings {
        /// A level (`trace`, `debug`, `info`, `warn`, `error`, `off`), or levels by module: `info,sqlx=warn`.
        level: LogFilter, "CERTCTL_LOG_LEVEL", Text("info"), flag = Some("log-level");
        /// Lines for people, or one JSON object a line.
        format: LogFormat, "CERTCTL_LOG_FORMAT", Text("text"), flag = Some("log-format");
    }
}

impl Default for LogSettings {
    /// How to log before the configuration is known, or when it is wrong.
    fn default() -> Self {
        Self { level: LogFilter::default(), format: LogFormat::Text }
    }
}

//! The loader as a whole: precedence, every mistake at once, suggestions, secrets from files, what is shown.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args as _, FromArgMatches as _};

use super::*;

/// A configuration in the making, with files that exist only here.
#[derive(Default)]
struct Setup {
    variables: BTreeMap<String, String>,
    file: Option<ConfigFile>,
    flags: ConfigFlags,
    files: BTreeMap<PathBuf, String>,
    runs_as_root: bool,
}

impl Setup {
    fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn toml(mut self, text: &str) -> Self {
        self.file = Some(ConfigFile { path: "/etc/certctl/server.toml".into(), text: text.to_owned() });
        self
    }

    fn args(mut self, args: &[&str]) -> Self {
        let command = ConfigFlags::augment_args(clap::Command::new("certctl-server"));
        let matches = command.get_matches_from(std::iter::once("certctl-server").chain(args.iter().copied()));
        self.flags = ConfigFlags::from_arg_matches(&matches).unwrap();
        self
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.to_owned());
        self
    }

    fn with<T>(&self, run: impl FnOnce(&LoadInput<'_>) -> T) -> T {
        let read_file = |path: &Path| self.files.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
        run(&LoadInput {
            variables: self.variables.clone(),
            file: self.file.clone(),
            flags: self.flags.clone(),
            read_file: &read_file,
            runs_as_root: self.runs_as_root,
        })
    }

    fn load(&self) -> Result<Config, ConfigErrors> {
        self.with(load)
    }

    fn errors(&self) -> String {
        self.load().expect_err("should be refused").to_string()
    }
}

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=";

#[test]
fn nothing_configured_is_a_whole_configuration() {
    let config = Setup::default().load().unwrap();
    assert_eq!(config.server.data_dir, Path::new("certctl-data"));
    assert_eq!(config.database.url.to_string(), "sqlite://certctl-data/certctl.db");
    assert_eq!(config.tls.min_version, TlsVersion::Tls13);
    assert!(config.warnings().is_empty());
    assert_eq!(config.effective().len(), KEYS.len());

    let root = Setup { runs_as_root: true, ..Setup::default() }.load().unwrap();
    assert_eq!(root.database.url.to_string(), "sqlite:///var/lib/certctl/certctl.db");

    let service = Setup { runs_as_root: true, ..Setup::default() }.env("STATE_DIRECTORY", "/var/lib/private/certctl:/x").load().unwrap();
    assert_eq!(service.server.data_dir, Path::new("/var/lib/private/certctl"));
    assert!(service.to_toml().contains("# env STATE_DIRECTORY"));
}

#[test]
fn flags_win_over_environment_over_file_over_default() {
    let toml =
        "[log]\nlevel = \"warn\"\nformat = \"json\"\n[server]\nshutdown_timeout = \"10s\"\nlisten = [\"127.0.0.1:1\", \"[::1]:1\"]\n";
    let config = Setup::default()
        .toml(toml)
        .env("CERTCTL_LOG_LEVEL", "debug")
        .env("CERTCTL_LOG_FORMAT", "")
        .env("CERTCTL_SERVER_LISTEN", "127.0.0.1:2")
        .args(&["--listen", "127.0.0.1:3,127.0.0.1:4", "--set", "scheduler.job_concurrency=32"])
        .load()
        .unwrap();
    let of = |path: &str| {
        let found = config.effective().iter().find(|setting| setting.key.path == path).unwrap();
        format!("{} # {}", show::toml(&found.value), found.origin)
    };
    assert_eq!(of("server.listen"), r#"["127.0.0.1:3", "127.0.0.1:4"] # flag --listen"#);
    assert_eq!(of("log.level"), r#""debug" # env CERTCTL_LOG_LEVEL"#);
    assert_eq!(of("log.format"), r#""json" # /etc/certctl/server.toml:3"#);
    assert_eq!(of("server.shutdown_timeout"), r#""10s" # /etc/certctl/server.toml:5"#);
    assert_eq!(of("scheduler.job_concurrency"), "32 # flag --set scheduler.job_concurrency");
    assert_eq!(of("server.max_body"), r#""1MiB" # default"#);
}

#[test]
fn the_data_directory_moves_the_database_with_it() {
    let config = Setup::default().args(&["--data-dir", "/srv/certctl"]).load().unwrap();
    assert_eq!(config.database.url.to_string(), "sqlite:///srv/certctl/certctl.db");
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let toml = "\
[server]
lisen = \"0.0.0.0:8443\"
max_body = 12
[databse]
url = \"x\"
[tls]
cert_file = \"/etc/tls.crt\"
min_version = 1.1
[agents]
offline_after = \"30s\"
poll_wait = 45
";
    let errors = Setup::default()
        .toml(toml)
        .env("CERTCTL_DATABASE_URL", "postgres://certctl@db/certctl")
        .env("CERTCTL_DATABASE_MAX_CONNS", "50")
        .env("CERTCTL_LOG_FORMAT", "jsno")
        .env("CERTCTL_ENCRYPTION_KEY_FILE", "/run/secrets/missing")
        .env("CERTCTL_SCHEDULER_RENEWAL_INTERVL", "1m")
        .env("CERTCTL_BOOTSTRAP_TOKEN", "hunter2")
        .args(&["--set", "log.colour=on", "--set", "database.password=hunter2"])
        .errors();
    insta::assert_snapshot!(errors);
    assert!(!errors.contains("hunter2"));
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    for (setup, wanted) in [
        (Setup::default().env("CERTCTL_TLS_KEY_FILE", "/k"), "`tls.key_file` is given without `tls.cert_file`"),
        (Setup::default().env("CERTCTL_TLS_CERT_FILE", "/c"), "`tls.cert_file` is given without `tls.key_file`"),
        (Setup::default().env("CERTCTL_DATABASE_URL", "postgres://c@db/c"), "`encryption.key` is needed with PostgreSQL"),
        (Setup::default().env("CERTCTL_DATABASE_PASSWORD", "p"), "an SQLite file"),
        (Setup::default().env("CERTCTL_ENCRYPTION_PREVIOUS_KEYS", KEY), "without `encryption.key`"),
        (Setup::default().env("CERTCTL_AGENTS_OFFLINE_AFTER", "59s"), "twice `agents.heartbeat_interval`"),
        (Setup::default().env("CERTCTL_AGENTS_POLL_WAIT", "60s"), "not shorter than `server.request_timeout`"),
        (Setup::default().env("CERTCTL_ENCRYPTION_KEY", KEY).env("CERTCTL_ENCRYPTION_KEY_FILE", "/k").file("/k", KEY), "given twice"),
        (Setup::default().args(&["--listen", "127.0.0.1:1", "--set", "server.listen=127.0.0.1:2"]), "given twice"),
    ] {
        let errors = setup.errors();
        assert!(errors.contains(wanted), "{wanted}: {errors}");
        assert!(errors.contains("has an error:"), "only the one: {errors}");
    }
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let config = Setup::default()
        .toml("[encryption]\nprevious_keys_file = \"/run/old\"\n")
        .file("/run/old", &format!("{KEY}\n{KEY}\n"))
        .env("CERTCTL_DATABASE_URL_FILE", "/run/url")
        .file("/run/url", "postgres://certctl@db/certctl\r\n")
        .env("CERTCTL_DATABASE_PASSWORD_FILE", "/run/password")
        .file("/run/password", " hunter2 \n")
        .env("CERTCTL_ENCRYPTION_KEY", KEY)
        .env("CERTCTL_BOOTSTRAP_TOKEN_FILE", "/run/token")
        .file("/run/token", "hunter2-hunter2-hunter2-hunter2")
        .load()
        .unwrap();
    assert_eq!(config.database.url.to_url().expose(), "postgres://certctl:%20hunter2%20@db/certctl");
    assert_eq!(config.encryption.previous_keys.len(), 2);
    assert_eq!(config.auth.bootstrap_token.as_ref().unwrap().secret().expose(), "hunter2-hunter2-hunter2-hunter2");

    let json = serde_json::to_string_pretty(&config.to_list()).unwrap();
    let everything = format!("{config:?}\n{}\n{json}", config.to_toml());
    assert!(!everything.contains("hunter2") && !everything.contains(KEY), "{everything}");
    insta::assert_snapshot!(config.to_toml());
}

#[test]
fn a_higher_source_wins_whichever_form_it_takes() {
    let config = Setup::default()
        .toml(&format!("[encryption]\nkey = \"{KEY}\"\n"))
        .env("CERTCTL_ENCRYPTION_KEY_FILE", "/k")
        .file("/k", "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff\n")
        .load()
        .unwrap();
    assert_eq!(config.encryption.key.unwrap().secret().expose().first(), Some(&0xff));
}

#[test]
fn unknown_variables_are_refused_and_foreign_ones_are_not() {
    let foreign = Setup::default()
        .env("CERTCTL_SERVER_URL", "https://localhost:8443")
        .env("CERTCTL_API_KEY", "ck_x_y")
        .env("CERTCTL_AGENT_NAME", "web1")
        .env("CERTCTL_CONFIG", "/etc/certctl/server.toml")
        .env("CERTCTL_SERVER_PORT_8443_TCP_ADDR", "10.0.0.1")
        .env("CERTCTL_SERVER_PORT", "tcp://10.0.0.1:8443")
        .env("PATH", "/bin");
    assert!(foreign.load().unwrap().warnings().is_empty());

    let near = Setup::default().env("CERTCTL_AGENT_HEARTBEAT_INTERVAL", "30s").load().unwrap();
    assert!(near.warnings().iter().any(|warning| warning.contains("CERTCTL_AGENTS_HEARTBEAT_INTERVAL")));

    for (name, hint) in [
        ("CERTCTL_SERVER_PORT", "CERTCTL_SERVER_LISTEN=0.0.0.0:8443"),
        ("CERTCTL_LISTEN", "did you mean `CERTCTL_SERVER_LISTEN`?"),
        ("CERTCTL_DATABASE_URL_FLIE", "did you mean `CERTCTL_DATABASE_URL_FILE`?"),
        ("CERTCTL_AUTH_SECRET", "certctl keys"),
        ("CERTCTL_SOMETHING_ELSE_ALTOGETHER", "config reference"),
    ] {
        let errors = Setup::default().env(name, "8443").errors();
        assert!(errors.contains(&format!("`{name}` is not a setting")) && errors.contains(hint), "{errors}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_told_by_line() {
    let errors = Setup::default().toml("[server]\nlisten = [\n[log]\nlevel = info\n").errors();
    assert!(errors.contains("/etc/certctl/server.toml:"), "{errors}");
    for (toml, wanted) in [
        ("listen = \"127.0.0.1:1\"\n", "did you mean `server.listen`?"),
        ("server = \"x\"\n", "write [server]"),
        ("[log]\nlevel = 1979-05-27\n", "`log.level` is a datetime"),
        ("[log]\nlevel = { a = 1 }\n", "`log.level` is a table"),
        ("[log]\nlevel = [\"info\"]\n", "is a list where one value is wanted"),
        ("[server]\nmax_connections = 0x10\nmax_connections = 1\n", "duplicate"),
        ("[encryption]\nkey_file = [\"a\"]\n", "`encryption.key_file` is a array"),
    ] {
        let errors = Setup::default().toml(toml).errors();
        assert!(errors.contains(wanted), "{toml}: {errors}");
    }
    assert_eq!(Setup::default().toml("[tls]\nmin_version = 1.2\n").load().unwrap().tls.min_version, TlsVersion::Tls12);
    assert_eq!(Setup::default().toml("[server]\nmax_connections = 0x10\n").load().unwrap().server.max_connections.get(), 16);
}

#[test]
fn migrations_need_the_database_settings_alone() {
    let others_wrong = Setup::default()
        .toml("[server]\nlisten = \"nowhere\"\n[unknown]\n")
        .env("CERTCTL_DATABASE_URL", "postgres://certctl@db/certctl")
        .env("CERTCTL_LOG_LEVEL", "loud")
        .env("CERTCTL_TLS_KEY_FILE", "/k")
        .env("CERTCTL_SOMETHING_ELSE", "x");
    let loaded = others_wrong.with(load_database_only).unwrap();
    assert_eq!(loaded.database.url.to_string(), "postgres://certctl@db/certctl");
    assert_eq!(loaded.log.level.as_str(), "info");
    assert!(others_wrong.load().is_err());

    for setup in [
        Setup::default().env("CERTCTL_DATABASE_URL", "mysql://db/c"),
        Setup::default().env("CERTCTL_DATABASE_ULR", "postgres://db/c"),
        Setup::default().env("CERTCTL_DATABASE_MAX_CONNECTIONS", "0"),
        Setup::default().env("CERTCTL_DATABASE_PASSWORD_FILE", "/missing"),
        Setup::default().toml("[databases]\nurl = \"postgres://db/c\"\n"),
        Setup::default().toml("[database]\nuri = \"postgres://db/c\"\n"),
        Setup::default().toml("[database\n"),
    ] {
        assert!(setup.with(load_database_only).is_err(), "{:?} {:?}", setup.variables, setup.file);
    }
}

#[test]
fn the_file_is_the_named_one_or_the_first_candidate() {
    let read = |existing: &'static [&'static str]| {
        move |path: &Path| match existing.iter().find(|known| Path::new(known) == path) {
            Some(known) if known.ends_with("locked") => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
            Some(_) => Ok(String::new()),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    };
    let none = BTreeMap::new();
    let variable = BTreeMap::from([("CERTCTL_CONFIG".to_owned(), "/by/env".to_owned())]);
    let path = |found: Result<Option<ConfigFile>, ConfigErrors>| found.map(|file| file.map(|file| file.path.display().to_string()));

    let all = read(&["/by/flag", "/by/env", "certctl.toml", "/etc/certctl/server.toml"]);
    assert_eq!(path(find(Some(Path::new("/by/flag")), &variable, &all)).unwrap().as_deref(), Some("/by/flag"));
    assert_eq!(path(find(None, &variable, &all)).unwrap().as_deref(), Some("/by/env"));
    assert_eq!(path(find(None, &none, &all)).unwrap().as_deref(), Some("certctl.toml"));
    assert_eq!(path(find(None, &none, &read(&["/etc/certctl/server.toml"]))).unwrap().as_deref(), Some("/etc/certctl/server.toml"));
    assert_eq!(path(find(None, &none, &read(&[]))).unwrap(), None);

    let missing = find(None, &variable, &read(&[])).unwrap_err();
    let missing = missing.iter().next().unwrap();
    assert_eq!(missing.to_string(), "cannot read /by/env");
    assert_eq!(missing.origin().unwrap().to_string(), "env CERTCTL_CONFIG");
    assert!(find(Some(Path::new("/is/locked")), &none, &read(&["/is/locked"])).is_err());
}

#[test]
fn the_table_is_sound() {
    let mut names = std::collections::BTreeSet::new();
    for key in KEYS {
        for name in [Some(key.env.to_owned()), key.env_file(), Some(key.path.to_owned()), key.path_file()].into_iter().flatten() {
            assert!(names.insert(name.clone()), "{name} stands for two settings");
        }
        assert!(key.env.starts_with("CERTCTL_") && !environment::FOREIGN.contains(&key.env), "{}", key.env);
        assert!(!key.env.starts_with(environment::FOREIGN_PREFIX), "{} would be taken for the agent's", key.env);
        let regular = format!("CERTCTL_{}", key.path.replace('.', "_").to_uppercase());
        let by_design = ["CERTCTL_MIGRATIONS_VIA_HOOK", "CERTCTL_BOOTSTRAP_TOKEN"];
        assert!(key.env == regular || by_design.contains(&key.env), "{} is not {regular}", key.env);
        assert!(key.doc.trim().ends_with(['.', '*']), "{} needs a sentence", key.path);
        assert!(!key.secret || key.flag.is_none(), "{} is secret and has a flag", key.path);
        assert!(!key.secret || key.file, "{} is secret and cannot be read from a file", key.path);
    }
}

#[test]
fn bounds_hold_at_both_ends() {
    for key in KEYS {
        let Some((least, greatest)) = key.bounds else { continue };
        for (value, good) in [(least, true), (greatest, true), ("0s", least == "0s"), ("99999d", false), ("4294967295", false)] {
            let set = format!("{}={value}", key.path);
            let told = Setup::default().args(&["--set", &set]).load().err().map(|errors| errors.to_string()).unwrap_or_default();
            let refused = told.contains(&format!("`{}`: `{value}`", key.path));
            assert_eq!(refused, !good, "{set}: {told}");
        }
    }
}

#[test]
fn the_reference_names_every_setting() {
    let page = reference();
    for key in KEYS {
        assert!(page.contains(&format!("### `{}`", key.path)) && page.contains(key.env), "{}", key.path);
    }
    insta::assert_snapshot!(page);
}

#[test]
fn the_help_names_every_flag() {
    let help = ConfigFlags::augment_args(clap::Command::new("certctl-server")).render_long_help().to_string();
    for flag in KEYS.iter().filter_map(|key| key.flag) {
        assert!(help.contains(&format!("--{flag}")), "{flag}");
    }
    insta::assert_snapshot!(help);
}

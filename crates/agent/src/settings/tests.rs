use certctl_domain::challenge::ChallengeKind;

use super::*;

fn load(options: &CommonOptions, surroundings: &Surroundings) -> Settings {
    Settings::load(options, surroundings).unwrap()
}

fn file(text: &str) -> (tempfile::TempDir, CommonOptions) {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().canonicalize().unwrap().join("agent.toml");
    crate::state::write_private(&path, text.as_bytes()).unwrap();
    (temporary, CommonOptions { config: Some(path), ..CommonOptions::default() })
}

#[test]
fn the_state_directory_is_where_each_kind_of_machine_expects_it() {
    let some = |text: &str| Some(OsString::from(text));
    let plain = Surroundings { home: some("/home/ada"), ..Surroundings::default() };
    for (surroundings, path) in [
        (Surroundings { state_directory: some("/var/lib/x:/var/lib/y"), is_root: true, ..plain.clone() }, "/var/lib/x"),
        (Surroundings { is_root: true, ..plain.clone() }, "/var/lib/certctl-agent"),
        (plain.clone(), "/home/ada/.local/state/certctl-agent"),
        (Surroundings { xdg_state_home: some("/state"), ..plain.clone() }, "/state/certctl-agent"),
        (Surroundings { state_directory: some(""), ..plain.clone() }, "/home/ada/.local/state/certctl-agent"),
    ] {
        assert_eq!(surroundings.state_dir(), Path::new(path), "{surroundings:?}");
    }
}

#[test]
fn flags_win_over_the_file_and_the_file_over_defaults() {
    let (_temporary, mut options) =
        file("state_dir = \"/from/file\"\nlog_level = \"debug\"\nlog_format = \"json\"\nserver = \"https://file.test\"");
    let settings = load(&options, &Surroundings::default());
    assert_eq!(
        (settings.state_dir.as_path(), settings.log_level, settings.log_format),
        (Path::new("/from/file"), LogLevel::Debug, LogFormat::Json)
    );
    options.state_dir = Some("/from/flag".into());
    options.log_level = Some(LogLevel::Warn);
    let settings = load(&options, &Surroundings::default());
    assert_eq!((settings.state_dir.as_path(), settings.log_level), (Path::new("/from/flag"), LogLevel::Warn));
    let enrollment = EnrollmentOptions { token: Some("ce_1_x\n".into()), ..EnrollmentOptions::default() };
    let enrollment = settings.enrollment(&enrollment).unwrap().unwrap();
    assert_eq!(
        (enrollment.server.as_str(), enrollment.token.expose().as_str(), enrollment.anchor),
        ("https://file.test", "ce_1_x", Anchor::System)
    );
}

#[test]
fn http_is_answered_in_one_place_and_flags_are_not_mixed_with_the_file() {
    let toml = "acme_webroot = \"/var/www\"\nacme_tls_alpn01_listen = [\"0.0.0.0:443\"]";
    let (_temporary, options) = file(toml);
    let settings = load(&options, &Surroundings::default());
    let from_file = settings.challenges(&AcmeOptions::default()).unwrap();
    assert_eq!(from_file.http01, Some(OverHttp::Webroot("/var/www".into())));
    assert_eq!((from_file.kinds(), from_file.tls_alpn01), (ChallengeKind::ALL.to_vec(), vec!["0.0.0.0:443".parse().unwrap()]));
    let listen: Vec<SocketAddr> = vec!["0.0.0.0:80".parse().unwrap(), "[::]:80".parse().unwrap()];
    let flags = AcmeOptions { acme_http01_listen: listen.clone(), ..AcmeOptions::default() };
    assert_eq!(settings.challenges(&flags).unwrap().http01, Some(OverHttp::Listen(listen)));
    let both = AcmeOptions { acme_webroot: Some("/srv".into()), ..flags };
    assert!(settings.challenges(&both).unwrap_err().to_string().contains("exclude one another"));
    let relative = AcmeOptions { acme_webroot: Some("www".into()), ..AcmeOptions::default() };
    assert!(settings.challenges(&relative).unwrap_err().to_string().contains("no absolute path"));
    assert!(load(&CommonOptions::default(), &Surroundings::default()).challenges(&AcmeOptions::default()).unwrap().kinds().is_empty());
}

#[test]
fn the_machines_own_allow_list_wins_over_the_agents() {
    let (_temporary, mut options) = file("");
    let mut surroundings = Surroundings::default();
    assert_eq!(load(&options, &surroundings).allow_list, None);
    surroundings.allow_list = Some("/etc/certctl-agent/commands.toml".into());
    assert_eq!(load(&options, &surroundings).allow_list, surroundings.allow_list);
    options.allow_list = Some("/elsewhere.toml".into());
    assert_eq!(load(&options, &surroundings).allow_list, options.allow_list);
}

#[test]
fn mistakes_in_the_file_are_told_with_their_line() {
    for (text, why) in [
        ("\nsurver = \"x\"", "agent.toml:2: unknown field `surver`"),
        ("log_level = \"loud\"", "agent.toml:1: unknown variant `loud`"),
        ("ca_sha256 = \"abc\"", "64 hex digits"),
        ("name = ", "agent.toml:1"),
    ] {
        let (_temporary, options) = file(text);
        let error = Settings::load(&options, &Surroundings::default()).unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let missing = CommonOptions { config: Some("/does/not/exist.toml".into()), ..CommonOptions::default() };
    assert!(Settings::load(&missing, &Surroundings::default()).unwrap_err().to_string().contains("does not exist"));
}

#[test]
fn a_token_comes_from_a_file_and_is_never_shown() {
    let (temporary, common) = file("");
    let settings = load(&common, &Surroundings::default());
    let path = temporary.path().canonicalize().unwrap().join("token");
    crate::state::write_private(&path, b"  ce_1_hunter2\n").unwrap();
    let options = EnrollmentOptions {
        server: Some("https://x.test".into()),
        token_file: Some(path),
        ca_sha256: Some(pin(&format!("sha256:{}", "AB:".repeat(31) + "AB")).unwrap()),
        ..EnrollmentOptions::default()
    };
    let enrollment = settings.enrollment(&options).unwrap().unwrap();
    assert_eq!(enrollment.token.expose(), "ce_1_hunter2");
    assert!(matches!(enrollment.anchor, Anchor::Pin(_)));
    let flag = EnrollmentOptions { token: Some("ce_1_hunter2".into()), ..options };
    assert!(!format!("{flag:?} {enrollment:?}").contains("hunter2"));
    assert!(settings.enrollment(&EnrollmentOptions::default()).unwrap().is_none());
}

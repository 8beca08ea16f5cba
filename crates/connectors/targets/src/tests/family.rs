//! What holds for every kind of target: described, built, refused.

use certctl_connector_core::exec::AllowList;
use serde_json::{Value, json};

use super::support::{Authority, Stage};
use crate::TARGETS;

fn minimal(kind: &str) -> Value {
    let mut config = json!({"certificate_path": "/etc/ssl/web.pem", "key_path": "/etc/ssl/web.key"});
    if kind == "Files" {
        config["reload_command"] = json!(["true"]);
    }
    config
}

#[test]
fn every_kind_has_a_closed_schema_whose_every_field_is_described() {
    assert_eq!(TARGETS.entries().iter().map(|e| e.kind).collect::<Vec<_>>(), ["NGINX", "HAProxy", "Files"]);
    for entry in TARGETS.entries() {
        let schema = TARGETS.schema(&entry.kind.to_lowercase()).unwrap();
        assert_eq!(schema.as_value()["additionalProperties"], false, "{}", entry.kind);
        for (name, property) in schema.as_value()["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{}.{name}", entry.kind);
        }
    }
}

#[test]
fn every_kind_refuses_wrong_settings() {
    for kind in ["NGINX", "Files"] {
        for (change, why) in [
            (json!({"certificate_path": "web.pem"}), "not absolute"),
            (json!({"certificate_path": "********"}), "not absolute"),
            (json!({"key_path": "/etc/../x"}), "`..`"),
            (json!({"key_path": "/etc/ssl/web.pem"}), "same file"),
            (json!({"key_mode": 416}), "wrong type"),
            (json!({"key_mode": "0666"}), "everybody write"),
            (json!({"reload_command": "nginx -s reload"}), "wrong type"),
            (json!({"reload_command": []}), "empty"),
            (json!({"reload_command": ["nginx -s reload"]}), "blanks"),
            (json!({"command_timeout": "30"}), "span of time"),
            (json!({"command_timeout": "1h"}), "10m"),
            (json!({"backups": 101}), "backups"),
            (json!({"backups": -1}), "wrong type"),
            (json!({"observe": {"address": "x"}}), "host:port"),
            (json!({"observe": {"sleep": 1}}), "unknown field"),
            (json!({"cert_path": "/x"}), "unknown field"),
        ] {
            let mut config = minimal(kind);
            config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let error = TARGETS.build(kind, config).unwrap_err();
            assert!(error.to_string().contains(why), "{kind} {change}: {error}");
        }
        assert!(TARGETS.build(kind, minimal(kind)).is_ok());
    }
}

#[test]
fn each_kind_refuses_what_only_it_knows() {
    for (kind, config, why) in [
        ("NGINX", json!({}), "missing field"),
        ("NGINX", json!({"certificate_path": "/a", "key_path": "/b", "test_command": ["nginx", "-t"]}), "{config}"),
        ("HAProxy", json!({}), "missing field"),
        ("HAProxy", json!({"pem_path": "/a.pem", "test_command": ["haproxy", "-c"]}), "{config}"),
        ("HAProxy", json!({"pem_path": "/a.key"}), "takes no certificate"),
        ("HAProxy", json!({"pem_path": "/ssl/.a.pem"}), "takes no certificate"),
        ("HAProxy", json!({"pem_path": "/a.pem", "config_paths": []}), "1 to 32"),
        ("HAProxy", json!({"pem_path": "/a.pem", "reload_command": [], "runtime": {"enabled": false}}), "would not take up"),
        ("HAProxy", json!({"pem_path": "/a.pem", "reload_command": ["kill -USR2 1; reboot"]}), "blanks"),
        ("HAProxy", json!({"pem_path": "/a.pem", "runtime": {"address": "10.0.0.1:9999"}}), "in the clear"),
        ("HAProxy", json!({"pem_path": "/a.pem", "runtime": {"address": "admin.sock"}}), "neither"),
        ("HAProxy", json!({"pem_path": "/a.pem", "runtime": {"timeout": "2m"}}), "60s"),
        ("HAProxy", json!({"pem_path": "/a.pem", "pem_mode": 416}), "wrong type"),
        ("Files", json!({}), "do not go together"),
        ("Files", json!({"certificate_path": "/a"}), "do not go together"),
        ("Files", json!({"combined_path": "/a", "key_path": "/b"}), "do not go together"),
        ("Files", json!({"certificate_path": "/a", "key_path": "/b", "chain_path": "/a"}), "same file"),
        ("Apache", json!({}), "no target kind"),
    ] {
        let error = TARGETS.build(kind, config).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.advice().is_some(), "{error}");
    }
}

#[test]
fn commands_are_known_before_they_are_needed() {
    let target = TARGETS.build("NGINX", minimal("NGINX")).unwrap();
    let error = AllowList::parse("/etc/certctl/commands.toml".as_ref(), "").unwrap().require(&target.commands()).unwrap_err();
    assert!(
        error
            .advice()
            .unwrap()
            .ends_with("[[command]]\nargv = [\"nginx\", \"-t\", \"-c\", \"*\"]\n[[command]]\nargv = [\"nginx\", \"-s\", \"reload\"]")
    );
    let commands = TARGETS.build("haproxy", json!({"pem_path": "/a.pem"})).unwrap().commands();
    let shown: Vec<_> = commands.iter().map(|command| command.display()).collect();
    assert_eq!(shown, ["haproxy -c -f {config}", "systemctl reload haproxy"]);
    let elsewhere = json!({"certificate_path": "/a", "key_path": "/b", "config_path": "/opt/n.conf"});
    let commands = TARGETS.build("NGINX", elsewhere).unwrap().commands();
    assert_eq!(commands[1].display(), "nginx -s reload -c /opt/n.conf");
}

#[tokio::test]
async fn nothing_is_dialed_when_looking_is_off_and_absence_is_said() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let off = stage.files(json!({"observe": {"enabled": false, "address": address}}));
    let report = stage.deploy(&*off, &authority.issue("web.example.test")).await;
    assert!(report.succeeded() && report.warnings.iter().any(|w| w.contains("observe.enabled is false")), "{report:#?}");
    assert!(off.observe().await.is_err());
    // Whoever had dialed would wait in the listener's queue.
    let dialed = tokio::select! {
        biased;
        dialed = listener.accept() => Some(dialed),
        () = tokio::task::yield_now() => None,
    };
    assert!(dialed.is_none());
    let absent = stage.files(json!({}));
    let report = stage.deploy(&*absent, &authority.issue("web.example.test")).await;
    assert!(report.succeeded() && report.warnings.iter().any(|w| w.contains("observe.address is not set")), "{report:#?}");
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_rolled_back_in_time() {
    let (stage, authority) = (Stage::new(), Authority::new());
    let old = authority.issue("web.example.test");
    old.install(&stage.path("ssl/cert.pem"), &stage.path("ssl/key.pem"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let observe = json!({"observe": {"address": address, "timeout": "100ms", "attempts": 2}});
    let report = stage.deploy(&*stage.files(observe), &authority.issue("web.example.test")).await;
    let failure = report.failure().unwrap();
    assert!(failure.reason.contains("no answer within 100ms"), "{failure:?}");
    assert_eq!(stage.installed().fingerprint(), old.fingerprint());
}

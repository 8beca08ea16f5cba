//! The main job: requested, deployed, proved, renewed, the old version revoked, and all of it told.

use certctl_testkit::both_databases;

use crate::harness::{Openssl, Site, World, verified};

both_databases! {
    async fn a_certificate_lives_its_whole_life_on_nginx(world: World) {
        let name = "web.example.test";
        let site = Site::open(&world, name).await;
        let World { cli, home, .. } = &world;
        let placeholder = site.nginx.placed(name).await;
        let authority = home.write("ca.pem", cli.run(&["issuers", "ca", "iss-local"]).await.ok());

        let requested = cli.run(&["certs", "request", "--name", "web", "--san", name, "--target", "web", "--wait"]).await.ends(0);
        for word in ["stage", "check", "swap", "reload", "observe"] {
            assert!(requested.stderr.contains(word), "`{word}` is no step of: {}", requested.stderr);
        }
        let first = cli.current_version("web").await;
        let fingerprint = first["fingerprint_sha256"].as_str().unwrap();
        assert_ne!(fingerprint, placeholder);
        assert!(requested.stdout.contains(fingerprint) && requested.stdout.contains("seen by agent and server"), "{}", requested.stdout);
        assert_eq!(verified(home, site.nginx.port, name, &authority).await.unwrap().fingerprint, fingerprint);
        verified(home, site.nginx.port, "other.example.test", &authority).await.unwrap_err();

        let renewed = cli.run(&["certs", "renew", "web", "--wait"]).await.ok();
        let second = cli.current_version("web").await;
        let fingerprint = second["fingerprint_sha256"].as_str().unwrap();
        assert!(second["id"] != first["id"] && renewed.contains(fingerprint), "{renewed}");
        site.nginx.serves(name, fingerprint).await;
        verified(home, site.nginx.port, name, &authority).await.unwrap();

        let serial = first["serial_number"].as_str().unwrap();
        cli.run(&["certs", "revoke", "web", "--serial", serial, "--reason", "superseded", "--yes"]).await.ok();
        let versions = cli.json(&["certs", "versions", "web"]).await;
        assert_eq!(versions["total"], 2);
        for version in versions["data"].as_array().unwrap() {
            assert_eq!(version["revoked_at"].is_string(), version["serial_number"] == serial, "{version}");
        }
        assert_eq!(cli.json(&["certs", "get", "web"]).await["status"], "Active");

        let explained = cli.run(&["certs", "explain", "web"]).await.ok();
        for words in ["web is Active", "is valid until", "next:", second["serial_number"].as_str().unwrap()] {
            assert!(explained.contains(words), "`{words}` is not in: {explained}");
        }
        let verification = cli.json(&["audit", "verify"]).await;
        assert_eq!((&verification["intact"], &verification["broken"]), (&true.into(), &serde_json::Value::Null), "{verification}");
        assert!(verification["checked"].as_i64().unwrap() > 10, "{verification}");

        // What is stored is what openssl accepts, with the CA alone as anchor.
        let openssl = Openssl::new(home);
        openssl.put("full.pem", cli.run(&["certs", "export", "web"]).await.ok());
        let path = authority.to_str().unwrap();
        openssl
            .run(&format!("verify -x509_strict -purpose sslserver -verify_hostname {name} -CAfile {path} -untrusted full.pem full.pem"))
            .await;
        let (password, file) = (home.write("password", "correct horse\n"), home.join("web.p12"));
        let (password, file) = (password.to_str().unwrap(), file.to_str().unwrap());
        cli.run(&["certs", "export", "web", "--pkcs12", "--password-file", password, "--out", file]).await.ok();
        let read = openssl.run(&format!("pkcs12 -in {file} -passin file:{password}")).await;
        assert_eq!(read.matches("BEGIN CERTIFICATE").count(), 2, "{read}");
        assert!(!read.contains("PRIVATE KEY"), "{read}");
    }

    async fn the_key_never_leaves_the_agent_and_is_for_its_owner_alone(world: World) {
        use crate::harness::{mode_of, names_in, read};
        let site = Site::open(&world, "web.example.test").await;
        world.cli.run(&["certs", "request", "--name", "web", "--san", "web.example.test", "--target", "web", "--wait"]).await.ok();
        let keys = site.agent.state.join("keys");
        let certificate = keys.join(names_in(&keys).first().unwrap());
        let key = certificate.join(names_in(&certificate).into_iter().find(|name| name.ends_with(".key")).unwrap());
        assert_eq!((mode_of(&keys), mode_of(&certificate), mode_of(&key)), (0o700, 0o700, 0o600));
        assert_eq!(read(&site.nginx.key("web.example.test")), read(&key), "what nginx was given is the agent's own key");
        let secret = read(&key).lines().nth(1).unwrap().to_owned();
        world.home.plant(&secret);
        for path in ["certificates?per_page=500", "jobs?per_page=500", "audit?per_page=500", "targets", "agents"] {
            let answer = world.api.get(&format!("/api/v1/{path}")).await.is(200);
            assert!(!answer.text.contains(&secret) && !answer.text.contains("PRIVATE KEY"), "{path}");
        }
    }
}

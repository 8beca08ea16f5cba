//! Debian packages: judged by lintian, put below a folder by dpkg, upgraded and removed; and the units in them by systemd itself.

use certctl_testkit::require_program;

use super::Release;
use crate::harness::{Home, command, in_repository, read, run, write};

#[tokio::test]
async fn packages_go_on_a_machine_and_off_it() {
    let made = Release::made().await;
    let home = Home::new();
    let root = home.join("root");
    for folder in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "etc"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    write(&root.join("var/lib/dpkg/status"), "");
    let debs = NAMES.map(|name| made.file(&format!("{name}_VERSION_ARCH.deb")));
    // What they depend on is on this machine and not below the folder.
    let words = ["--force-not-root", "--force-script-chrootless", "--force-depends", "--force-confold"];
    let dpkg = async |more: &[&str]| {
        let mut dpkg = command(&home, require_program("dpkg"));
        run(dpkg.arg(format!("--root={}", root.display())).args(words).args(more)).await
    };
    let paths = debs.each_ref().map(|deb| deb.to_str().unwrap());
    dpkg(&[&["--install"], &paths[..]].concat()).await.ok();
    for program in ["certctl-server", "certctl-agent", "certctl"] {
        let told = run(command(&home, root.join("usr/bin").join(program)).arg("--version")).await.ok();
        assert_eq!(told.trim(), format!("{program} {}", env!("CARGO_PKG_VERSION")));
    }
    assert!(read(&root.join("etc/passwd")).lines().any(|line| line.starts_with("certctl-agent:")), "the agent's user is made");

    // Settings as shipped are taken, and changed ones are kept by an upgrade.
    let settings = root.join("etc/certctl/server.toml");
    let server = root.join("usr/bin/certctl-server");
    let data = home.join("data");
    let mut check = command(&home, &server);
    run(check.args(["config", "check", "--config"]).arg(&settings).arg("--data-dir").arg(&data)).await.ok();
    write(&settings, "[log]\nlevel = \"debug\"\n");
    dpkg(&["--install", paths[0], paths[1]]).await.ok();
    assert!(read(&settings).contains("debug"));

    // systemd takes the units where they were put, and they are as tight as the guide says.
    // What they stand on is this machine's.
    let copy = format!("cp -r /lib/systemd/system/. {0}/usr/lib/systemd/system && mkdir {0}/bin && cp /bin/kill {0}/bin", root.display());
    run(command(&home, require_program("sh")).args(["-ec", &copy])).await.ok();
    for unit in UNITS {
        let mut verify = command(&home, require_program("systemd-analyze"));
        let said = run(verify.args(["verify", "--man=no", &format!("--root={}", root.display()), unit])).await.ends(0).stderr;
        // A key that is not known is a warning to systemd; for us it is a protection that is not there.
        assert!(!said.contains("certctl"), "{said}");
    }

    std::fs::create_dir_all(root.join("var/lib/certctl-agent")).unwrap();
    dpkg(&["--remove", "certctl-server", "certctl-agent", "certctl"]).await.ok();
    assert!(!server.exists() && settings.exists());
    let said = dpkg(&["--purge", "certctl-server", "certctl-agent", "certctl"]).await;
    assert!(said.stderr.contains("keys are kept in /var/lib/certctl-agent"), "{}", said.stderr);
    said.ok();
    assert!(!settings.exists() && root.join("var/lib/certctl-agent").exists(), "settings go, keys stay");
}

#[tokio::test]
async fn lintian_has_nothing_to_say() {
    let made = Release::made().await;
    let home = Home::new();
    let mut lintian = command(&home, require_program("lintian"));
    lintian.args(["--fail-on", "error,warning", "--allow-root"]).args(NAMES.map(|name| made.file(&format!("{name}_VERSION_ARCH.deb"))));
    let ran = run(&mut lintian).await;
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

/// The figures stand in the guide, so that nobody loosens a unit unseen. Each release of systemd counts a little differently: the figure is the
/// most that any that we know gives.
#[tokio::test]
async fn units_are_as_tight_as_the_guide_says() {
    let home = Home::new();
    let guide = read(&in_repository("docs/operator/install-systemd.md"));
    for unit in UNITS.iter().filter(|unit| unit.ends_with(".service")) {
        let row = guide.lines().find(|line| line.starts_with(&format!("| `{unit}` |"))).unwrap_or_else(|| panic!("no row for {unit}"));
        let score = row.split('|').nth(2).unwrap().trim();
        let tenfold: u32 = score.replace('.', "").parse().unwrap();
        let judge = async |threshold: u32| {
            let mut analyze = command(&home, require_program("systemd-analyze"));
            analyze.args(["security", "--offline=yes", "--no-pager", &format!("--threshold={threshold}")]);
            run(analyze.arg(in_repository("deploy/systemd").join(unit).canonicalize().unwrap())).await.code
        };
        assert_eq!(judge(tenfold).await, Some(0), "{unit} is looser than {score}");
        assert_ne!(judge(tenfold / 2).await, Some(0), "{unit}: a threshold that nothing misses");
    }
}

const NAMES: [&str; 3] = ["certctl-server", "certctl-agent", "certctl"];
const UNITS: [&str; 4] = ["certctl-server.service", "certctl-backup.service", "certctl-backup.timer", "certctl-agent.service"];

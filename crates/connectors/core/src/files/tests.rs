use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

fn keep() -> Attributes {
    Attributes::keep_or(FileMode::PRIVATE)
}

fn scene() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let real = directory.path().canonicalize().unwrap();
    (directory, real)
}

fn entries(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// An owner that the test may give files to: another one for root, itself for anybody else.
fn some_owner() -> (u32, u32) {
    if nix::unistd::geteuid().is_root() { (65534, 33) } else { (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()) }
}

#[test]
fn a_new_file_has_the_default_mode() {
    let (_guard, root) = scene();
    let path = root.join("key.pem");
    assert_eq!(write_atomic(&path, b"new", &keep()).unwrap(), path);
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(entries(&root), ["key.pem"]);
}

#[test]
fn owner_group_mode_and_labels_of_the_old_file_are_kept() {
    let (_guard, root) = scene();
    let path = root.join("key.pem");
    fs::write(&path, "old").unwrap();
    let (uid, gid) = some_owner();
    std::os::unix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    // A user attribute everywhere; the label itself where the test may set it.
    let mut labels = vec!["user.certctl"];
    xattr::set(&path, "user.certctl", b"kept").unwrap();
    if xattr::set(&path, "security.selinux", b"system_u:object_r:cert_t:s0").is_ok() {
        labels.push("security.selinux");
    }
    let before: Vec<_> = labels.iter().map(|l| xattr::get(&path, l).unwrap()).collect();

    write_atomic(&path, b"new", &keep()).unwrap();

    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.permissions().mode() & 0o7777), (uid, gid, 0o640));
    assert_eq!(labels.iter().map(|l| xattr::get(&path, l).unwrap()).collect::<Vec<_>>(), before);
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

#[test]
fn a_wished_mode_and_owner_win() {
    let (_guard, root) = scene();
    let path = root.join("cert.pem");
    fs::write(&path, "old").unwrap();
    let (uid, gid) = some_owner();
    let wish = Attributes {
        mode: Some(FileMode::PUBLIC),
        owner: Some(uid.to_string()),
        group: Some(gid.to_string()),
        default_mode: FileMode::PRIVATE,
    };
    write_atomic(&path, b"new", &wish).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.permissions().mode() & 0o7777), (uid, gid, 0o644));
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let (_guard, root) = scene();
    fs::create_dir_all(root.join("archive")).unwrap();
    fs::create_dir_all(root.join("live")).unwrap();
    fs::write(root.join("archive/cert3.pem"), "old").unwrap();
    let link = root.join("live/cert.pem");
    symlink("../archive/cert3.pem", &link).unwrap();
    assert_eq!(write_atomic(&link, b"new", &keep()).unwrap(), root.join("archive/cert3.pem"));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(root.join("archive/cert3.pem")).unwrap(), b"new");
    assert_eq!(entries(&root.join("archive")), ["cert3.pem"]);

    symlink("nowhere", root.join("live/dangling.pem")).unwrap();
    let error = write_atomic(&root.join("live/dangling.pem"), b"new", &keep()).unwrap_err();
    assert!(error.to_string().contains("leads nowhere"), "{error}");
}

#[test]
fn a_directory_that_is_a_link_is_refused_with_the_real_path() {
    let (_guard, root) = scene();
    fs::create_dir_all(root.join("real/sub")).unwrap();
    symlink(root.join("real"), root.join("link")).unwrap();
    for (path, real) in [("link/cert.pem", "real"), ("link/sub/cert.pem", "real/sub")] {
        let error = write_atomic(&root.join(path), b"new", &keep()).unwrap_err();
        assert!(error.to_string().contains("is a symbolic link"), "{error}");
        assert!(error.advice().unwrap().contains(root.join(real).to_str().unwrap()), "{error:?}");
    }
    assert_eq!(entries(&root.join("real")), ["sub"]);
}

#[test]
fn what_is_not_a_small_regular_file_is_refused() {
    let (_guard, root) = scene();
    fs::create_dir(root.join("directory")).unwrap();
    fs::File::create(root.join("huge")).unwrap().set_len(MAX_FILE + 1).unwrap();
    fs::write(root.join("file"), "").unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, why) in [
        ("directory", "not a regular file"),
        ("pipe", "not a regular file"),
        ("huge", "larger than 1 MiB"),
        ("missing/cert.pem", "does not exist"),
        ("file/cert.pem", "not a directory"),
        ("directory/../cert.pem", "`..`"),
    ] {
        let error = write_atomic(&root.join(path), b"new", &keep()).unwrap_err();
        assert!(error.to_string().contains(why), "{path}: {error}");
    }
    assert!(write_atomic(Path::new("cert.pem"), b"new", &keep()).is_err());
    assert!(write_atomic(Path::new("/"), b"new", &keep()).is_err());
    assert_eq!(entries(&root), ["directory", "file", "huge", "pipe"]);
}

#[test]
fn a_missing_owner_changes_nothing() {
    let (_guard, root) = scene();
    let path = root.join("cert.pem");
    fs::write(&path, "old").unwrap();
    let wish = Attributes { owner: Some("no-such-user".into()), ..keep() };
    assert!(write_atomic(&path, b"new", &wish).unwrap_err().to_string().contains("no-such-user"));
    assert_eq!((fs::read(&path).unwrap().as_slice(), entries(&root)), (&b"old"[..], vec!["cert.pem".to_owned()]));
}

#[test]
fn a_reader_sees_the_old_content_or_the_new() {
    let (_guard, root) = scene();
    let path = root.join("cert.pem");
    let contents = ["a".repeat(200_000), "b".repeat(200_000)];
    fs::write(&path, &contents[0]).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                let text = fs::read_to_string(&path).unwrap();
                assert!(contents.contains(&text), "a torn file of {} bytes", text.len());
                seen += 1;
            }
            seen
        });
        for round in 0..100 {
            write_atomic(&path, contents[round % 2].as_bytes(), &keep()).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        assert!(reader.join().unwrap() > 0);
    });
}

/// Runs a test again as a child in mount and user name spaces of its own, where it may mount what it likes and leaves no trace.
fn in_own_mounts(test: &str) -> bool {
    const MARK: &str = "CERTCTL_TEST_OWN_MOUNTS";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    // The child cannot remove what it mounted upon; when it has ended, we can.
    let scratch = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(MARK, "1")
        .env("TMPDIR", scratch.path())
        .output()
        .expect("unshare (package util-linux) must be installed");
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&status.stderr));
    false
}

fn mount(args: &[&str], at: &Path) {
    let output = std::process::Command::new("mount").args(args).arg(at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_full_disk_leaves_the_old_file() {
    if !in_own_mounts("files::tests::a_full_disk_leaves_the_old_file") {
        return;
    }
    let (_guard, root) = scene();
    mount(&["-t", "tmpfs", "-o", "size=64k", "tmpfs"], &root);
    let path = root.join("cert.pem");
    fs::write(&path, "old").unwrap();
    let error = write_atomic(&path, &vec![b'x'; 200_000], &keep()).unwrap_err();
    assert!(error.to_string().contains("disk is full") && error.retry() == crate::Retry::Transient, "{error}");
    assert!(error.advice().unwrap().contains("df "));
    assert_eq!((fs::read(&path).unwrap().as_slice(), entries(&root)), (&b"old"[..], vec!["cert.pem".to_owned()]));
}

#[test]
fn a_read_only_directory_leaves_the_old_file() {
    if !in_own_mounts("files::tests::a_read_only_directory_leaves_the_old_file") {
        return;
    }
    let (_guard, root) = scene();
    let path = root.join("cert.pem");
    fs::write(&path, "old").unwrap();
    mount(&["--bind", root.to_str().unwrap()], &root);
    mount(&["-o", "remount,bind,ro"], &root);
    let error = write_atomic(&path, b"new", &keep()).unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    assert_eq!((fs::read(&path).unwrap().as_slice(), entries(&root)), (&b"old"[..], vec!["cert.pem".to_owned()]));
}

#[test]
fn a_file_that_is_a_mount_point_is_explained() {
    if !in_own_mounts("files::tests::a_file_that_is_a_mount_point_is_explained") {
        return;
    }
    let (_guard, root) = scene();
    let (path, other) = (root.join("cert.pem"), root.join("other.pem"));
    fs::write(&path, "old").unwrap();
    fs::write(&other, "mounted").unwrap();
    mount(&["--bind", other.to_str().unwrap()], &path);
    let error = write_atomic(&path, b"new", &keep()).unwrap_err();
    assert!(error.advice().unwrap().contains("mount the directory"), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), b"mounted");
}

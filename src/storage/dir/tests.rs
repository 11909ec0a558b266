//! Who may use which directory.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("folder")
}

fn write(folder: &tempfile::TempDir, name: &str, content: &str) {
    std::fs::write(folder.path().join(name), content).expect("write");
}

#[test]
fn a_new_directory_is_private_and_keeps_its_identity() {
    let folder = folder();
    let path = folder.path().join("a/b");
    let first = DataDir::open(&path).expect("new");
    assert_ne!(first.node_id(), 0);
    let mode = path.metadata().expect("metadata").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let node_id = first.node_id();
    drop(first);
    assert_eq!(DataDir::open(&path).expect("again").node_id(), node_id);
    let other = DataDir::open(&folder.path().join("c")).expect("other");
    assert_ne!(other.node_id(), node_id);
}

#[test]
fn a_directory_has_one_user() {
    let folder = folder();
    let held = DataDir::open(folder.path()).expect("first");
    let second = DataDir::open(folder.path()).expect_err("second");
    assert!(matches!(second, DirError::InUse { .. }), "{second}");
    drop(held);
    DataDir::open(folder.path()).expect("after it");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = folder();
    write(&folder, "letter.txt", "");
    let refused = DataDir::open(folder.path()).expect_err("foreign");
    assert!(
        matches!(refused, DirError::NotADataDirectory { .. }),
        "{refused}"
    );
    let file = folder.path().join("letter.txt");
    assert!(matches!(DataDir::open(&file), Err(DirError::Io { .. })));
}

#[test]
fn an_interrupted_first_use_is_begun_again() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("lost+found")).expect("folder");
    write(&folder, "VERSION.tmp", "kes");
    write(&folder, "LOCK", "");
    drop(DataDir::open(folder.path()).expect("begun again"));
    std::fs::remove_file(folder.path().join(IDENTITY)).expect("remove");
    DataDir::open(folder.path()).expect("identity drawn again: there are no data");
}

#[test]
fn data_without_identity_are_refused() {
    for data in [DATABASE, SNAPSHOTS, WITNESS] {
        let folder = folder();
        drop(DataDir::open(folder.path()).expect("new"));
        std::fs::create_dir(folder.path().join(data)).expect("data");
        std::fs::remove_file(folder.path().join(IDENTITY)).expect("remove");
        let refused = DataDir::open(folder.path()).expect_err("no identity");
        assert!(matches!(refused, DirError::IdentityMissing { .. }));
        let text = refused.to_string();
        assert!(text.contains("node.json") && text.contains("move the data directory away"));
    }
}

#[test]
fn damaged_identities_and_other_versions_are_refused() {
    let folder = folder();
    drop(DataDir::open(folder.path()).expect("new"));
    let good = std::fs::read_to_string(folder.path().join(IDENTITY)).expect("read");
    for damaged in [
        "",
        "{",
        "{\"format\":1}",
        "{\"format\":2,\"node_id\":\"0000000000000001\"}",
        "{\"format\":1,\"node_id\":\"0000000000000000\"}",
        "{\"format\":1,\"node_id\":\"+000000000000001\"}",
        "{\"format\":1,\"node_id\":\"1\"}",
    ] {
        write(&folder, IDENTITY, damaged);
        let refused = DataDir::open(folder.path()).expect_err(damaged);
        assert!(
            matches!(refused, DirError::IdentityDamaged { .. }),
            "{refused}"
        );
    }
    write(&folder, IDENTITY, &good);
    write(&folder, VERSION, "keswick data 2\n");
    let refused = DataDir::open(folder.path()).expect_err("newer");
    assert!(
        matches!(refused, DirError::UnknownVersion { .. }),
        "{refused}"
    );
    write(&folder, VERSION, VERSION_TEXT);
    DataDir::open(folder.path()).expect("good again");
}

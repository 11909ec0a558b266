//! Tests of directories of keys: crash left-overs, foreign files, permissions.

use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use tempfile::TempDir;

use super::stale::TEMPORARY_AGE_MAX;
use super::*;

fn directory() -> (TempDir, Directory) {
    let root = tempfile::tempdir().expect("a directory");
    let directory = Directory::open(&root.path().join("keys"), "fs").expect("a store");
    (root, directory)
}

fn names(directory: &Directory) -> Vec<String> {
    directory.list("", None, usize::MAX).expect("a page").names
}

fn files(directory: &Directory) -> usize {
    std::fs::read_dir(&directory.path).expect("entries").count()
}

fn is_unreachable<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unreachable { .. }))
}

#[test]
fn a_key_is_a_private_file_with_nothing_but_the_value() {
    let (_root, directory) = directory();
    directory.create("key", b"value").expect("created");
    let path = directory.path.join("key");
    assert_eq!(std::fs::read(&path).expect("a file"), b"value");
    let mode = std::fs::metadata(&path).expect("a file").mode();
    assert_eq!(mode & 0o7777, 0o600);
    assert_eq!(files(&directory), 1, "no temporary file is left");
}

#[test]
fn an_existing_key_stays_as_it_is() {
    let (_root, directory) = directory();
    directory.create("key", b"first").expect("created");
    for _ in 0..2 {
        let again = directory.create("key", b"second");
        assert!(matches!(again, Err(StoreError::Exists)));
    }
    let in_place = directory.create_in_place("key", b"third");
    assert!(matches!(in_place, Err(StoreError::Exists)));
    assert_eq!(directory.get("key").expect("a key").expose(), b"first");
    assert_eq!(files(&directory), 1);
}

#[test]
fn a_key_can_be_created_without_hard_links() {
    let (_root, directory) = directory();
    directory.create_in_place("key", b"value").expect("created");
    assert_eq!(directory.get("key").expect("a key").expose(), b"value");
    for errno in [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS] {
        assert!(is_link_unsupported(errno));
    }
    for errno in [Errno::MFILE, Errno::NOSPC, Errno::EXIST, Errno::IO] {
        assert!(!is_link_unsupported(errno));
    }
}

#[test]
fn clean_up_removes_only_the_file_that_was_created() {
    let (_root, directory) = directory();
    let path = directory.path.join("key");
    let ours = File::create(&path).expect("a file");
    std::fs::remove_file(&path).expect("removed");
    let other = directory.path.join("other");
    std::fs::write(&other, b"other").expect("a file");
    std::fs::rename(&other, &path).expect("renamed");
    directory.remove_if_same("key", &ours);
    assert_eq!(std::fs::read(&path).expect("still there"), b"other");
    let theirs = File::open(&path).expect("a file");
    directory.remove_if_same("key", &theirs);
    assert!(!path.exists());
}

#[test]
fn what_is_not_a_key_is_neither_listed_nor_served() {
    let (_root, directory) = directory();
    directory.create("key", b"value").expect("created");
    let temporary = directory.temporary_name().expect("a name");
    for foreign in [temporary.as_str(), ".hidden", "README.md", "-x", "a b"] {
        std::fs::write(directory.path.join(foreign), b"foreign").expect("a file");
    }
    std::fs::create_dir(directory.path.join("folder")).expect("a directory");
    assert_eq!(names(&directory), ["key"]);
    for name in [temporary.as_str(), "README.md", "", "a/b", "..", "a\\b"] {
        for result in [
            directory.get(name).map(drop),
            directory.create(name, b"x"),
            directory.delete(name),
        ] {
            let error = result.expect_err(name);
            assert_eq!(error.to_string(), "fs: key name contains invalid character");
        }
    }
}

#[test]
fn a_temporary_file_of_a_dead_process_is_removed_at_open() {
    let (_root, directory) = directory();
    let stale = directory
        .path
        .join(directory.temporary_name().expect("a name"));
    let fresh = directory
        .path
        .join(directory.temporary_name().expect("a name"));
    let foreign = directory.path.join(".tmp-backup");
    let old = SystemTime::now() - TEMPORARY_AGE_MAX - Duration::from_secs(1);
    for path in [&stale, &foreign] {
        let file = File::create(path).expect("a file");
        file.set_modified(old).expect("modified");
    }
    File::create(&fresh).expect("a file");
    Directory::open(&directory.path, "fs").expect("a store");
    assert!(!stale.exists());
    assert!(fresh.exists());
    assert!(foreign.exists());
}

#[test]
fn a_large_file_is_an_error_and_not_cut_short() {
    let (_root, directory) = directory();
    let at_limit = vec![1; STORED_VALUE_BYTES_MAX];
    directory.create("at-limit", &at_limit).expect("created");
    assert!(directory.get("at-limit").expect("a key").expose() == at_limit);
    let above = vec![1; STORED_VALUE_BYTES_MAX + 1];
    let refused = directory.create("above", &above);
    assert!(matches!(refused, Err(StoreError::Failed { .. })));
    std::fs::write(directory.path.join("above"), &above).expect("a file");
    let read = directory.get("above");
    assert!(matches!(read, Err(StoreError::Failed { .. })));
}

#[test]
fn what_is_not_a_file_is_an_error_and_not_an_absent_key() {
    let (_root, directory) = directory();
    std::fs::create_dir(directory.path.join("folder")).expect("a directory");
    let pipe = directory.path.join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .expect("a pipe");
    for name in ["folder", "pipe"] {
        let read = directory.get(name);
        assert!(matches!(read, Err(StoreError::Failed { .. })), "{name}");
        let created = directory.create(name, b"x");
        assert!(matches!(created, Err(StoreError::Exists)), "{name}");
    }
    let deleted = directory.delete("folder");
    assert!(matches!(deleted, Err(StoreError::Failed { .. })));
}

#[test]
fn a_linked_file_is_a_key() {
    let (root, directory) = directory();
    let target = root.path().join("mounted");
    std::fs::write(&target, b"value").expect("a file");
    std::os::unix::fs::symlink(&target, directory.path.join("key")).expect("a link");
    assert_eq!(names(&directory), ["key"]);
    assert_eq!(directory.get("key").expect("a key").expose(), b"value");
}

#[test]
fn nothing_is_absent_while_the_directory_is() {
    let (root, directory) = directory();
    directory.create("key", b"value").expect("created");
    assert!(matches!(directory.get("none"), Err(StoreError::NotFound)));
    assert!(matches!(
        directory.delete("none"),
        Err(StoreError::NotFound)
    ));
    let aside = root.path().join("aside");
    std::fs::rename(&directory.path, &aside).expect("renamed");
    assert!(is_unreachable(directory.get("none")));
    assert!(is_unreachable(directory.get("key")));
    assert!(is_unreachable(directory.delete("key")));
    assert!(is_unreachable(directory.create("new", b"x")));
    assert!(is_unreachable(directory.list("", None, 1)));
    assert!(is_unreachable(directory.status()));
    std::fs::write(&directory.path, b"a file in its place").expect("a file");
    assert!(is_unreachable(directory.status()));
    std::fs::remove_file(&directory.path).expect("removed");
    std::fs::rename(&aside, &directory.path).expect("renamed");
    assert_eq!(directory.get("key").expect("a key").expose(), b"value");
    directory.status().expect("up");
}

/// Moves the directory away and makes an empty one in its place, as an unmounted volume leaves one.
fn replace(root: &TempDir, directory: &Directory) -> PathBuf {
    let aside = root.path().join("aside");
    std::fs::rename(&directory.path, &aside).expect("renamed");
    std::fs::create_dir(&directory.path).expect("a directory");
    aside
}

#[test]
fn another_directory_in_its_place_is_not_an_empty_store() {
    let (root, directory) = directory();
    directory.create("key", b"value").expect("created");
    let aside = replace(&root, &directory);
    for _ in 0..2 {
        assert!(is_unreachable(directory.get("none")));
        assert!(is_unreachable(directory.get("key")));
        assert!(is_unreachable(directory.delete("none")));
        assert!(is_unreachable(directory.delete("key")));
        assert!(is_unreachable(directory.create("new", b"x")));
        assert!(is_unreachable(directory.create("key", b"x")));
        assert!(is_unreachable(directory.list("", None, 1)));
        let error = directory.status().expect_err("unreachable").to_string();
        assert!(error.ends_with("is its volume mounted?"), "{error}");
        assert_eq!(std::fs::read(aside.join("key")).expect("kept"), b"value");
        assert!(!aside.join("new").exists());
        // The second time, with a key of that name in it.
        if !directory.path.join("key").exists() {
            assert_eq!(files(&directory), 0);
            std::fs::write(directory.path.join("key"), b"other").expect("a file");
        }
    }
    assert_eq!(files(&directory), 1);
    let reopened = Directory::open(&directory.path, "fs").expect("a store");
    assert_eq!(reopened.get("key").expect("a key").expose(), b"other");
    std::fs::remove_dir_all(&directory.path).expect("removed");
    std::fs::rename(&aside, &directory.path).expect("renamed");
    assert_eq!(directory.get("key").expect("a key").expose(), b"value");
    assert!(is_unreachable(reopened.status()));
}

#[test]
fn a_directory_replaced_during_an_operation_gives_no_answer() {
    let (root, directory) = directory();
    let mut aside = PathBuf::new();
    let absent = directory.checked(|| {
        aside = replace(&root, &directory);
        directory.read("none")
    });
    assert!(is_unreachable(absent));
    std::fs::remove_dir(&directory.path).expect("still empty");
    std::fs::rename(&aside, &directory.path).expect("renamed");
    let created = directory.checked(|| {
        replace(&root, &directory);
        directory.link_new("key", b"value")
    });
    assert!(is_unreachable(created));
    assert_eq!(files(&directory), 0, "nothing is written elsewhere");
    assert_eq!(std::fs::read(aside.join("key")).expect("a key"), b"value");
}

/// From now on no sync of the directory succeeds: its descriptor is one that cannot be synced.
fn break_syncs(directory: &mut Directory) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&directory.path, flags, Mode::empty());
    directory.opened = File::from(opened.expect("a directory"));
}

/// A second link of the file `key`, as it has one until it is durable.
fn mark(directory: &Directory) -> PathBuf {
    let temporary = directory.temporary_name().expect("a name");
    let temporary = directory.path.join(temporary);
    std::fs::hard_link(directory.path.join("key"), &temporary).expect("linked");
    temporary
}

#[test]
fn a_reader_syncs_what_may_not_be_durable_and_nothing_else() {
    let (_root, directory) = directory();
    directory.create("key", b"value").expect("created");
    assert_eq!(directory.syncs.completed(), 1);
    let get = || directory.get("key").expect("a key").expose().to_vec();
    assert_eq!(get(), b"value");
    assert!(matches!(directory.get("none"), Err(StoreError::NotFound)));
    assert_eq!(directory.syncs.completed(), 1, "reads are not synced");
    // Its creator has linked it and does not have an answer yet.
    let temporary = mark(&directory);
    assert_eq!(get(), b"value");
    assert_eq!(directory.syncs.completed(), 2);
    std::fs::remove_file(temporary).expect("removed");
    assert_eq!(get(), b"value");
    assert_eq!(directory.syncs.completed(), 2);
    // A delete is under way.
    directory.deletes.fetch_add(1, Ordering::SeqCst);
    assert!(matches!(directory.get("none"), Err(StoreError::NotFound)));
    assert_eq!(directory.syncs.completed(), 3);
    assert_eq!(get(), b"value");
    assert_eq!(directory.syncs.completed(), 3, "others do not wait for it");
}

#[test]
fn what_a_second_create_or_delete_is_told_is_durable() {
    let (_root, directory) = directory();
    std::fs::write(directory.path.join("key"), b"value").expect("a file");
    let created = directory.create("key", b"other");
    assert!(matches!(created, Err(StoreError::Exists)));
    assert_eq!(directory.syncs.completed(), 1);
    let created = directory.create_in_place("key", b"other");
    assert!(matches!(created, Err(StoreError::Exists)));
    assert_eq!(directory.syncs.completed(), 2);
    let deleted = directory.delete("none");
    assert!(matches!(deleted, Err(StoreError::NotFound)));
    assert_eq!(directory.syncs.completed(), 3);
}

#[test]
fn nothing_is_answered_that_cannot_be_made_durable() {
    type Operation = fn(&Directory) -> Result<(), StoreError>;
    let operations: [(&str, Operation); 5] = [
        ("a reader of a new key", |it| {
            mark(it);
            it.get("key").map(drop)
        }),
        ("a second creator", |it| it.create("key", b"x")),
        ("a second deleter", |it| it.delete("none")),
        ("a creator without hard links", |it| {
            it.create_in_place("new", b"x")
        }),
        ("a reader of a deleted key", |it| {
            it.deletes.fetch_add(1, Ordering::SeqCst);
            it.get("none").map(drop)
        }),
    ];
    for (who, operation) in operations {
        let (_root, mut directory) = directory();
        directory.create("key", b"value").expect("created");
        break_syncs(&mut directory);
        assert_eq!(
            directory.get("key").expect("a key").expose(),
            b"value",
            "{who}"
        );
        assert!(is_unreachable(operation(&directory)), "{who}");
        assert!(is_unreachable(directory.get("key")), "{who}");
    }
}

#[test]
fn after_a_failed_sync_nothing_is_answered_until_the_store_is_opened_again() {
    let (_root, mut directory) = directory();
    directory.create("old", b"value").expect("created");
    break_syncs(&mut directory);
    let error = directory.create("key", b"value").expect_err("not durable");
    assert!(matches!(error, StoreError::Unreachable { .. }));
    assert!(error.to_string().contains("failed to sync directory"));
    // Whole, and marked as not durable.
    let path = directory.path.join("key");
    assert_eq!(std::fs::read(&path).expect("a file"), b"value");
    assert_eq!(std::fs::metadata(&path).expect("a file").nlink(), 2);
    // The next one would succeed, and say nothing about what the failed one lost.
    directory.opened = File::open(&directory.path).expect("a directory");
    for name in ["key", "old", "none"] {
        assert!(is_unreachable(directory.get(name)), "{name}");
        assert!(is_unreachable(directory.create(name, b"x")), "{name}");
        assert!(is_unreachable(directory.delete(name)), "{name}");
    }
    assert!(is_unreachable(directory.list("", None, 1)));
    assert!(is_unreachable(directory.status()));
    assert_eq!(files(&directory), 3, "nothing was changed meanwhile");
    let reopened = Directory::open(&directory.path, "fs").expect("a store");
    assert_eq!(names(&reopened), ["key", "old"]);
    assert_eq!(reopened.get("key").expect("a key").expose(), b"value");
    assert_eq!(reopened.syncs.completed(), 1, "it is still marked");
}

#[test]
fn a_failed_delete_is_not_told_as_done() {
    let (_root, mut directory) = directory();
    directory.create("key", b"value").expect("created");
    break_syncs(&mut directory);
    assert!(is_unreachable(directory.delete("key")));
    assert!(is_unreachable(directory.get("key")), "not certainly absent");
    assert_eq!(directory.deletes.load(Ordering::SeqCst), 0);
}

#[test]
fn without_syncs_there_are_reads_but_no_changes() {
    let (_root, mut directory) = directory();
    directory.create("key", b"value").expect("created");
    mark(&directory);
    break_syncs(&mut directory);
    directory.is_syncable = false;
    for refused in [directory.create("new", b"x"), directory.delete("key")] {
        let error = refused.expect_err("refused").to_string();
        assert!(error.ends_with("no change is durable"), "{error}");
    }
    assert_eq!(directory.get("key").expect("a key").expose(), b"value");
    assert_eq!(files(&directory), 2, "nothing was written");
}

#[test]
fn a_key_that_is_created_without_hard_links_is_not_read_half_written() {
    let (_root, directory) = directory();
    let alone = directory.in_place.write().expect("not poisoned");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| directory.get("key"));
        let path = directory.path.join("key");
        std::fs::write(&path, b"val").expect("a file");
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        assert!(!reader.is_finished());
        std::fs::write(&path, b"value").expect("a file");
        drop(alone);
        let read = reader.join().expect("no panic");
        assert_eq!(read.expect("a key").expose(), b"value");
    });
}

#[test]
fn opening_creates_the_directory_and_refuses_a_file() {
    let root = tempfile::tempdir().expect("a directory");
    let path = root.path().join("a/b/c");
    Directory::open(&path, "fs").expect("a store");
    let mode = std::fs::metadata(&path)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o700, 0o700);
    assert_eq!(mode & 0o022, 0, "only the owner writes");
    let junk = root.path().join("junk");
    std::fs::write(&junk, b"").expect("a file");
    let refused = Directory::open(&junk, "fs").err().expect("refused");
    let text = format!("fs: '{}' is not a directory", junk.display());
    assert_eq!(refused.to_string(), text);
    let below = Directory::open(&junk.join("x"), "fs")
        .err()
        .expect("refused");
    assert!(matches!(below, OpenError::Directory { .. }));
}

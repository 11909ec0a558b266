//! Tests of opening: the whole backup or nothing, and what restores it.

use super::super::samples::{apply, backup, cluster, founded, root_key, sealed, seals};
use super::*;
use crate::base::limits::BATCH_BYTES_MAX;
use crate::machine::image;

#[test]
fn a_backup_restores_what_was_backed_up() {
    let of_old = seals(&[1]);
    let old = cluster(&of_old, 500, 200);
    let opened = OpenedBackup::open(backup(&of_old, &old).as_slice(), &of_old).expect("a backup");
    let mut new = founded(&of_old);
    assert_ne!(new.content_digest(), old.content_digest());
    for batch in opened.batches(5) {
        assert!(batch.len() <= BATCH_PROPOSALS_MAX);
        let bytes: usize = batch.iter().map(Op::size_hint).sum();
        assert!(bytes <= BATCH_BYTES_MAX, "{bytes}");
        perform(&mut new, batch).expect("applied");
    }
    assert_eq!(new.content_digest(), old.content_digest());
    assert_eq!(new.restoring(), None);
    assert_eq!(new.cluster_id(), old.cluster_id());
    assert!(new.key("key-7") == old.key("key-7"));
}

#[test]
fn batches_of_large_records_are_short() {
    let seals = seals(&[1]);
    let state = cluster(&seals, 12, 14_000);
    let opened = OpenedBackup::open(backup(&seals, &state).as_slice(), &seals).expect("a backup");
    let lengths: Vec<usize> = opened.batches(5).map(|batch| batch.len()).collect();
    assert!(lengths.iter().all(|length| *length <= 6), "{lengths:?}");
    assert_eq!(lengths.iter().sum::<usize>(), 12 + 4);
}

#[test]
fn a_backup_without_anything_is_one() {
    let seals = seals(&[1]);
    let content = backup(&seals, &founded(&seals));
    let opened = OpenedBackup::open(content.as_slice(), &seals).expect("a backup");
    assert_eq!(opened.batches(1).count(), 1);
}

#[test]
fn what_is_not_the_whole_backup_is_refused() {
    let seals = seals(&[1]);
    let content = backup(&seals, &cluster(&seals, 300, 10_000));
    let open = |content: &[u8]| OpenedBackup::open(content, &seals).err().expect("refused");
    let header = 60;
    let chunk = (1 << 20) + 16;
    for length in [
        0,
        7,
        header - 1,
        header,
        header + 15,
        header + chunk,
        content.len() - 1,
    ] {
        let error = open(&content[..length]);
        assert!(
            matches!(error, OpenBackupError::Sealed(_)),
            "{length}: {error}"
        );
    }
    for place in (0..header).chain([header, header + chunk, content.len() - 1]) {
        let mut flipped = content.clone();
        flipped[place] ^= 0x80;
        let error = open(&flipped);
        let is_named = matches!(
            error,
            OpenBackupError::Sealed(_) | OpenBackupError::UnknownRootKey { .. }
        );
        assert!(is_named, "{place}: {error}");
    }
    // Chunks that changed places, and one that is missing.
    let (first, second) = (header..header + chunk, header + chunk..header + 2 * chunk);
    let parts = [
        &content[..header],
        &content[second.clone()],
        &content[first.clone()],
    ];
    let swapped = [&parts.concat()[..], &content[second.end..]].concat();
    let missing = [&content[..first.end], &content[second.end..]].concat();
    for bad in [swapped, missing] {
        let error = open(&bad);
        assert!(matches!(error, OpenBackupError::Sealed(_)), "{error}");
    }
}

#[test]
fn another_root_key_is_named() {
    let of_old = seals(&[1]);
    let content = backup(&of_old, &cluster(&of_old, 1, 10));
    let error = OpenedBackup::open(content.as_slice(), &seals(&[2]));
    let error = error.err().expect("refused").to_string();
    assert!(error.contains(&root_key(1).id().to_string()), "{error}");
    assert!(OpenedBackup::open(content.as_slice(), &seals(&[2, 1])).is_ok());
}

/// In the middle of a rotation records are sealed under both root keys.
#[test]
fn a_root_key_that_only_records_need_is_needed() {
    let both = seals(&[2, 1]);
    let mut state = cluster(&seals(&[1]), 3, 10);
    let next = both.next_root(&state).expect("a proposal");
    apply(&mut state, 4, next);
    let content = backup(&both, &state);
    let error = OpenedBackup::open(content.as_slice(), &seals(&[2])).err();
    assert!(matches!(error, Some(OpenBackupError::Seal(_))), "{error:?}");
    assert!(OpenedBackup::open(content.as_slice(), &both).is_ok());
}

/// Authentic, and all the same nothing that a cluster may take over.
#[test]
fn a_backup_that_makes_no_sense_is_refused() {
    let seals = seals(&[1]);
    let state = cluster(&seals, 2, 10);
    let sealer = seals.current(&state).expect("a sealer");
    let garbage = sealed(&sealer, b"garbage that is sealed");
    let error = OpenedBackup::open(garbage.as_slice(), &seals).err();
    assert!(
        matches!(error, Some(OpenBackupError::Image(_))),
        "{error:?}"
    );

    let mut image = Vec::new();
    image::write(&founded(&seals), &mut image).expect("an image");
    let of_another = sealed(&sealer, &image);
    let error = OpenedBackup::open(of_another.as_slice(), &seals).err();
    assert!(
        matches!(error, Some(OpenBackupError::Contradiction)),
        "{error:?}"
    );

    // A restore was under way.
    let mut unfinished = founded(&seals);
    let begin = Op::BeginRestore {
        restore_id: 3,
        cluster_id: state.cluster_id().expect("an id"),
        roots: state.roots().to_vec(),
    };
    apply(&mut unfinished, 9, begin);
    let content = backup(&seals, &unfinished);
    let error = OpenedBackup::open(content.as_slice(), &seals).err();
    assert!(
        matches!(error, Some(OpenBackupError::Contradiction)),
        "{error:?}"
    );
}

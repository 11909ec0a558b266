//! Who follows policies and identities learns of their changes, and of nothing else.

use super::*;
use crate::machine::PolicyRecord;

fn at(index: u64, op: Op) -> Entry {
    Entry {
        log_id: log_id(1, index),
        payload: command(index, op),
    }
}

fn policy() -> PolicyRecord {
    PolicyRecord {
        allow: vec!["/v1/key/*".to_owned()],
        deny: Vec::new(),
        created_at: Timestamp::ZERO,
        created_by: "admin".to_owned(),
    }
}

#[tokio::test]
async fn only_what_is_about_policies_is_told() {
    let folder = tempfile::tempdir().expect("folder");
    let mut storage = open(folder.path());
    commit(&mut storage, entries(1, 0..3)).await;
    let mut changes = storage.handle.watch_policies();
    changes.mark_unchanged();

    let create = Op::CreateKey {
        name: "key".to_owned(),
        record: key(100),
    };
    commit(&mut storage, vec![at(3, create)]).await;
    assert!(!changes.has_changed().expect("open"), "a key is no policy");

    let name = || "app".to_owned();
    let put = Op::PutPolicy {
        name: name(),
        policy: policy(),
    };
    commit(&mut storage, vec![at(4, put)]).await;
    assert!(changes.has_changed().expect("open"));
    assert_eq!(*changes.borrow_and_update(), 5);
    assert_eq!(storage.handle.applied().load().policies_revision, 5);

    let rejected = Op::DeletePolicy {
        name: "none".to_owned(),
    };
    commit(&mut storage, vec![at(5, rejected)]).await;
    assert!(
        !changes.has_changed().expect("open"),
        "a rejection is no change"
    );
    commit(&mut storage, vec![at(6, Op::DeletePolicy { name: name() })]).await;
    assert_eq!(*changes.borrow_and_update(), 7);
}

#[tokio::test]
async fn a_restore_hides_policies_and_shows_them() {
    let folder = tempfile::tempdir().expect("folder");
    let mut storage = open(folder.path());
    commit(&mut storage, entries(1, 0..2)).await;
    let mut changes = storage.handle.watch_policies();
    changes.mark_unchanged();
    let (cluster_id, roots) = {
        let applied = storage.handle.applied().load();
        let id = applied.state.cluster_id().expect("founded");
        (id, applied.state.roots().to_vec())
    };
    let begin = Op::BeginRestore {
        restore_id: 7,
        cluster_id,
        roots,
    };
    commit(&mut storage, vec![at(2, begin)]).await;
    assert_eq!(*changes.borrow_and_update(), 3);
    let digest = storage.handle.applied().load().state.content_digest();
    let end = Op::EndRestore {
        restore_id: 7,
        digest,
    };
    commit(&mut storage, vec![at(3, end)]).await;
    assert!(changes.has_changed().expect("open"));
    assert_eq!(*changes.borrow_and_update(), 4);
}

//! What is on disks stays readable. The bytes in `testdata/encodings.json` are never changed or
//! removed, only added: openraft's types are part of the format, too.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::machine::codec::{decode, encode};
use crate::storage::state_store::Position;
use crate::storage::tally::Tally;
use crate::storage::witness::Promise;

/// Collects what is encoded now, and decodes what was encoded then.
struct Golden {
    stored: BTreeMap<String, String>,
    found: BTreeMap<String, String>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = (0..text.len()).step_by(2);
    digits
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

impl Golden {
    fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, value: T) {
        let encoded = encode(&value).expect("an encoding");
        self.found.insert(name.to_owned(), hex(&encoded));
        if let Some(stored) = self.stored.get(name) {
            let decoded: T = decode(&unhex(stored)).expect(name);
            assert_eq!(decoded, value, "{name}");
        }
    }
}

fn membership() -> Membership<NodeId, Member> {
    let member = |name: &str| Member {
        name: name.to_owned(),
        cluster_address: format!("{name}:7374"),
        api_address: format!("https://{name}:7373"),
    };
    let nodes = BTreeMap::from([(1, member("one")), (u64::MAX, member("two"))]);
    let joint = vec![BTreeSet::from([1]), BTreeSet::from([1, u64::MAX])];
    Membership::new(joint, nodes)
}

#[tokio::test]
async fn what_is_on_disks_stays_readable() {
    let stored = include_str!("../testdata/encodings.json");
    let mut golden = Golden {
        stored: serde_json::from_str(stored).expect("encodings"),
        found: BTreeMap::new(),
    };
    let at = log_id(300, 70_000);
    let since = StoredMembership::new(Some(log_id(2, 9)), membership());
    golden.check("log id", at);
    golden.check("no log id", None::<LogId>);
    golden.check("vote", Vote::new(3, u64::MAX));
    golden.check("committed vote", Vote::new_committed(3, 1));
    golden.check("generation", 300_u64);
    for (name, payload) in [
        ("blank entry", EntryPayload::Blank),
        ("command entry", entry(1, 2).payload),
        ("membership entry", EntryPayload::Membership(membership())),
    ] {
        let log_id = at;
        golden.check(name, Entry { log_id, payload });
    }
    let mut tally = Tally::default();
    tally.add(b"id", b"value");
    golden.check(
        "position",
        Position {
            last_applied: Some(at),
            membership: since.clone(),
            tally,
        },
    );
    golden.check(
        "promise",
        Promise {
            vote: Some(Vote::new(3, 1)),
            last: Some(at),
        },
    );
    golden.check(
        "snapshot description",
        SnapshotMeta {
            last_log_id: Some(at),
            last_membership: since,
            snapshot_id: "name".to_owned(),
        },
    );
    let folder = tempfile::tempdir().expect("folder");
    let mut storage = open(folder.path());
    commit(&mut storage, entries(1, 0..3)).await;
    let snapshot = build_snapshot(&mut storage).await;
    let file = std::fs::read(snapshot.snapshot.path()).expect("read");
    golden.found.insert("snapshot file".to_owned(), hex(&file));
    let found = serde_json::to_string_pretty(&golden.found).expect("JSON");
    assert_eq!(golden.found, golden.stored, "encoded now:\n{found}");
}

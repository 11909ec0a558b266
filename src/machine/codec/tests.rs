//! Tests of the codec. The bytes in `testdata/encodings.json` are on disks and on the wire: an entry
//! is never changed or removed, only added.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::crypto::at_rest::ClusterId;
use crate::machine::record::{Answer, Header};
use crate::machine::samples::{
    CLUSTER, assignment, command, key, policy, proposal, proposals, reservation, root, sealed,
};
use crate::machine::{
    AssignmentRecord, Command, KeyRecord, Op, Outcome, PolicyRecord, Rejection, Reply, Reservation,
    SealedVersion,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = (0..text.len()).step_by(2);
    digits
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}

/// Collects what is encoded now, and decodes what was encoded then.
struct Golden {
    stored: BTreeMap<String, String>,
    found: BTreeMap<String, String>,
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

    fn check_op(&mut self, name: &str, op: Op) {
        let id = 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10;
        self.check(&format!("op {name}"), command(&[proposal(id, op)]));
    }
}

#[test]
fn encodings_do_not_change() {
    let stored = include_str!("../testdata/encodings.json");
    let mut golden = Golden {
        stored: serde_json::from_str(stored).expect("encodings"),
        found: BTreeMap::new(),
    };
    check_records(&mut golden);
    check_ops(&mut golden);
    check_more_ops(&mut golden);
    check_restore_ops(&mut golden);
    check_outcomes(&mut golden);
    let found = serde_json::to_string_pretty(&golden.found).expect("JSON");
    assert_eq!(golden.found, golden.stored, "encoded now:\n{found}");
}

fn check_records(golden: &mut Golden) {
    let two_versions = KeyRecord {
        request_id: u128::MAX,
        versions: vec![
            SealedVersion {
                version: 1,
                sealed: sealed(1, 2),
            },
            SealedVersion {
                version: 300,
                sealed: sealed(70_000, 3),
            },
        ],
        ..key(1, 2)
    };
    golden.check::<KeyRecord>("key", two_versions);
    let with_denial = PolicyRecord {
        deny: vec!["/v1/key/delete/*".to_owned(), String::new()],
        ..policy("/v1/key/*")
    };
    golden.check::<PolicyRecord>("policy", with_denial);
    golden.check::<AssignmentRecord>("assignment", assignment("my-policy"));
    golden.check::<Reservation>("reservation", reservation(1, 2));
    let answer = Answer {
        sequence: 65_537,
        outcome: Outcome::Deleted,
    };
    golden.check("answer", answer);
    golden.check("empty header", Header::default());
    let full = Header {
        cluster_id: Some(CLUSTER),
        roots: vec![root(1), root(2)],
        delete_epoch: 5_000_000_000,
        answers: 252,
        restoring: Some(6),
        restored: Some(u128::MAX - 1),
    };
    golden.check("header", full);
}

fn check_ops(golden: &mut Golden) {
    let name = || "my-key".to_owned();
    golden.check("empty command", Command::default());
    golden.check_op(
        "Found",
        Op::Found {
            cluster_id: ClusterId(std::array::from_fn(|at| u8::try_from(at).expect("small"))),
            root: root(1),
        },
    );
    let (record, name_of) = (key(1, 2), name());
    golden.check_op(
        "CreateKey",
        Op::CreateKey {
            name: name_of,
            record,
        },
    );
    golden.check_op("DeleteKey", Op::DeleteKey { name: name() });
    let put = Op::PutPolicy {
        name: name(),
        policy: policy("/v1/*"),
    };
    golden.check_op("PutPolicy", put);
    golden.check_op("DeletePolicy", Op::DeletePolicy { name: name() });
    let assign = Op::AssignIdentity {
        identity: "amy".to_owned(),
        assignment: assignment("p"),
    };
    golden.check_op("AssignIdentity", assign);
    let identity = "amy".to_owned();
    golden.check_op("DeleteIdentity", Op::DeleteIdentity { identity });
}

fn check_more_ops(golden: &mut Golden) {
    let name = || "my-key".to_owned();
    golden.check_op("BeginRootRotation", Op::BeginRootRotation { root: root(2) });
    let reseal = Op::Reseal {
        name: name(),
        version: 1,
        expected: [5; 32],
        sealed: sealed(2, 6),
    };
    golden.check_op("Reseal", reseal);
    golden.check_op("EndRootRotation", Op::EndRootRotation { epoch: 2 });
    let reserve = Op::Reserve {
        name: name(),
        reservation: reservation(1, 2),
    };
    golden.check_op("Reserve", reserve);
    let release = Op::Release {
        name: name(),
        request_id: 251,
    };
    golden.check_op("Release", release);
}

fn check_restore_ops(golden: &mut Golden) {
    let name = || "my-key".to_owned();
    let restore_id = 65_536;
    let begin = Op::BeginRestore {
        restore_id,
        cluster_id: CLUSTER,
        roots: vec![root(1), root(2)],
    };
    golden.check_op("BeginRestore", begin);
    let restore = Op::RestoreKey {
        restore_id,
        name: name(),
        record: key(1, 2),
    };
    golden.check_op("RestoreKey", restore);
    let restore = Op::RestorePolicy {
        restore_id,
        name: name(),
        policy: policy("/v1/*"),
    };
    golden.check_op("RestorePolicy", restore);
    let restore = Op::RestoreIdentity {
        restore_id,
        identity: "amy".to_owned(),
        assignment: assignment("p"),
    };
    golden.check_op("RestoreIdentity", restore);
    let end = Op::EndRestore {
        restore_id,
        digest: [9; 32],
    };
    golden.check_op("EndRestore", end);
}

fn check_outcomes(golden: &mut Golden) {
    let outcomes = vec![
        Outcome::Founded,
        Outcome::Created,
        Outcome::Deleted,
        Outcome::Done,
        Outcome::Reserved {
            own: true,
            sealed: sealed(1, 2),
        },
    ];
    golden.check("outcomes", Reply(outcomes));
    let rejections = [
        Rejection::Exists,
        Rejection::NotFound,
        Rejection::PolicyNotFound,
        Rejection::AlreadyFounded,
        Rejection::NotFounded,
        Rejection::WrongEpoch,
        Rejection::Changed,
        Rejection::RecordsOfOlderEpoch,
        Rejection::RestoreInProgress,
        Rejection::NotRestoring,
        Rejection::NotEmpty,
        Rejection::TooMany,
        Rejection::DigestMismatch,
        Rejection::InvalidName,
        Rejection::InvalidRecord,
        Rejection::TooLarge,
    ];
    let outcomes = rejections.into_iter().map(Outcome::Rejected).collect();
    golden.check("rejections", Reply(outcomes));
}

#[test]
fn what_is_no_encoding_is_named() {
    let error = |bytes: &[u8]| decode::<u32>(bytes).expect_err("an error").to_string();
    assert_eq!(error(b""), "the encoding is empty");
    assert_eq!(
        error(&[2, 7]),
        "encoded in version 2, but this program knows only version 1"
    );
    assert_eq!(error(&[1, 7, 0, 0]), "2 bytes follow the encoded value");
    assert!(error(&[1]).starts_with("failed to decode: "));
    assert_eq!(decode::<u32>(&[1, 7]).expect("a number"), 7);
    let long = vec![VERSION; ENCODED_BYTES_MAX + 1];
    assert!(matches!(
        decode::<Vec<u8>>(&long),
        Err(CodecError::TooLarge { .. })
    ));
    assert!(matches!(encode(&long), Err(CodecError::TooLarge { .. })));
}

#[test]
fn the_largest_encoding_is_read_again() {
    // One byte of version and five for the length; small numbers of 16 bytes cost the decoder most.
    let numbers = vec![1_u128; ENCODED_BYTES_MAX - 6];
    let encoded = encode(&numbers).expect("an encoding");
    assert_eq!(encoded.len(), ENCODED_BYTES_MAX);
    assert!(decode::<Vec<u128>>(&encoded).expect("the numbers") == numbers);
}

#[test]
fn a_length_that_lies_claims_no_memory() {
    for length in [u32::MAX.to_le_bytes(), (1_u32 << 30).to_le_bytes()] {
        let encoded = [&[VERSION, 252], &length[..]].concat();
        assert!(decode::<Vec<u8>>(&encoded).is_err());
        assert!(decode::<String>(&encoded).is_err());
        assert!(decode::<Command>(&encoded).is_err());
        assert!(decode::<crate::machine::Sealed>(&encoded).is_err());
    }
}

proptest! {
    #[test]
    fn commands_are_read_as_written(proposals in proposals()) {
        let command = command(&proposals);
        let encoded = encode(&command).expect("an encoding");
        prop_assert_eq!(decode::<Command>(&encoded).expect("a command"), command);
        for end in [0, 1, encoded.len() - 1] {
            prop_assert!(decode::<Command>(&encoded[..end]).is_err());
        }
    }

    #[test]
    fn byte_soup_is_no_reason_to_panic(mut bytes: Vec<u8>) {
        let _ = decode::<Command>(&bytes);
        bytes.insert(0, VERSION);
        let _ = decode::<Command>(&bytes);
        let _ = decode::<Reply>(&bytes);
        let _ = decode::<KeyRecord>(&bytes);
        let _ = decode::<Header>(&bytes);
    }

    #[test]
    fn damage_is_no_reason_to_panic(proposals in proposals(), at: prop::sample::Index, byte: u8) {
        let mut encoded = encode(&command(&proposals)).expect("an encoding");
        let at = at.index(encoded.len());
        encoded[at] = byte;
        // What decodes in spite of it is applied: it is a command as any other.
        if let Ok(command) = decode::<Command>(&encoded) {
            crate::machine::State::default().apply(&command);
        }
    }
}

//! States of clusters, and backups of them, for tests.

use std::io::Write;

use super::seals::Seals;
use crate::base::clock::Timestamp;
use crate::base::secret::Key256;
use crate::crypto::at_rest::{Keyring, RootKey, Sealer};
use crate::machine::{
    AssignmentRecord, Command, KeyRecord, Op, Outcome, PolicyRecord, Proposal, Sealed,
    SealedVersion, State, image,
};

/// A root key made of `byte`.
pub(super) fn root_key(byte: u8) -> RootKey {
    RootKey::from_bytes(Key256::new([byte; 32]))
}

/// With the root keys of these bytes, the preferred one first.
pub(super) fn seals(bytes: &[u8]) -> Seals {
    let keys = bytes.iter().map(|byte| root_key(*byte)).collect();
    Seals::new(Keyring::new(keys).expect("a keyring"))
}

/// Applies `op`, which must not be rejected.
pub(super) fn apply(state: &mut State, request_id: u128, op: Op) {
    let proposals = vec![Proposal { request_id, op }];
    let (outcomes, _) = state.apply(&Command { proposals });
    assert!(
        !matches!(outcomes[..], [Outcome::Rejected(_)]),
        "{outcomes:?}"
    );
}

/// A founded cluster without anything.
pub(super) fn founded(seals: &Seals) -> State {
    let mut state = State::default();
    apply(&mut state, 1, seals.founding().expect("a proposal"));
    state
}

/// A cluster with `keys` keys whose values have `bytes` bytes, a policy and an identity.
pub(super) fn cluster(seals: &Seals, keys: u32, bytes: usize) -> State {
    let mut state = founded(seals);
    for number in 0..keys {
        let name = format!("key-{number}");
        let sealed = seals.seal(&state, "key", &name, &vec![7; bytes]);
        let version = SealedVersion {
            version: 1,
            sealed: Sealed::from(sealed.expect("sealed")),
        };
        let record = KeyRecord {
            request_id: 0,
            versions: vec![version],
            created_at: Timestamp::ZERO,
            created_by: "somebody".to_owned(),
        };
        apply(
            &mut state,
            100 + u128::from(number),
            Op::CreateKey { name, record },
        );
    }
    let policy = PolicyRecord {
        allow: vec!["/v1/key/*".to_owned()],
        deny: Vec::new(),
        created_at: Timestamp::ZERO,
        created_by: "somebody".to_owned(),
    };
    let name = "a-policy".to_owned();
    apply(&mut state, 2, Op::PutPolicy { name, policy });
    let assignment = AssignmentRecord {
        policy: "a-policy".to_owned(),
        created_at: Timestamp::ZERO,
        created_by: "somebody".to_owned(),
    };
    let identity = "ab".repeat(32);
    apply(
        &mut state,
        3,
        Op::AssignIdentity {
            identity,
            assignment,
        },
    );
    state
}

/// A backup under `sealer` that holds `content`.
pub(super) fn sealed(sealer: &Sealer, content: &[u8]) -> Vec<u8> {
    let mut writer = sealer.seal_backup(Vec::new(), &[9; 23]).expect("a writer");
    writer.write_all(content).expect("written");
    writer.finish().expect("finished")
}

/// The backup of `state`.
pub(super) fn backup(seals: &Seals, state: &State) -> Vec<u8> {
    let mut content = Vec::new();
    image::write(state, &mut content).expect("an image");
    sealed(&seals.current(state).expect("a sealer"), &content)
}

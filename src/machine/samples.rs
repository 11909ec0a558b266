//! Records and proposals for the tests of this folder, from domains so small that they meet.

use proptest::prelude::*;

use super::command::{Command, Op, Proposal, RequestId};
use super::record::{
    AssignmentRecord, KeyRecord, PolicyRecord, Reservation, RootEpoch, Sealed, SealedVersion,
};
use crate::base::clock::Timestamp;
use crate::crypto::at_rest::{ClusterId, Epoch};

pub(super) const CLUSTER: ClusterId = ClusterId([7; 16]);

pub(super) const TIME: Timestamp = Timestamp {
    seconds: 1_700_000_000,
    nanos: 123_456_789,
};

/// Bytes in the form of a sealed record.
pub(super) fn sealed(epoch: Epoch, filling: u8) -> Sealed {
    sealed_bytes(epoch, filling, 60)
}

/// As [`sealed`], of that length.
pub(super) fn sealed_bytes(epoch: Epoch, filling: u8, length: usize) -> Sealed {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.resize(length, filling);
    bytes.into()
}

pub(super) fn key(epoch: Epoch, filling: u8) -> KeyRecord {
    KeyRecord {
        request_id: 0,
        versions: vec![SealedVersion {
            version: 1,
            sealed: sealed(epoch, filling),
        }],
        created_at: TIME,
        created_by: "amy".to_owned(),
    }
}

pub(super) fn policy(allowed: &str) -> PolicyRecord {
    PolicyRecord {
        allow: vec![allowed.to_owned()],
        deny: Vec::new(),
        created_at: TIME,
        created_by: "amy".to_owned(),
    }
}

pub(super) fn assignment(policy: &str) -> AssignmentRecord {
    AssignmentRecord {
        policy: policy.to_owned(),
        created_at: TIME,
        created_by: "amy".to_owned(),
    }
}

pub(super) fn reservation(epoch: Epoch, filling: u8) -> Reservation {
    Reservation {
        request_id: 0,
        sealed: sealed(epoch, filling),
        created_at: TIME,
        created_by: "amy".to_owned(),
    }
}

pub(super) fn root(epoch: Epoch) -> RootEpoch {
    RootEpoch {
        epoch,
        key_id: [3; 8],
        check: [4; 32],
    }
}

pub(super) fn proposal(request_id: RequestId, op: Op) -> Proposal {
    Proposal { request_id, op }
}

/// One command of all `proposals`.
pub(super) fn command(proposals: &[Proposal]) -> Command {
    Command {
        proposals: proposals.to_vec(),
    }
}

/// What founds the cluster.
pub(super) fn founding() -> Proposal {
    let (cluster_id, root) = (CLUSTER, root(1));
    proposal(u128::MAX, Op::Found { cluster_id, root })
}

/// Proposals to a cluster that most often is founded. Every request has an id of its own, and some
/// come again later.
pub(super) fn proposals() -> impl Strategy<Value = Vec<Proposal>> {
    let again = prop::option::weighted(0.2, any::<prop::sample::Index>());
    let many = prop::collection::vec((op(), again), 0..60);
    (prop::bool::weighted(0.95), many).prop_map(|(founded, ops)| {
        let mut proposals = Vec::new();
        if founded {
            proposals.push(founding());
        }
        for (request_id, (mut op, again)) in (1..).zip(ops) {
            let earlier = again.filter(|_| !proposals.is_empty());
            if let Some(earlier) = earlier {
                proposals.push(earlier.get(&proposals).clone());
                continue;
            }
            aim(&mut op, &proposals);
            proposals.push(proposal(request_id, op));
        }
        proposals
    })
}

/// Lets most releases release what was claimed.
fn aim(op: &mut Op, earlier: &[Proposal]) {
    let Op::Release { name, request_id } = op else {
        return;
    };
    let claim = earlier.iter().rfind(
        |proposal| matches!(&proposal.op, Op::Reserve { name: claimed, .. } if claimed == name),
    );
    if let (Some(claim), 2..) = (claim, *request_id) {
        *request_id = claim.request_id;
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => key_op(),
        10 => policy_op(),
        6 => rotation_op(),
        6 => reservation_op(),
        3 => restore_op(),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![10 => "[a-c]", 1 => Just("-invalid".to_owned()), 1 => Just(String::new())]
}

fn some_sealed() -> impl Strategy<Value = Sealed> {
    prop_oneof![
        20 => (1..4_u32, 0..2_u8).prop_map(|(epoch, filling)| sealed(epoch, filling)),
        1 => Just(Sealed::from(vec![1, 2, 3])),
        1 => Just(sealed_bytes(1, 0, 20_000)),
    ]
}

fn some_key() -> impl Strategy<Value = KeyRecord> {
    let versions = prop_oneof![
        10 => some_sealed().prop_map(|sealed| vec![(1, sealed)]),
        1 => prop::collection::vec((0..3_u32, some_sealed()), 0..3),
    ];
    versions.prop_map(|versions| KeyRecord {
        versions: versions
            .into_iter()
            .map(|(version, sealed)| SealedVersion { version, sealed })
            .collect(),
        ..key(1, 0)
    })
}

fn key_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (name(), some_key()).prop_map(|(name, record)| Op::CreateKey { name, record }),
        2 => name().prop_map(|name| Op::DeleteKey { name }),
        1 => (name(), 1..3_u32, some_sealed(), some_sealed()).prop_map(
            |(name, version, old, sealed)| Op::Reseal {
                name,
                version,
                expected: old.digest(),
                sealed,
            }
        ),
    ]
}

fn policy_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        name().prop_map(|name| Op::PutPolicy {
            policy: policy("/v1/*"),
            name,
        }),
        name().prop_map(|name| Op::DeletePolicy { name }),
        (name(), name()).prop_map(|(identity, policy)| Op::AssignIdentity {
            identity,
            assignment: assignment(&policy),
        }),
        name().prop_map(|identity| Op::DeleteIdentity { identity }),
    ]
}

fn rotation_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (1..4_u32).prop_map(|epoch| Op::BeginRootRotation { root: root(epoch) }),
        (1..4_u32).prop_map(|epoch| Op::EndRootRotation { epoch }),
    ]
}

fn reservation_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (name(), some_sealed()).prop_map(|(name, sealed)| Op::Reserve {
            name,
            reservation: Reservation {
                sealed,
                ..reservation(1, 0)
            },
        }),
        (name(), 1..4_u128).prop_map(|(name, request_id)| Op::Release { name, request_id }),
    ]
}

fn restore_op() -> impl Strategy<Value = Op> {
    let roots = prop::collection::vec((1..4_u32).prop_map(root), 0..3);
    let restore_id = 1..3_u128;
    prop_oneof![
        (restore_id.clone(), roots).prop_map(|(restore_id, roots)| Op::BeginRestore {
            restore_id,
            cluster_id: ClusterId([8; 16]),
            roots,
        }),
        (restore_id.clone(), name(), some_key()).prop_map(|(restore_id, name, record)| {
            Op::RestoreKey {
                restore_id,
                name,
                record,
            }
        }),
        (restore_id.clone(), name()).prop_map(|(restore_id, name)| Op::RestorePolicy {
            restore_id,
            name,
            policy: policy("/v1/*"),
        }),
        (restore_id.clone(), name(), name()).prop_map(|(restore_id, identity, policy)| {
            Op::RestoreIdentity {
                restore_id,
                identity,
                assignment: assignment(&policy),
            }
        }),
        restore_id.prop_map(|restore_id| Op::EndRestore {
            restore_id,
            digest: [0; 32],
        }),
    ]
}

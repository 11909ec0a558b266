//! What of a replicated state is in force.

use super::*;
use crate::crypto::at_rest::ClusterId;
use crate::machine::{Command, Outcome, Proposal, RootEpoch};

fn apply(state: &mut State, request_id: u128, op: Op) {
    let proposal = Proposal { request_id, op };
    let (outcomes, _) = state.apply(&Command {
        proposals: vec![proposal],
    });
    assert!(
        !matches!(outcomes[..], [Outcome::Rejected(_)]),
        "{outcomes:?}"
    );
}

fn root() -> RootEpoch {
    RootEpoch {
        epoch: 1,
        key_id: [2; 8],
        check: [3; 32],
    }
}

fn founded() -> State {
    let mut state = State::default();
    let cluster_id = ClusterId([1; 16]);
    apply(
        &mut state,
        1,
        Op::Found {
            cluster_id,
            root: root(),
        },
    );
    state
}

fn policy() -> PolicyRecord {
    PolicyRecord {
        allow: vec!["/v1/key/*".to_owned()],
        deny: vec!["/v1/key/delete/*".to_owned()],
        created_at: Timestamp::ZERO,
        created_by: "root".to_owned(),
    }
}

fn assignment() -> AssignmentRecord {
    AssignmentRecord {
        policy: "app".to_owned(),
        created_at: Timestamp::ZERO,
        created_by: "carol".to_owned(),
    }
}

#[test]
fn records_become_policies() {
    let mut state = founded();
    apply(
        &mut state,
        2,
        Op::PutPolicy {
            name: "app".to_owned(),
            policy: policy(),
        },
    );
    apply(
        &mut state,
        3,
        Op::AssignIdentity {
            identity: "amy".to_owned(),
            assignment: assignment(),
        },
    );
    let replicated = of_state(&state);
    let [(name, policy, origin)] = &replicated.policies[..] else {
        panic!("{replicated:?}");
    };
    assert_eq!(name.as_ref(), "app");
    assert!(policy.allows("/v1/key/create/x") && !policy.allows("/v1/key/delete/x"));
    assert!(origin.is_replicated && origin.created_by.as_str() == "root");
    let [assigned] = &replicated.assignments[..] else {
        panic!("{replicated:?}");
    };
    assert_eq!(assigned.identity.as_str(), "amy");
    assert!(
        Arc::ptr_eq(&assigned.policy, name),
        "the name is shared, not copied"
    );
    assert_eq!(assigned.origin.created_by.as_str(), "carol");
}

#[test]
fn half_a_backup_gives_nobody_rights() {
    let mut state = founded();
    apply(
        &mut state,
        4,
        Op::BeginRestore {
            restore_id: 7,
            cluster_id: ClusterId([1; 16]),
            roots: vec![root()],
        },
    );
    apply(
        &mut state,
        5,
        Op::RestorePolicy {
            restore_id: 7,
            name: "app".to_owned(),
            policy: policy(),
        },
    );
    assert!(of_state(&state).policies.is_empty());
    let digest = state.content_digest();
    apply(
        &mut state,
        6,
        Op::EndRestore {
            restore_id: 7,
            digest,
        },
    );
    assert_eq!(of_state(&state).policies.len(), 1);
}

#[test]
fn rejections_are_told_apart() {
    let told = |rejection| PolicyChangeError::from(ProposeError::Rejected(rejection)).to_string();
    assert_eq!(told(Rejection::PolicyNotFound), "policy does not exist");
    assert_eq!(told(Rejection::TooLarge), "policy is too large");
    assert_eq!(
        told(Rejection::RestoreInProgress),
        "a backup is being restored"
    );
    let not_found = PolicyChangeError::from(ProposeError::Rejected(Rejection::NotFound));
    let named = named(not_found, PolicyChangeError::IdentityNotFound);
    assert_eq!(named.to_string(), "identity does not exist");
}

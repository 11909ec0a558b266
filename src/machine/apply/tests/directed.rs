//! Tests of applying: cases that the random ones are not likely to meet.

use std::sync::atomic::{AtomicU64, Ordering};

use super::apply_one;
use crate::base::limits::{CLUSTER_ANSWERS_MAX, CLUSTER_POLICIES_MAX, CLUSTER_ROOTS_MAX};
use crate::crypto::at_rest::ClusterId;
use crate::machine::samples::{
    CLUSTER, assignment, command, founding, key, policy, proposal, reservation, root, sealed,
};
use crate::machine::{Op, Outcome, Proposal, Rejection, RootEpoch, State};

fn founded() -> State {
    let mut state = State::default();
    assert_eq!(run(&mut state, founding().op), Outcome::Founded);
    state
}

/// Applies `op` as a request that was never made before.
fn run(state: &mut State, op: Op) -> Outcome {
    static REQUESTS: AtomicU64 = AtomicU64::new(1000);
    let request_id = REQUESTS.fetch_add(1, Ordering::Relaxed);
    apply_one(state, &proposal(request_id.into(), op)).0
}

fn rejected(rejection: Rejection) -> Outcome {
    Outcome::Rejected(rejection)
}

fn create(name: &str, record: crate::machine::KeyRecord) -> Op {
    let name = name.to_owned();
    Op::CreateKey { name, record }
}

#[test]
fn a_cluster_is_founded_once() {
    let mut state = founded();
    assert_eq!(state.cluster_id(), Some(CLUSTER));
    assert_eq!(state.current_root(), Some(&root(1)));
    let other_cluster = Op::Found {
        cluster_id: ClusterId([9; 16]),
        root: root(1),
    };
    let other_root = Op::Found {
        cluster_id: CLUSTER,
        root: RootEpoch {
            check: [9; 32],
            ..root(1)
        },
    };
    for op in [other_cluster, other_root] {
        assert_eq!(run(&mut state, op), rejected(Rejection::AlreadyFounded));
    }
    let late = Op::Found {
        cluster_id: CLUSTER,
        root: root(2),
    };
    assert_eq!(
        run(&mut State::default(), late),
        rejected(Rejection::WrongEpoch)
    );
}

#[test]
fn the_second_of_two_creations_learns_that_it_lost() {
    let mut state = founded();
    let ours = proposal(5, create("k", key(1, 1)));
    let theirs = proposal(6, create("k", key(1, 2)));
    let (outcomes, _) = state.apply(&command(&[ours.clone(), theirs, ours]));
    let expected = [
        Outcome::Created,
        rejected(Rejection::Exists),
        Outcome::Created,
    ];
    assert_eq!(outcomes, expected);
    let stored = state.key("k").expect("the key");
    assert_eq!(stored.request_id, 5);
    assert_eq!(stored.latest().expect("a version").sealed, sealed(1, 1));
    assert_eq!(stored.version(1), stored.latest());
    assert_eq!(stored.version(2), None);
}

#[test]
fn a_root_rotation_ends_when_everything_is_sealed_again() {
    let mut state = founded();
    run(&mut state, create("old", key(1, 1)));
    let begin = Op::BeginRootRotation { root: root(2) };
    assert_eq!(run(&mut state, begin), Outcome::Done);
    // A proposer that does not know of the rotation yet.
    assert_eq!(run(&mut state, create("late", key(1, 1))), Outcome::Created);
    let end = Op::EndRootRotation { epoch: 2 };
    let older = rejected(Rejection::RecordsOfOlderEpoch);
    assert_eq!(run(&mut state, end.clone()), older);
    for name in ["old", "late"] {
        let reseal = Op::Reseal {
            name: name.to_owned(),
            version: 1,
            expected: sealed(1, 1).digest(),
            sealed: sealed(2, 3),
        };
        assert_eq!(run(&mut state, reseal.clone()), Outcome::Done);
        assert_eq!(run(&mut state, reseal), Outcome::Done);
    }
    assert_eq!(run(&mut state, end), Outcome::Done);
    assert_eq!(state.roots(), [root(2)]);
    let too_late = run(&mut state, create("later", key(1, 1)));
    assert_eq!(too_late, rejected(Rejection::WrongEpoch));
}

#[test]
fn claims_hold_up_the_end_of_a_rotation() {
    let mut state = founded();
    let reserve = Op::Reserve {
        name: "k".to_owned(),
        reservation: reservation(1, 1),
    };
    let reserve = proposal(1, reserve);
    let won = Outcome::Reserved {
        own: true,
        sealed: sealed(1, 1),
    };
    assert_eq!(apply_one(&mut state, &reserve).0, won);
    run(&mut state, Op::BeginRootRotation { root: root(2) });
    let end = Op::EndRootRotation { epoch: 2 };
    let older = rejected(Rejection::RecordsOfOlderEpoch);
    assert_eq!(run(&mut state, end.clone()), older);
    let release = Op::Release {
        name: "k".to_owned(),
        request_id: 1,
    };
    assert_eq!(run(&mut state, release), Outcome::Done);
    assert_eq!(run(&mut state, end), Outcome::Done);
    // The claim is not made again by a proposal of it that comes late.
    let late = apply_one(&mut state, &reserve).0;
    assert_eq!(late, rejected(Rejection::Changed));
    assert_eq!(state.reservation("k"), None);
}

#[test]
fn late_proposals_hit_no_other_key() {
    let mut state = founded();
    let name = "k".to_owned();
    let create_first = proposal(1, create("k", key(1, 1)));
    let delete = proposal(2, Op::DeleteKey { name });
    let create_second = proposal(3, create("k", key(1, 2)));
    let steps = [
        (&create_first, Outcome::Created, true),
        (&delete, Outcome::Deleted, false),
        (&create_first, Outcome::Created, false),
        (&delete, Outcome::Deleted, false),
        (&create_second, Outcome::Created, true),
        (&delete, Outcome::Deleted, true),
        (&create_first, Outcome::Created, true),
    ];
    for (step, (proposal, outcome, exists)) in steps.into_iter().enumerate() {
        assert_eq!(apply_one(&mut state, proposal).0, outcome, "step {step}");
        assert_eq!(state.key("k").is_some(), exists, "step {step}");
    }
    let left = state.key("k").expect("the second key");
    assert_eq!(left.request_id, 3);
}

#[test]
fn the_older_half_of_the_answers_is_forgotten() {
    let mut state = founded();
    let put = |request: usize| {
        let (name, policy) = ("p".to_owned(), policy("/v1/*"));
        proposal(request as u128, Op::PutPolicy { name, policy })
    };
    let many: Vec<Proposal> = (1..CLUSTER_ANSWERS_MAX).map(put).collect();
    state.apply(&command(&many));
    assert_eq!(state.answers.size(), CLUSTER_ANSWERS_MAX - 1);
    let (_, changes) = apply_one(&mut state, &put(CLUSTER_ANSWERS_MAX));
    let half = CLUSTER_ANSWERS_MAX / 2;
    assert_eq!(state.answers.size(), half);
    let removed = changes.iter().filter(|change| change.value.is_none());
    assert_eq!(removed.count(), half);
    for (request, is_known) in [(half, false), (half + 1, true)] {
        let name = crate::machine::record::Answer::name(request as u128);
        assert_eq!(state.answers.contains_key(&name), is_known);
    }
}

#[test]
fn a_deleted_key_is_not_resealed_into_life() {
    let mut state = founded();
    run(&mut state, create("k", key(1, 1)));
    let name = "k".to_owned();
    run(&mut state, Op::DeleteKey { name: name.clone() });
    run(&mut state, create("k", key(1, 2)));
    let reseal = Op::Reseal {
        name,
        version: 1,
        expected: sealed(1, 1).digest(),
        sealed: sealed(1, 3),
    };
    let outcome = run(&mut state, reseal);
    assert_eq!(outcome, rejected(Rejection::Changed));
}

#[test]
fn deleting_a_policy_takes_it_from_everybody() {
    let mut state = founded();
    for name in ["p", "q"] {
        let name = name.to_owned();
        let policy = policy("/v1/*");
        run(&mut state, Op::PutPolicy { name, policy });
    }
    for (identity, of) in [("amy", "p"), ("bob", "p"), ("zoe", "q")] {
        let identity = identity.to_owned();
        let assignment = assignment(of);
        run(
            &mut state,
            Op::AssignIdentity {
                identity,
                assignment,
            },
        );
    }
    let name = "p".to_owned();
    let (_, changes) = apply_one(&mut state, &proposal(1, Op::DeletePolicy { name }));
    let removed = changes.iter().filter(|change| change.value.is_none());
    assert_eq!(removed.count(), 3);
    let left: Vec<_> = state.identities().map(|(identity, _)| identity).collect();
    assert_eq!(left, ["zoe"]);
}

#[test]
fn limits_are_kept() {
    let mut state = founded();
    let put = |number: usize| {
        let name = format!("p{number}");
        let policy = policy("/v1/*");
        proposal(number as u128, Op::PutPolicy { name, policy })
    };
    let many: Vec<Proposal> = (0..CLUSTER_POLICIES_MAX).map(put).collect();
    let (outcomes, _) = state.apply(&command(&many));
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done));
    let one_more = apply_one(&mut state, &put(CLUSTER_POLICIES_MAX)).0;
    assert_eq!(one_more, rejected(Rejection::TooMany));
    let (name, policy) = ("p0".to_owned(), policy("/v2/*"));
    let again = run(&mut state, Op::PutPolicy { name, policy });
    assert_eq!(again, Outcome::Done);

    let mut outcomes = (2..).map(|epoch| {
        let root = root(epoch);
        run(&mut state, Op::BeginRootRotation { root })
    });
    let begun = outcomes.position(|outcome| outcome != Outcome::Done);
    assert_eq!(begun, Some(CLUSTER_ROOTS_MAX - 1));
}

/// What a node proposes to restore the backup `of`.
fn restoring(of: &State, restore_id: u128) -> Vec<Proposal> {
    let mut ops = vec![Op::BeginRestore {
        restore_id,
        cluster_id: of.cluster_id().expect("a founded cluster"),
        roots: of.roots().to_vec(),
    }];
    ops.extend(of.policies().map(|(name, policy)| Op::RestorePolicy {
        restore_id,
        name: name.to_owned(),
        policy: policy.clone(),
    }));
    ops.extend(
        of.identities()
            .map(|(identity, assignment)| Op::RestoreIdentity {
                restore_id,
                identity: identity.to_owned(),
                assignment: assignment.clone(),
            }),
    );
    ops.extend(of.keys_from("").map(|(name, record)| Op::RestoreKey {
        restore_id,
        name: name.to_owned(),
        record: record.clone(),
    }));
    ops.push(Op::EndRestore {
        restore_id,
        digest: of.content_digest(),
    });
    let requests = (1000 * restore_id..).zip(ops);
    requests.map(|(id, op)| proposal(id, op)).collect()
}

/// A cluster with one of everything, in the middle of a rotation.
fn backed_up() -> State {
    let mut state = founded();
    let old = proposal(77, create("old", key(1, 1)));
    assert_eq!(apply_one(&mut state, &old).0, Outcome::Created);
    let name = || "p".to_owned();
    let mut ops = vec![
        Op::PutPolicy {
            name: name(),
            policy: policy("/v1/*"),
        },
        Op::AssignIdentity {
            identity: "amy".to_owned(),
            assignment: assignment("p"),
        },
        create("gone", key(1, 1)),
        Op::DeleteKey {
            name: "gone".to_owned(),
        },
        Op::BeginRootRotation { root: root(2) },
        create("new", key(2, 1)),
        Op::Reserve {
            name: "claimed".to_owned(),
            reservation: reservation(2, 1),
        },
    ];
    for op in ops.drain(..) {
        assert!(!matches!(run(&mut state, op), Outcome::Rejected(_)));
    }
    state
}

/// A fresh cluster that is to take over.
fn fresh() -> State {
    let mut state = State::default();
    let found = Op::Found {
        cluster_id: ClusterId([9; 16]),
        root: root(1),
    };
    assert_eq!(run(&mut state, found), Outcome::Founded);
    state
}

#[test]
fn a_restored_cluster_is_the_one_that_was_backed_up() {
    let source = backed_up();
    let mut state = fresh();
    let proposals = restoring(&source, 4);
    let (outcomes, _) = state.apply(&command(&proposals));
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done));
    assert_eq!(state.content_digest(), source.content_digest());
    assert_eq!(state.cluster_id(), source.cluster_id());
    assert_eq!(state.roots(), source.roots());
    assert!(state.keys_from("").eq(source.keys_from("")));
    assert_eq!(state.restoring(), None);
    // A key that was created before the backup is still known by its request.
    let retried = apply_one(&mut state, &proposal(77, create("old", key(1, 1)))).0;
    assert_eq!(retried, Outcome::Created);
    // What comes late, or twice, harms nothing.
    let after = state.clone();
    for (proposal, outcome) in [
        (&proposals[0], Outcome::Done),
        (&proposals[1], rejected(Rejection::NotRestoring)),
        (&proposals[proposals.len() - 1], Outcome::Done),
    ] {
        assert_eq!(apply_one(&mut state, proposal).0, outcome);
        assert_eq!(state, after);
    }
    let another = &restoring(&source, 5)[0];
    assert_eq!(
        apply_one(&mut state, another).0,
        rejected(Rejection::NotEmpty)
    );
}

#[test]
fn an_incomplete_restore_does_not_end_but_can_begin_again() {
    let source = backed_up();
    let mut state = fresh();
    let mut proposals = restoring(&source, 4);
    proposals.remove(proposals.len() - 2);
    let (mut outcomes, _) = state.apply(&command(&proposals));
    let last = outcomes.pop();
    assert_eq!(last, Some(rejected(Rejection::DigestMismatch)));
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done));
    assert_eq!(state.restoring(), Some(4));
    let create = run(&mut state, create("k", key(1, 1)));
    assert_eq!(create, rejected(Rejection::RestoreInProgress));
    // Nothing of the first one is left, of whatever kind.
    let nearly_empty = founded();
    let (outcomes, _) = state.apply(&command(&restoring(&nearly_empty, 5)));
    assert_eq!(outcomes, [Outcome::Done, Outcome::Done]);
    assert_eq!(state.counts(), Default::default());
    assert_eq!(state.content_digest(), nearly_empty.content_digest());
}

#[test]
fn debug_shows_no_ciphertext() {
    let shown = format!("{:?}", proposal(1, create("k", key(1, 0xab))));
    assert!(shown.contains("Sealed(60 bytes)"), "{shown}");
    assert!(!shown.contains("171"), "{shown}");
    let (_, changes) = founded().apply(&command(&[proposal(1, create("k", key(1, 0xab)))]));
    assert!(!format!("{changes:?}").contains("171"));
}

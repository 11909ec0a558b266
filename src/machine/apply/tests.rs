//! Tests of applying: against a model, and what must hold however commands are cut and replayed.

mod directed;
mod model;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::machine::samples::{command, proposals};
use model::Model;

/// Applies each proposal as a command of its own.
fn apply_one(state: &mut State, proposal: &Proposal) -> (Outcome, Vec<Change>) {
    let (mut outcomes, changes) = state.apply(&command(std::slice::from_ref(proposal)));
    assert_eq!(outcomes.len(), 1);
    (outcomes.remove(0), changes)
}

fn replay(disk: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: Vec<Change>) {
    for Change { id, value } in changes {
        match value {
            Some(value) => disk.insert(id.to_bytes(), value),
            None => disk.remove(&id.to_bytes()),
        };
    }
}

proptest! {
    #[test]
    fn outcomes_and_records_are_those_of_the_model(proposals in proposals()) {
        let (mut state, mut model) = (State::default(), Model::default());
        for proposal in &proposals {
            let (outcome, _) = apply_one(&mut state, proposal);
            prop_assert_eq!(outcome, model.apply(proposal), "{:?}", proposal);
            model.assert_same(&state);
        }
    }

    #[test]
    fn how_proposals_are_batched_makes_no_difference(
        proposals in proposals(),
        sizes in prop::collection::vec(1..9_usize, 1..9),
    ) {
        let mut whole = State::default();
        let (expected, _) = whole.apply(&command(&proposals));
        let (mut state, mut outcomes) = (State::default(), Vec::new());
        let mut rest = proposals.as_slice();
        for size in sizes.into_iter().cycle().take(proposals.len()) {
            let (batch, left) = rest.split_at(size.min(rest.len()));
            outcomes.extend(state.apply(&command(batch)).0);
            rest = left;
        }
        prop_assert_eq!(outcomes, expected);
        prop_assert_eq!(state.digest(), whole.digest());
        prop_assert_eq!(state, whole);
    }

    #[test]
    fn changes_rebuild_the_state(
        proposals in proposals(),
        size in 1..9_usize,
    ) {
        let (mut state, mut disk) = (State::default(), BTreeMap::new());
        for batch in proposals.chunks(size) {
            let (_, changes) = state.apply(&command(batch));
            let ids: Vec<_> = changes.iter().map(|change| change.id.clone()).collect();
            prop_assert!(ids.is_sorted_by(|a, b| a < b), "one change per record: {:?}", ids);
            replay(&mut disk, changes);
            let records = state.records().map(|(id, value)| (id.to_bytes(), value));
            prop_assert!(records.eq(disk.clone()));
            let rebuilt = State::from_records(&disk).expect("records");
            prop_assert_eq!(rebuilt.digest(), state.digest());
            prop_assert_eq!(&rebuilt, &state);
        }
    }

    #[test]
    fn a_rejection_changes_nothing(proposals in proposals()) {
        let mut state = State::default();
        for proposal in &proposals {
            let before = state.clone();
            let (outcome, changes) = apply_one(&mut state, proposal);
            if matches!(outcome, Outcome::Rejected(_)) {
                prop_assert!(changes.is_empty());
                prop_assert_eq!(&state, &before);
            }
        }
    }

    /// A proposer that got no answer proposes again.
    #[test]
    fn a_retry_has_the_same_outcome(proposals in proposals()) {
        let mut state = State::default();
        for proposal in &proposals {
            let (outcome, _) = apply_one(&mut state, proposal);
            let after = state.clone();
            let (again, changes) = apply_one(&mut state, proposal);
            prop_assert_eq!(again, outcome, "{:?}", proposal);
            prop_assert_eq!(&state.digest(), &after.digest(), "{:?}", changes);
        }
    }

    /// Both proposals of a proposer that tried twice are applied, the second after many others.
    #[test]
    fn what_comes_late_for_a_second_time_changes_nothing(proposals in proposals()) {
        let mut state = State::default();
        let mut done = Vec::new();
        for proposal in &proposals {
            let (outcome, _) = apply_one(&mut state, proposal);
            // In the samples ciphertexts repeat, which random ones do not; and what is restored
            // depends on the order, but in the end it is compared with the backup.
            let depends_on_samples = matches!(
                proposal.op,
                Op::Reseal { .. }
                    | Op::RestoreKey { .. }
                    | Op::RestorePolicy { .. }
                    | Op::RestoreIdentity { .. }
            );
            // What changed nothing is not remembered: it may succeed when it comes again.
            let changed_nothing = matches!(
                outcome,
                Outcome::Rejected(_) | Outcome::Reserved { own: false, .. }
            );
            if !depends_on_samples && !changed_nothing {
                done.push(proposal.clone());
            }
        }
        let before = state.digest();
        for proposal in done {
            let (outcome, _) = apply_one(&mut state, &proposal);
            prop_assert_eq!(&state.digest(), &before, "{:?} {:?}", proposal, outcome);
        }
    }

    /// What a cache of opened keys relies on.
    #[test]
    fn without_a_deletion_a_name_means_the_same_key(proposals in proposals()) {
        let mut state = State::default();
        let mut served = state.clone();
        for proposal in &proposals {
            apply_one(&mut state, proposal);
            if state.restoring().is_some() {
                continue;
            }
            if state.delete_epoch() == served.delete_epoch() {
                for (name, key) in served.keys_from("") {
                    let now = state.key(name).expect("the key is still there");
                    prop_assert_eq!(now.request_id, key.request_id);
                }
            }
            prop_assert!(state.delete_epoch() >= served.delete_epoch());
            served = state.clone();
        }
    }
}

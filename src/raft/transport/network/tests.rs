//! Answers that cannot be, and what is made of those that can.

use openraft::{CommittedLeaderId, Entry, EntryPayload};

use super::*;
use crate::storage::LogId;

fn log_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(3, 1), index)
}

fn request(before: Option<u64>, entries: u64) -> AppendEntriesRequest<TypeConfig> {
    let first = before.map_or(0, |index| index + 1);
    let entries = (first..first + entries).map(|index| Entry {
        log_id: log_id(index),
        payload: EntryPayload::Blank,
    });
    AppendEntriesRequest {
        vote: Vote::new_committed(3, 1),
        prev_log_id: before.map(log_id),
        entries: entries.collect(),
        leader_commit: None,
    }
}

/// What openraft hears if all of `request` was sent, or only its first `sent` entries.
fn heard(
    request: &AppendEntriesRequest<TypeConfig>,
    sent: usize,
    answer: &AppendEntriesResponse<NodeId>,
) -> Option<AppendEntriesResponse<NodeId>> {
    append_answer(request, sent, convert::append_response_to(answer)).ok()
}

#[test]
fn a_part_that_was_taken_is_no_success_of_the_whole() {
    let request = request(Some(4), 3);
    let success = AppendEntriesResponse::Success;
    assert_eq!(heard(&request, 3, &success), Some(success));
    let success = AppendEntriesResponse::Success;
    let part = AppendEntriesResponse::PartialSuccess(Some(log_id(6)));
    assert_eq!(heard(&request, 2, &success), Some(part));
}

#[test]
fn nobody_can_have_more_or_less_than_what_was_sent() {
    let request = request(Some(4), 3);
    for (index, is_possible) in [(3, false), (4, true), (6, true), (7, false)] {
        let answer = AppendEntriesResponse::PartialSuccess(Some(log_id(index)));
        assert_eq!(
            heard(&request, 2, &answer).is_some(),
            is_possible,
            "{index}"
        );
    }
    let nothing = AppendEntriesResponse::PartialSuccess(None);
    assert_eq!(heard(&request, 2, &nothing), None);
}

#[test]
fn the_beginning_of_the_log_conflicts_with_nothing() {
    let conflict = AppendEntriesResponse::Conflict;
    assert!(heard(&request(Some(4), 1), 1, &conflict).is_some());
    assert!(heard(&request(None, 1), 1, &conflict).is_none());
}

#[test]
fn a_higher_vote_is_higher() {
    let request = request(None, 0);
    for (vote, is_possible) in [
        (Vote::new(4, 9), true),
        (Vote::new_committed(3, 2), true),
        (Vote::new_committed(3, 1), false),
        (Vote::new(3, 1), false),
        (Vote::new(2, 9), false),
    ] {
        let answer = AppendEntriesResponse::HigherVote(vote);
        assert_eq!(heard(&request, 0, &answer).is_some(), is_possible, "{vote}");
    }
}

#[test]
fn pauses_grow_from_almost_nothing_and_stay_short() {
    let pauses = [20, 40, 80, 160, 320, 500, 500];
    let doubled = std::iter::successors(Some(CLUSTER_REDIAL_PAUSE_MIN), next_pause);
    let millis: Vec<u128> = doubled.take(7).map(|pause| pause.as_millis()).collect();
    assert_eq!(millis, pauses);
}

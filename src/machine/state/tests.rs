//! Tests of what readers see, and of loading what a disk holds.

use super::*;
use crate::machine::Op;
use crate::machine::samples::{command, founding, key, proposal};

fn with_keys(names: &[&str]) -> State {
    let mut proposals = vec![founding()];
    proposals.extend((10..).zip(names).map(|(request_id, name)| {
        let (name, record) = ((*name).to_owned(), key(1, 1));
        proposal(request_id, Op::CreateKey { name, record })
    }));
    let mut state = State::default();
    state.apply(&command(&proposals));
    state
}

#[test]
fn keys_are_listed_from_a_name_on() {
    let state = with_keys(&["b", "a", "c", "aa"]);
    let from = |start| -> Vec<&str> { state.keys_from(start).map(|(name, _)| name).collect() };
    assert_eq!(from(""), ["a", "aa", "b", "c"]);
    assert_eq!(from("aa"), ["aa", "b", "c"]);
    assert_eq!(from("ab"), ["b", "c"]);
    assert_eq!(from("d"), [""; 0]);
}

#[test]
fn a_copy_does_not_follow() {
    let mut state = with_keys(&["a"]);
    let copy = state.clone();
    let name = "a".to_owned();
    state.apply(&command(&[proposal(2, Op::DeleteKey { name })]));
    assert!(copy.key("a").is_some() && state.key("a").is_none());
    assert_eq!(state.delete_epoch(), copy.delete_epoch() + 1);
    assert_ne!(state.digest(), copy.digest());
}

#[test]
fn an_empty_state_has_no_records() {
    assert_eq!(State::default().records().count(), 0);
    let none: [(Vec<u8>, Vec<u8>); 0] = [];
    let loaded = State::from_records(none).expect("no records");
    assert_eq!(loaded, State::default());
}

#[test]
fn what_is_no_record_is_refused_and_changes_nothing() {
    let mut state = with_keys(&["a"]);
    let before = state.clone();
    let (_, value) = before.records().last().expect("a key");
    let mut fails = |id: &[u8], value: &[u8]| state.load(id, value).expect_err("an error");
    assert!(matches!(
        fails(b"\xffa", &value),
        CodecError::UnknownRecord(2)
    ));
    fails(b"\x01", &value);
    assert!(matches!(
        fails(b"\x04b", &value[..9]),
        CodecError::Decode(_)
    ));
    let large = vec![1; RECORD_BYTES_MAX + 1];
    assert!(matches!(
        fails(b"\x04b", &large),
        CodecError::TooLarge { .. }
    ));
    assert_eq!(state, before);
}

#[test]
fn only_what_a_backup_restores_is_content() {
    let mut state = with_keys(&["a", "b"]);
    let without_b = with_keys(&["a"]);
    assert_ne!(state.content_digest(), without_b.content_digest());
    let name = "b".to_owned();
    state.apply(&command(&[proposal(2, Op::DeleteKey { name })]));
    assert_eq!(state.content_digest(), without_b.content_digest());
    assert_ne!(state.digest(), without_b.digest());
}

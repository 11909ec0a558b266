//! The recorded exchanges of the original, replayed: every HTTP request and every command line.
//!
//! Each recording says how it must be compared: `exact` is the same answer after times, versions
//! and random values are taken out; `semantic` compares what the named check says;
//! `intended-difference` is a defect of the recorded server, and what this one does instead stands
//! in [`INTENDED_DIFFERENCES`].

mod checks;
mod cli;
mod cli_checks;
mod exchange;
mod http;
mod normalize;
mod tls;

use serde_json::Value;

/// Recordings that show a defect, and what is done (and asserted) here instead.
pub(crate) const INTENDED_DIFFERENCES: &[(&str, &str)] = &[
    (
        "http/routing/*+allow",
        "405 answers carry Allow (RFC 9110) besides Accept",
    ),
    (
        "http/key-describe/describe-emptyfile",
        "a key file without key is 502, not a panic",
    ),
    (
        "http/key-list/list-hyphen-star",
        "one trailing * of a key pattern is a prefix match",
    ),
    (
        "http/identity/identity-self-app",
        "self-describe answers with the caller's policy",
    ),
    (
        "http/log/log-error+lines",
        "every event is one line of the stream",
    ),
    (
        "http/log/log-error+prompt",
        "the head of a stream is sent before the first event",
    ),
    (
        "http/extra/hmac-nohmac",
        "a key without HMAC key is 409, not a panic",
    ),
    (
        "http/extra/decrypt-msgpack-chacha-generic-key",
        "a legacy ciphertext names the cipher of a key that names none",
    ),
    (
        "http/extra/proxy-forwarded",
        "tls.proxy is in force: the forwarded identity counts",
    ),
    (
        "http/extra/proxy-no-header",
        "a proxy that forwards no certificate gets 400",
    ),
    (
        "http/extra/list-failure-metrics",
        "a failed listing counts as failure only",
    ),
    (
        "cli/usage/040-ls-help",
        "help ends with exit code 2 for every command",
    ),
    (
        "cli/key/038-key-ls-k-my-key",
        "one trailing * of a pattern is a prefix match",
    ),
    (
        "cli/key/039-key-ls-k-my-key-tty",
        "one trailing * of a pattern is a prefix match",
    ),
    (
        "cli/ls/005-ls-k-my",
        "one trailing * of a pattern is a prefix match",
    ),
    (
        "cli/identity/006-identity-info-k",
        "a non-admin sees its own identity and policy",
    ),
    (
        "cli/identity/007-identity-info-k-tty",
        "a non-admin sees its own identity and policy",
    ),
    ("cli/log/005-log-k-error", "the error log shows the events"),
    (
        "cli/log/006-log-k-error-tty",
        "the error log shows the events",
    ),
    (
        "cli/pagination/key-ls-k-json",
        "all keys are listed, not the first 1025",
    ),
    (
        "cli/pagination/ls-k-key-json",
        "all keys are listed, not the first 1025",
    ),
    (
        "cli/extra/status-keystore-gone",
        "the status of a server without its store is shown",
    ),
];

fn is_listed(case: &str) -> bool {
    INTENDED_DIFFERENCES
        .iter()
        .any(|(pattern, _)| match pattern.split_once('*') {
            Some((start, end)) => case.starts_with(start) && case.ends_with(end),
            None => case == *pattern,
        })
}

/// One difference between a recording and what happened.
struct Mismatch {
    case: String,
    detail: String,
}

/// Collects the differences of a replay; the replay fails once, with all of them.
#[derive(Default)]
struct Report {
    compared: usize,
    mismatches: Vec<Mismatch>,
}

impl Report {
    fn check(&mut self, case: &str, result: Result<(), String>) {
        self.compared += 1;
        if let Err(detail) = result {
            self.mismatches.push(Mismatch {
                case: case.to_owned(),
                detail,
            });
        }
    }

    #[track_caller]
    fn finish(self) {
        assert!(self.compared > 0, "nothing was compared");
        if self.mismatches.is_empty() {
            return;
        }
        let list: Vec<String> = self
            .mismatches
            .iter()
            .map(|mismatch| format!("{}: {}", mismatch.case, mismatch.detail))
            .collect();
        panic!(
            "{} of {} comparisons failed:\n\n{}\n",
            list.len(),
            self.compared,
            list.join("\n\n")
        );
    }
}

/// `expected … got …`, with long values cut.
fn differs(what: &str, expected: impl AsRef<str>, got: impl AsRef<str>) -> String {
    let cut = |text: &str| -> String {
        if text.chars().count() <= 1500 {
            return text.to_owned();
        }
        let start: String = text.chars().take(1500).collect();
        format!("{start}… ({} bytes)", text.len())
    };
    format!(
        "{what}: expected {:?}\n    got {:?}",
        cut(expected.as_ref()),
        cut(got.as_ref())
    )
}

/// The strings of a JSON array.
pub(crate) fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// The recorded cases of one file.
fn recorded(json: &str) -> Vec<Value> {
    let mut file: Value = serde_json::from_str(json).expect("recordings");
    match file["cases"].take() {
        Value::Array(cases) => cases,
        other => panic!("no cases: {other:?}"),
    }
}

#[test]
fn every_recorded_defect_is_listed_with_what_is_done_instead() {
    let files = [
        include_str!("../data/http.json"),
        include_str!("../data/cli.json"),
    ];
    let mut unlisted = Vec::new();
    for case in files.into_iter().flat_map(recorded) {
        let expectations = case["expectations"]
            .as_object()
            .expect("expectations")
            .clone();
        for (name, expectation) in expectations {
            if (expectation["class"] == "intended-difference") != is_listed(&name) {
                unlisted.push(name);
            }
        }
    }
    assert!(
        unlisted.is_empty(),
        "not listed, or listed for nothing: {unlisted:?}"
    );
}

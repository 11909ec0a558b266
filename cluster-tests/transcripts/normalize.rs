//! Takes times, versions, sizes and random values out of texts, so that two runs compare equal.

use std::sync::LazyLock;

use regex_lite::{Captures, Regex};

use crate::harness::certs::decode_base64;

/// Creation times that the recorded key files fix; they are compared literally.
const FIXED_TIMES: [&str; 3] = [
    "2009-11-10T23:00:00Z",
    "0001-01-01T00:00:00Z",
    "2024-01-12T10:39:20.886816Z",
];

static TIME: LazyLock<Regex> = LazyLock::new(|| {
    let clock = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?(Z|[+-]\d\d:\d\d)";
    pattern(&format!(r#""(created_at|time)":"({clock})""#))
});
static RANDOM: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#""(plaintext|ciphertext|hmac)":"([A-Za-z0-9+/]*=*)""#));
static VERSION: LazyLock<Regex> = LazyLock::new(|| pattern(r#""(version|commit|arch)":"[^"]+""#));
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#""(uptime|num_cpu|num_cpu_used|mem_heap_used|mem_stack_used|keystore_latency)":\d+"#)
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("pattern")
}

/// A JSON text without what differs between two runs.
pub(super) fn json(text: &str) -> String {
    let text = TIME.replace_all(text, |found: &Captures<'_>| {
        if FIXED_TIMES.contains(&&found[2]) {
            found[0].to_owned()
        } else {
            format!(r#""{}":"<time>""#, &found[1])
        }
    });
    let text = RANDOM.replace_all(&text, |found: &Captures<'_>| {
        let bytes = match found[2].len() % 4 {
            0 => decode_base64(&found[2]).len().to_string(),
            _ => "malformed".to_owned(),
        };
        format!(r#""{}":"<{bytes} bytes>""#, &found[1])
    });
    let text = VERSION.replace_all(&text, r#""$1":"<text>""#);
    NUMBER.replace_all(&text, r#""$1":<number>"#).into_owned()
}

/// The output of a command without what differs between two runs.
pub(super) fn output(text: &str) -> String {
    static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [
            (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<time>"),
            (r"(?m)^(\s*Version\s+)\S+", "$1<text>"),
            (r"(?m)^(\s*Uptime +)[^\n]*$", "$1<duration>"),
            (r"(?m)^(\s*Latency\s+)\S+", "$1<duration>"),
            (r"(?m)^(\s*OS\s+)\S+", "$1<text>"),
            (r"(?m)^(\s*CPUs\s+)\d+ \S+", "$1<number>"),
            (r"(?m)^(\s*· (Heap|Stack)\s+)\S+", "$1<size>"),
            (
                r"(?m)^(plaintext|ciphertext)(:\s+)[A-Za-z0-9+/]+=*",
                "$1$2<base64>",
            ),
        ]
        .into_iter()
        .map(|(rule, replacement)| (pattern(rule), replacement))
        .collect()
    });
    let mut text = json(text);
    for (rule, replacement) in RULES.iter() {
        text = rule.replace_all(&text, *replacement).into_owned();
    }
    text
}

/// Text without escape sequences and carriage returns.
pub(super) fn plain(text: &str) -> String {
    static ESCAPE: LazyLock<Regex> = LazyLock::new(|| pattern("\u{1b}\\[[0-9;?]*[A-Za-z]"));
    ESCAPE.replace_all(text, "").replace('\r', "")
}

/// The words of a text: colors, spacing and empty lines do not count.
pub(super) fn loose(text: &str) -> String {
    let text = output(&plain(text));
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn two_runs_of_the_same_answer_compare_equal() {
    let one = "{\"name\":\"k1\",\"created_at\":\"2026-11-22T01:13:01.436990199Z\"}\n";
    let two = "{\"name\":\"k1\",\"created_at\":\"2027-01-01T10:00:00+01:00\"}\n";
    assert_eq!(json(one), json(two));
    let fixed = r#"{"created_at":"2009-11-10T23:00:00Z"}"#;
    assert_eq!(json(fixed), fixed);
    // A trailing zero is not how times are written.
    let padded = r#"{"created_at":"2026-11-22T01:13:01.430Z"}"#;
    assert_eq!(json(padded), padded);
}

#[test]
fn random_values_keep_their_size() {
    assert_eq!(
        json(r#"{"plaintext":"AAAA"}"#),
        r#"{"plaintext":"<3 bytes>"}"#
    );
    assert_eq!(json(r#"{"plaintext":""}"#), r#"{"plaintext":"<0 bytes>"}"#);
}

#[test]
fn colors_and_spacing_do_not_count() {
    assert_eq!(
        loose("\u{1b}[1;2mRole  \u{1b}[0m  Admin\r\n\r\n"),
        "Role Admin"
    );
}

//! How recorded HTTP answers are compared, one function for each named check.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use regex_lite::Regex;
use serde_json::Value;

use super::http::Known;
use super::{differs, normalize, strings};
use crate::harness::certs::decode_base64;
use crate::harness::http::{End, Response};

/// Headers that must be as recorded, if recorded. (`connection: close` after a large body is left
/// to the server, and `transfer-encoding` is a matter of size.)
const HEADERS: [&str; 6] = [
    "content-type",
    "location",
    "accept",
    "allow",
    "x-content-type-options",
    "content-length",
];

/// What happened.
pub(super) struct Got {
    pub(super) answer: Result<Response, End>,
    pub(super) port: u16,
}

impl Got {
    fn end(&self) -> String {
        match &self.answer {
            Ok(_) => "response".to_owned(),
            Err(end) => end.to_string(),
        }
    }

    fn response(&self) -> Result<&Response, String> {
        self.answer
            .as_ref()
            .map_err(|end| format!("expected an answer\n    got {end}"))
    }
}

/// A recorded answer.
pub(super) fn response_of(recorded: &Value) -> Response {
    let headers = recorded["headers"].as_object().into_iter().flatten();
    Response {
        status: recorded["status"]
            .as_u64()
            .and_then(|s| s.try_into().ok())
            .unwrap_or_default(),
        headers: headers
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").to_owned()))
            .collect(),
        body: recorded["body"].as_str().unwrap_or("").as_bytes().to_vec(),
    }
}

/// Compares one answer as `expectation` says.
pub(super) fn compare(
    known: &Known,
    case: &Value,
    expectation: &Value,
    got: &Got,
) -> Result<(), String> {
    match expectation["check"].as_str() {
        Some("metrics") => metrics(&case["got"], got.response()?),
        Some("api") => api(&case["got"], got.response()?),
        Some("redirect") => redirect(case, expectation, got.response()?),
        Some("expect") => expected_members(expectation, got.response()?),
        Some("allow_header") => allow_header(expectation, got.response()?),
        Some("metric_delta") => metric_delta(known, expectation, got.response()?),
        Some(other) => Err(format!("unknown check {other}")),
        None if expectation["class"] == "exact" => exact(known, case, expectation, got),
        None => semantic(case, expectation, got),
    }
}

/// The same answer.
fn exact(known: &Known, case: &Value, expectation: &Value, got: &Got) -> Result<(), String> {
    let recorded = &case["got"];
    let end = recorded["end"].as_str().unwrap_or("response");
    if end != "response" || got.answer.is_err() {
        return if end == got.end() {
            Ok(())
        } else {
            Err(differs("end", end, got.end()))
        };
    }
    let response = got.response()?;
    same_status(recorded, response)?;
    let port = got.port.to_string();
    let body = recorded["body"]
        .as_str()
        .unwrap_or("")
        .replace("{PORT}", &port);
    match expectation["body"].as_str() {
        Some(literal) => {
            let literal = known.refer(literal);
            same_text("body", &literal, &response.text())?;
        }
        None => same_text(
            "body",
            &normalize::json(&body),
            &normalize::json(&response.text()),
        )?,
    }
    if recorded["headers"]["content-type"].is_null() {
        same_text(
            "content-type",
            "(absent)",
            response.header("content-type").unwrap_or("(absent)"),
        )?;
    }
    let varies = normalize::json(&body) != body;
    for (name, value) in recorded["headers"].as_object().into_iter().flatten() {
        if !HEADERS.contains(&name.as_str()) || (name == "content-length" && varies) {
            continue;
        }
        let value = value.as_str().unwrap_or("");
        same_text(name, value, response.header(name).unwrap_or("(absent)"))?;
    }
    Ok(())
}

fn same_status(recorded: &Value, response: &Response) -> Result<(), String> {
    if recorded["status"] == response.status {
        return Ok(());
    }
    let got = format!("{} {}", response.status, response.text());
    Err(differs("status", recorded["status"].to_string(), got))
}

fn same_text(what: &str, expected: &str, got: &str) -> Result<(), String> {
    if expected == got {
        Ok(())
    } else {
        Err(differs(what, expected, got))
    }
}

/// The same status (or one of those given) and the same body, unless it is to be ignored.
fn semantic(case: &Value, expectation: &Value, got: &Got) -> Result<(), String> {
    if expectation["end"].is_array() {
        let ends = strings(&expectation["end"]);
        return match ends.iter().any(|end| got.end().starts_with(end.as_str())) {
            true => Ok(()),
            false => Err(differs("end", ends.join(" or "), got.end())),
        };
    }
    let response = got.response()?;
    match expectation["status"].as_array() {
        Some(allowed) => allowed_status(allowed, response)?,
        None => same_status(&case["got"], response)?,
    }
    if expectation["body"] == "ignore" {
        return Ok(());
    }
    let body = case["got"]["body"].as_str().unwrap_or("");
    same_text(
        "body",
        &normalize::json(body),
        &normalize::json(&response.text()),
    )
}

fn allowed_status(allowed: &[Value], response: &Response) -> Result<(), String> {
    if allowed.iter().any(|status| *status == response.status) {
        return Ok(());
    }
    let allowed = Value::from(allowed.to_vec()).to_string();
    Err(differs(
        "status",
        allowed,
        format!("{} {}", response.status, response.text()),
    ))
}

/// The status, and at least these JSON members. An empty string stands for any text.
fn expected_members(expectation: &Value, response: &Response) -> Result<(), String> {
    if let Some(allowed) = expectation["status"].as_array() {
        allowed_status(allowed, response)?;
    }
    if expectation["json"].is_null() || contains(&expectation["json"], &response.json()) {
        return Ok(());
    }
    Err(differs(
        "members",
        expectation["json"].to_string(),
        response.text(),
    ))
}

fn contains(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Object(members), Value::Object(found)) => members
            .iter()
            .all(|(name, member)| found.get(name).is_some_and(|found| contains(member, found))),
        (Value::String(any), Value::String(_)) if any.is_empty() => true,
        _ => expected == got,
    }
}

/// A permanent redirect to the recorded place, or the target served at once.
fn redirect(case: &Value, expectation: &Value, response: &Response) -> Result<(), String> {
    let direct = expectation["direct"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if direct.iter().any(|status| *status == response.status) {
        return Ok(());
    }
    if !matches!(response.status, 301 | 307 | 308) {
        return Err(differs(
            "status",
            "301, 307 or 308",
            response.status.to_string(),
        ));
    }
    let place = case["got"]["headers"]["location"].as_str().unwrap_or("");
    same_text(
        "location",
        place,
        response.header("location").unwrap_or("(absent)"),
    )
}

/// RFC 9110: a 405 carries Allow.
fn allow_header(expectation: &Value, response: &Response) -> Result<(), String> {
    let allow = response.header("allow").unwrap_or("(absent)");
    let methods: Vec<&str> = allow.split(',').map(str::trim).collect();
    let wanted = strings(&expectation["methods"]);
    match wanted
        .iter()
        .all(|method| methods.contains(&method.as_str()))
    {
        true => Ok(()),
        false => Err(differs("allow", wanted.join(", "), allow)),
    }
}

/// Every recorded route with its limits; more routes are fine.
fn api(recorded: &Value, response: &Response) -> Result<(), String> {
    same_status(recorded, response)?;
    let body = recorded["body"].as_str().unwrap_or("");
    let expected: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let got = response.json();
    let found = got.as_array().map(Vec::as_slice).unwrap_or_default();
    let missing: Vec<String> = expected
        .as_array()
        .into_iter()
        .flatten()
        .filter(|route| !found.contains(route))
        .map(Value::to_string)
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(differs("routes", missing.join(" "), response.text())),
    }
}

/// What a metrics text declares: name → (type, help), and the bucket bounds.
fn families(text: &str) -> (HashMap<String, (String, String)>, BTreeSet<String>) {
    let mut families: HashMap<String, (String, String)> = HashMap::new();
    let mut bounds = BTreeSet::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            families.entry(name.to_owned()).or_default().1 = help.to_owned();
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            families.entry(name.to_owned()).or_default().0 = kind.to_owned();
        } else if let Some((_, rest)) = line.split_once("{le=") {
            bounds.insert(rest.split('}').next().unwrap_or("").to_owned());
        }
    }
    (families, bounds)
}

/// The samples of a metrics text by name and labels.
pub(super) fn samples(text: &str) -> HashMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// The same families with the same types, texts and buckets. Counters by status code are absent
/// until the first request, so they are only compared when both sides have them.
fn metrics(recorded: &Value, response: &Response) -> Result<(), String> {
    same_status(recorded, response)?;
    let kind = response.header("content-type").unwrap_or("(absent)");
    if !kind.starts_with("text/plain; version=0.0.4; charset=utf-8") {
        let expected = recorded["headers"]["content-type"].to_string();
        return Err(differs("content-type", expected, kind));
    }
    let (expected, bounds) = families(recorded["body"].as_str().unwrap_or(""));
    let text = response.text();
    let (got, got_bounds) = families(&text);
    let mut wrong = Vec::new();
    for (name, family) in &expected {
        match got.get(name) {
            Some(found) if found == family => {}
            None if name.starts_with("kes_http_request_") && name != "kes_http_request_active" => {}
            found => wrong.push(format!("{name}: expected {family:?} got {found:?}")),
        }
    }
    if bounds != got_bounds {
        wrong.push(format!("buckets: expected {bounds:?} got {got_bounds:?}"));
    }
    // The SDK refuses a family without labels that has no or several samples.
    for name in expected
        .keys()
        .filter(|name| !name.starts_with("kes_http_re"))
    {
        let count = text
            .lines()
            .filter(|line| line.starts_with(&format!("{name} ")))
            .count();
        if count != 1 {
            wrong.push(format!("{name}: expected one sample got {count}"));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n    "))
    }
}

fn metric_delta(known: &Known, expectation: &Value, response: &Response) -> Result<(), String> {
    let since = expectation["since"].as_str().unwrap_or("");
    let before = known
        .metrics
        .get(since)
        .ok_or_else(|| format!("no metrics {since}"))?;
    let after = samples(&response.text());
    let value = |samples: &HashMap<String, f64>, name: &str| *samples.get(name).unwrap_or(&0.0);
    for (name, delta) in expectation["delta"].as_object().into_iter().flatten() {
        let got = value(&after, name) - value(before, name);
        if Some(got) != delta.as_f64() {
            return Err(differs(name, delta.to_string(), got.to_string()));
        }
    }
    Ok(())
}

/// Each pattern matches one of the lines. (The patterns were written for JSON with a blank after
/// the colon, the lines have none.)
pub(super) fn lines(patterns: &[String], lines: &[String]) -> Result<(), String> {
    for pattern in patterns {
        let relaxed = pattern.replace("\": ", "\": ?");
        let rule = Regex::new(&relaxed).map_err(|error| error.to_string())?;
        if !lines.iter().any(|line| rule.is_match(line)) {
            return Err(differs("lines", pattern, lines.join("\n")));
        }
    }
    Ok(())
}

/// The head of a log stream.
pub(super) fn stream_head(expectation: &Value, head: &Result<Response, End>) -> Result<(), String> {
    let head = head
        .as_ref()
        .map_err(|end| format!("expected a head\n    got {end}"))?;
    if head.status != 200 {
        return Err(differs("status", "200", head.status.to_string()));
    }
    let kind = head.header("content-type").unwrap_or("(absent)");
    let allowed = strings(&expectation["content_type"]);
    match allowed.iter().any(|allowed| allowed == kind) {
        true => Ok(()),
        false => Err(differs("content-type", allowed.join(" or "), kind)),
    }
}

/// How many names a listing has, and which.
pub(super) fn page(recorded: &Value, answer: Result<Response, End>) -> Result<(), String> {
    let response = answer.map_err(|end| format!("expected a listing\n    got {end}"))?;
    same_status(recorded, &response)?;
    let json = response.json();
    let names = strings(&json["names"]);
    let got = serde_json::json!({
        "status": response.status,
        "names": names.len(),
        "first": names.first(),
        "last": names.last(),
        "continue_at": json["continue_at"],
    });
    if contains(recorded, &got) {
        Ok(())
    } else {
        Err(differs("listing", recorded.to_string(), got.to_string()))
    }
}

/// A stored key: base64 of a protobuf message with key and cipher, readable by the owner only.
pub(super) fn key_file(expectation: &Value, path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path:?}: {error}"))?;
    let mode = std::fs::metadata(path)
        .map_err(|error| error.to_string())?
        .permissions()
        .mode();
    if mode & 0o777 != 0o600 {
        return Err(differs("mode", "600", format!("{:o}", mode & 0o777)));
    }
    let message = decode_base64(text.trim_end());
    let fields = protobuf(&message).ok_or("not protobuf")?;
    let key = fields.iter().find(|field| field.0 == 1).ok_or("no key")?;
    let key = protobuf(&key.1).ok_or("no key message")?;
    let bytes = |number| {
        key.iter()
            .find(|field| field.0 == number)
            .map(|field| field.1.clone())
    };
    let kind = expectation["type"].as_u64();
    let got = bytes(2)
        .and_then(|bytes| bytes.first().copied())
        .map(u64::from);
    // A machine without AES instructions may make ChaCha20 keys.
    let own_choice = expectation["key"].is_null();
    if kind != got && !own_choice {
        return Err(differs("cipher", format!("{kind:?}"), format!("{got:?}")));
    }
    let material = bytes(1).unwrap_or_default();
    match expectation["key"].as_str() {
        Some(expected) if decode_base64(expected) != material => Err(differs(
            "key",
            expected,
            format!("{} other bytes", material.len()),
        )),
        _ if material.len() != 32 => Err(format!("a key of {} bytes", material.len())),
        _ if !fields.iter().any(|field| field.0 == 2) => Err("no HMAC key".to_owned()),
        _ => Ok(()),
    }
}

/// The fields of a protobuf message: number and bytes (a varint as its low byte).
fn protobuf(mut bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut fields = Vec::new();
    while let Some((tag, rest)) = bytes.split_first() {
        match tag & 7 {
            0 => {
                let end = rest.iter().position(|byte| byte & 0x80 == 0)?;
                fields.push((tag >> 3, vec![rest[0] & 0x7f]));
                bytes = &rest[end + 1..];
            }
            2 => {
                // All messages of a stored key are shorter than 128 bytes.
                let length = usize::from(*rest.first()?);
                fields.push((tag >> 3, rest.get(1..=length)?.to_vec()));
                bytes = &rest[length + 1..];
            }
            _ => return None,
        }
    }
    Some(fields)
}

/// The answers to bytes that were sent as they are.
pub(super) fn raw(
    case: &Value,
    responses: &[Response],
    end: &End,
    seconds: f64,
    hmac_of_nothing: &str,
) -> Result<(), String> {
    let name = case["name"].as_str().unwrap_or("");
    let expectation = &case["expectations"][name];
    let recorded = case["got"]["responses"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let said = || {
        responses
            .iter()
            .map(|r| format!("{} {}", r.status, r.text()))
            .collect::<Vec<_>>()
    };
    let ends = match expectation["end"].is_array() {
        true => strings(&expectation["end"]),
        false => vec![case["got"]["end"].as_str().unwrap_or("").to_owned()],
    };
    if !ends.contains(&end.to_string()) {
        let got = format!("{end} after {:?}", said());
        return Err(differs("end", ends.join(" or "), got));
    }
    if let Some([least, most]) = expectation["seconds"].as_array().map(Vec::as_slice) {
        let (least, most) = (least.as_f64().unwrap_or(0.0), most.as_f64().unwrap_or(0.0));
        if !(least..=most).contains(&seconds) {
            return Err(format!(
                "expected an end after {least} to {most} s, got {seconds:.1} s"
            ));
        }
    }
    if responses.is_empty() && expectation["none_ok"] == true {
        return Ok(());
    }
    if let Some(allowed) = expectation["status"].as_array() {
        if allowed.len() != responses.len() && !(allowed.is_empty() && responses.is_empty()) {
            return Err(differs(
                "answers",
                allowed.len().to_string(),
                format!("{:?}", said()),
            ));
        }
        for (allowed, response) in allowed.iter().zip(responses) {
            allowed_status(
                allowed.as_array().map(Vec::as_slice).unwrap_or_default(),
                response,
            )?;
        }
        return match responses.first() {
            // Whoever lets Transfer-Encoding win must have read the chunked body.
            Some(first) if name.ends_with("cl-and-te") && first.status == 200 => {
                same_text("body", hmac_of_nothing, &first.text())
            }
            _ => Ok(()),
        };
    }
    if recorded.len() != responses.len() {
        return Err(differs(
            "answers",
            recorded.len().to_string(),
            format!("{:?}", said()),
        ));
    }
    for (recorded, response) in recorded.iter().zip(responses) {
        same_status(recorded, response)?;
        let body = recorded["body"].as_str().unwrap_or("");
        same_text(
            "body",
            &normalize::json(body),
            &normalize::json(&response.text()),
        )?;
    }
    Ok(())
}

#[test]
fn members_may_be_more_and_empty_text_stands_for_any() {
    let expected = serde_json::json!({"message": "", "allow": {"/a": {}}});
    let got = serde_json::json!({"message": "x", "allow": {"/a": {}, "/b": {}}, "more": 1});
    assert!(contains(&expected, &got));
    assert!(!contains(&expected, &serde_json::json!({"message": "x"})));
}

#[test]
fn a_stored_key_is_taken_apart() {
    let stored = "CiQKIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fEAISJAogICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8QARoGCIDiz6oG";
    let fields = protobuf(&decode_base64(stored)).expect("message");
    assert_eq!(
        fields.iter().map(|field| field.0).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let key = protobuf(&fields[0].1).expect("key");
    assert_eq!(key[1], (2, vec![2]));
}

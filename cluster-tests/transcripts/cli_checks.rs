//! How recorded command lines are compared, one function for each named check.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::LazyLock;

use regex_lite::Regex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Version;

use super::{differs, normalize, strings};
use crate::harness::certs::{hex, identity_of_key, key_of_api_key};

/// What a command did. On a terminal everything is in `stdout`.
pub(super) struct Got {
    pub(super) exit: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) port: u16,
}

/// Members whose values differ between two runs; `uptime` is left out when it is zero.
const VOLATILE: [&str; 11] = [
    "version",
    "commit",
    "os",
    "arch",
    "uptime",
    "num_cpu",
    "num_cpu_used",
    "mem_heap_used",
    "mem_stack_used",
    "keystore_latency",
    "created_at",
];

/// Compares one command as `expectation` says; `fill` replaces placeholders.
pub(super) fn compare(
    case: &Value,
    expectation: &Value,
    got: &Got,
    fill: impl Fn(&str) -> String,
) -> Result<(), String> {
    let recorded = &case["got"];
    let stdout = fill(recorded["stdout"].as_str().unwrap_or(""));
    match expectation["check"].as_str() {
        // Help of every command ends with exit code 2, whatever was recorded.
        Some("help_text") => help_text(case, got),
        check => {
            exit_code(recorded, expectation, got)?;
            match check {
                Some("version_block") => all_in(&["Version".to_owned()], &got.stdout),
                Some("identity_new") => identity_new(case, got),
                Some("json_list") => json_list(&stdout, got),
                Some("identity_info") => all_in(&strings(&expectation["facts"]), &got.stdout),
                Some("any_order") => any_order(&stdout, got),
                Some("routes_json") => routes_json(&stdout, got),
                Some("metric_lines") => metric_lines(&stdout, got),
                Some("log_lines") => all_in(&strings(&expectation["match"]), &got.stdout),
                Some("banner") => banner(expectation, got, fill),
                Some("words") => words(&stdout, expectation, got),
                Some("name_count") => name_count(expectation, got),
                None | Some("cli_semantic") if expectation["class"] != "exact" => {
                    semantic(recorded, expectation, got, fill)
                }
                None => exact(recorded, expectation, got, fill),
                Some(other) => Err(format!("unknown check {other}")),
            }
        }
    }
}

fn exit_code(recorded: &Value, expectation: &Value, got: &Got) -> Result<(), String> {
    let allowed = match expectation["exit"].as_array() {
        Some(allowed) => allowed.clone(),
        None => vec![recorded["exit"].clone()],
    };
    let code = got.exit.map_or(Value::Null, Value::from);
    if allowed.contains(&code) {
        return Ok(());
    }
    let allowed = Value::from(allowed).to_string();
    let got = format!("{code}, stdout {:?}, stderr {:?}", got.stdout, got.stderr);
    Err(differs("exit", allowed, got))
}

fn exact(
    recorded: &Value,
    expectation: &Value,
    got: &Got,
    fill: impl Fn(&str) -> String,
) -> Result<(), String> {
    for (stream, text) in [("stdout", &got.stdout), ("stderr", &got.stderr)] {
        let (expected, text) = match expectation[stream].as_str() {
            Some(literal) => (fill(literal), text.clone()),
            None => {
                let expected = fill(recorded[stream].as_str().unwrap_or(""));
                (normalize::output(&expected), normalize::output(text))
            }
        };
        if expected != text {
            return Err(differs(stream, expected, text));
        }
    }
    Ok(())
}

/// The same words, or what the expectation says of a stream.
fn semantic(
    recorded: &Value,
    expectation: &Value,
    got: &Got,
    fill: impl Fn(&str) -> String,
) -> Result<(), String> {
    for (stream, text) in [("stdout", &got.stdout), ("stderr", &got.stderr)] {
        match &expectation[stream] {
            Value::String(_) => {}
            Value::Array(_) => all_in(&strings(&expectation[stream]), text)?,
            Value::Object(rules) => {
                let text = normalize::plain(text);
                for rule in strings(&rules["match"]) {
                    let pattern = Regex::new(&rule).map_err(|error| error.to_string())?;
                    if !pattern.is_match(&text) {
                        return Err(differs(stream, rule, text));
                    }
                }
            }
            _ => {
                let expected = fill(recorded[stream].as_str().unwrap_or(""));
                same_words(stream, &expected, text)?;
            }
        }
    }
    Ok(())
}

/// The same text but for colors and spacing; or JSON with at least the recorded members.
fn same_words(stream: &str, expected: &str, got: &str) -> Result<(), String> {
    let json: Result<Value, _> = serde_json::from_str(&normalize::plain(expected));
    if let Ok(json @ Value::Object(_)) = json {
        let found = serde_json::from_str(&normalize::plain(got)).unwrap_or_default();
        return match has_members(&json, &found) {
            true => Ok(()),
            false => Err(differs(stream, expected, got)),
        };
    }
    match normalize::loose(expected) == normalize::loose(got) {
        true => Ok(()),
        false => Err(differs(stream, expected, got)),
    }
}

fn has_members(expected: &Value, got: &Value) -> bool {
    let members = expected.as_object().into_iter().flatten();
    got.is_object()
        && members
            .into_iter()
            .all(|(name, value)| match got.get(name) {
                Some(found) if VOLATILE.contains(&name.as_str()) => {
                    std::mem::discriminant(found) == std::mem::discriminant(value)
                }
                Some(found) => found == value,
                None => name == "uptime",
            })
}

fn all_in(parts: &[String], text: &str) -> Result<(), String> {
    let text = normalize::plain(text);
    match parts.iter().find(|part| !text.contains(part.as_str())) {
        None => Ok(()),
        Some(part) => Err(differs("output", part, text)),
    }
}

fn help_text(case: &Value, got: &Got) -> Result<(), String> {
    if got.exit != Some(2) {
        let shown = format!("{:?}, {:?} {:?}", got.exit, got.stdout, got.stderr);
        return Err(differs("exit", "2", shown));
    }
    let terminal = case["tty"] == true;
    if !terminal && !got.stdout.is_empty() {
        return Err(differs("stdout", "", &got.stdout));
    }
    let text = normalize::plain(if terminal { &got.stdout } else { &got.stderr });
    let words = strings(&case["args"]);
    let words = words
        .iter()
        .filter(|word| !word.starts_with('-'))
        .map(String::as_str);
    let usage = ["kes"]
        .into_iter()
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ");
    match text.to_lowercase().contains("usage") && text.contains(&usage) {
        true => Ok(()),
        false => Err(differs("help", format!("usage … {usage}"), text)),
    }
}

/// A new API key, its identity and the files that were written.
fn identity_new(case: &Value, got: &Got) -> Result<(), String> {
    static KEY: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("kes:v1:[A-Za-z0-9+/]{44}").expect("pattern"));
    let text = normalize::plain(&got.stdout);
    let key = KEY
        .find(&text)
        .ok_or_else(|| differs("output", "an API key", &text))?;
    let mut parts = vec![identity_of_key(&key_of_api_key(key.as_str()))];
    let args = strings(&case["args"]);
    for flag in ["--key", "--cert"] {
        let value = args.iter().skip_while(|arg| *arg != flag).nth(1);
        parts.extend(value.cloned());
    }
    all_in(&parts, &text)
}

/// The first JSON value of a text.
fn first_json(text: &str) -> Value {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    values
        .next()
        .and_then(Result::ok)
        .unwrap_or(Value::String("no JSON".to_owned()))
}

fn json_list(recorded: &str, got: &Got) -> Result<(), String> {
    match first_json(recorded) == first_json(&got.stdout) {
        true => Ok(()),
        false => Err(differs("list", recorded, &got.stdout)),
    }
}

fn any_order(recorded: &str, got: &Got) -> Result<(), String> {
    let text = normalize::loose(&got.stdout);
    let lines: Vec<&str> = text.lines().collect();
    let recorded = normalize::loose(recorded);
    match recorded.lines().find(|line| !lines.contains(line)) {
        None => Ok(()),
        Some(line) => Err(differs("lines", line, text)),
    }
}

fn routes_json(recorded: &str, got: &Got) -> Result<(), String> {
    let (recorded, found) = (first_json(recorded), first_json(&got.stdout));
    let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
    match recorded
        .as_array()
        .into_iter()
        .flatten()
        .find(|route| !found.contains(route))
    {
        None => Ok(()),
        Some(route) => Err(differs("routes", route.to_string(), &got.stdout)),
    }
}

fn metric_lines(recorded: &str, got: &Got) -> Result<(), String> {
    let recorded = first_json(recorded);
    let mut count = 0;
    for line in got.stdout.lines() {
        let found: Value =
            serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        let members = recorded.as_object().into_iter().flatten();
        for (name, value) in members {
            let same = match (value, &found[name]) {
                (Value::Object(buckets), Value::Object(got)) => buckets.keys().eq(got.keys()),
                (Value::Number(_), Value::Number(_)) => true,
                _ => false,
            };
            if !same {
                return Err(differs(name, value.to_string(), line));
            }
        }
        count += 1;
    }
    if count >= 2 {
        Ok(())
    } else {
        Err(format!("expected two lines, got {:?}", got.stdout))
    }
}

/// The start-up text. Scripts take the third word of the line `API Key`.
fn banner(expectation: &Value, got: &Got, fill: impl Fn(&str) -> String) -> Result<(), String> {
    let text = normalize::plain(&got.stdout);
    let parts: Vec<String> = strings(&expectation["contains"])
        .iter()
        .map(|p| fill(p))
        .collect();
    all_in(&parts, &text)?;
    let line = text
        .lines()
        .find(|line| line.contains("API Key"))
        .unwrap_or("");
    let key = line.split_whitespace().nth(2).unwrap_or("");
    if key.len() != 51 || !key.starts_with("kes:v1:A") {
        return Err(differs("third word of 'API Key'", "an API key", line));
    }
    let identity = identity_of_key(&key_of_api_key(key));
    all_in(
        &[identity, "=> Server is up and running...".to_owned()],
        &text,
    )?;
    all_in(&strings(&expectation["stderr"]), &got.stderr)
}

fn words(recorded: &str, expectation: &Value, got: &Got) -> Result<(), String> {
    let stale = strings(&expectation["stale"]);
    let found: Vec<&str> = got.stdout.split_whitespace().collect();
    let mut wanted = recorded
        .split_whitespace()
        .filter(|word| !stale.iter().any(|s| s == word));
    match wanted.find(|word| !found.contains(word)) {
        None => Ok(()),
        Some(word) => Err(differs("completion", word, &got.stdout)),
    }
}

fn name_count(expectation: &Value, got: &Got) -> Result<(), String> {
    let names = first_json(&got.stdout).as_array().map_or(0, Vec::len);
    match expectation["names"] == names {
        true => Ok(()),
        false => Err(differs(
            "names",
            expectation["names"].to_string(),
            names.to_string(),
        )),
    }
}

/// A file that a command wrote.
pub(super) fn file(case: &Value, path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path:?}: {error}"))?;
    let name = case["name"].as_str().unwrap_or("");
    match case["expectations"][name]["check"].as_str() {
        Some("pem") => {
            let mode = std::fs::metadata(path)
                .map_err(|e| e.to_string())?
                .permissions()
                .mode();
            let pkcs8 = matches!(
                PrivateKeyDer::from_pem_slice(text.as_bytes()),
                // 48 bytes: PKCS#8 version 1 of an Ed25519 key.
                Ok(PrivateKeyDer::Pkcs8(key)) if key.secret_pkcs8_der().len() == 48
            );
            let got = format!("mode {:o}, Ed25519 in PKCS#8: {pkcs8}", mode & 0o777);
            let expected = "mode 600, Ed25519 in PKCS#8: true";
            if got == expected {
                Ok(())
            } else {
                Err(differs("key file", expected, got))
            }
        }
        Some("x509") => x509(case["got"]["text"].as_str().unwrap_or(""), &text),
        other => Err(format!("unknown check {other:?}")),
    }
}

/// Facts of a certificate in the order of the recorded text.
fn x509(recorded: &str, pem: &str) -> Result<(), String> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| e.to_string())?;
    let (_, cert) = x509_parser::parse_x509_certificate(&der).map_err(|e| e.to_string())?;
    let identity = hex(&Sha256::digest(cert.public_key().raw));
    let name = if recorded.contains("Subject: CN = srv") {
        "srv".to_owned()
    } else {
        identity
    };
    let days = (cert.validity().not_after.timestamp() - cert.validity().not_before.timestamp())
        / (24 * 60 * 60);
    let usage = cert.key_usage().map_err(|e| e.to_string())?;
    let extended = cert.extended_key_usage().map_err(|e| e.to_string())?;
    let basic = cert.basic_constraints().map_err(|e| e.to_string())?;
    let names: Vec<String> = cert
        .subject_alternative_name()
        .map_err(|e| e.to_string())?
        .map(|extension| {
            extension
                .value
                .general_names
                .iter()
                .map(general_name)
                .collect()
        })
        .unwrap_or_default();
    let got = format!(
        "v3 {} Ed25519 {} CN {} issuer {} days {days} usage {:?} client {} server {} ca {:?} names {names:?}",
        cert.version() == X509Version::V3,
        cert.signature_algorithm.algorithm.to_id_string() == "1.3.101.112",
        cert.subject(),
        cert.issuer(),
        usage.map(|usage| (usage.critical, usage.value.flags)),
        extended
            .as_ref()
            .is_some_and(|usage| usage.value.client_auth),
        extended
            .as_ref()
            .is_some_and(|usage| usage.value.server_auth),
        basic.map(|basic| (basic.critical, basic.value.ca)),
    );
    let names = match recorded.contains("DNS:localhost, IP Address:127.0.0.1") {
        true => "[\"localhost\", \"127.0.0.1\"]",
        false => "[]",
    };
    let expected = format!(
        "v3 true Ed25519 true CN CN={name} issuer CN={name} days 30 usage Some((true, 1)) client true server true ca Some((true, false)) names {names}",
    );
    if got == expected {
        Ok(())
    } else {
        Err(differs("certificate", expected, got))
    }
}

fn general_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress([a, b, c, d]) => format!("{a}.{b}.{c}.{d}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn json_may_have_more_members() {
    let recorded = r#"{"name":"a","created_at":"2026-11-22T01:09:13.1Z"}"#;
    let got = r#"{"name":"a","algorithm":"AES256","created_at":"2027-11-22T01:09:13Z"}"#;
    assert_eq!(same_words("stdout", recorded, got), Ok(()));
    assert!(same_words("stdout", recorded, r#"{"name":"b","created_at":"x"}"#).is_err());
    assert!(same_words("stdout", recorded, "").is_err());
}

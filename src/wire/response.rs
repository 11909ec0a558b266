//! Answers: what the server writes and the client reads. Members stand in the order of the original.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::base64;

/// `GET /version`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Version {
    /// Version of the server.
    pub version: String,
    /// Commit it was built from.
    pub commit: String,
}

/// `GET /v1/status`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Status {
    /// Version of the server.
    pub version: String,
    /// Operating system, in Go's spelling.
    pub os: String,
    /// Processor architecture, in Go's spelling.
    pub arch: String,
    /// Seconds.
    pub uptime: u64,
    /// Logical processors.
    pub num_cpu: u64,
    /// Usable processors.
    pub num_cpu_used: u64,
    /// Bytes.
    pub mem_heap_used: u64,
    /// Bytes.
    pub mem_stack_used: u64,
    /// Milliseconds, at least 1 if the keystore answers; zero if it does not.
    #[serde(skip_serializing_if = "is_zero")]
    pub keystore_latency: u64,
    /// The keystore does not work. SDKs want it whenever the next is true.
    #[serde(skip_serializing_if = "is_false")]
    pub keystore_unavailable: bool,
    /// The keystore cannot be reached.
    #[serde(skip_serializing_if = "is_false")]
    pub keystore_unreachable: bool,
}

/// One route of `GET /v1/api`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct Route {
    /// Method.
    pub method: String,
    /// Path, with a final slash if an argument follows.
    pub path: String,
    /// Largest body, bytes.
    pub max_body: u64,
    /// Seconds; zero: none.
    pub timeout: u64,
}

/// `GET /v1/key/describe/`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct DescribeKey {
    /// Name.
    pub name: String,
    /// `AES256` or `ChaCha20`.
    pub algorithm: String,
    /// RFC 3339.
    pub created_at: String,
    /// Identity of the creator; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
}

/// `GET /v1/key/list/`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct ListKeys {
    /// Sorted.
    #[serde(deserialize_with = "null_is_empty")]
    pub names: Vec<String>,
    /// Pattern of the next request, if this is not all.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub continue_at: String,
}

/// `GET /v1/policy/list/`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct ListPolicies {
    /// Sorted.
    #[serde(deserialize_with = "null_is_empty")]
    pub names: Vec<String>,
    /// Always empty.
    pub continue_at: String,
}

/// `GET /v1/identity/list/`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct ListIdentities {
    /// Sorted.
    #[serde(deserialize_with = "null_is_empty")]
    pub identities: Vec<String>,
    /// Always empty.
    pub continue_at: String,
}

/// A rule of a policy; the pattern is the member's name.
#[derive(Clone, Copy, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
pub struct Rule {}

/// `GET /v1/policy/describe/`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct DescribePolicy {
    /// Name.
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
    /// The admin's identity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
}

/// `GET /v1/policy/read/`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct ReadPolicy {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Patterns that are allowed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub allow: BTreeMap<String, Rule>,
    /// Patterns that are denied.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub deny: BTreeMap<String, Rule>,
    /// RFC 3339.
    pub created_at: String,
    /// The admin's identity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
}

/// `GET /v1/identity/describe/`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct DescribeIdentity {
    /// Whether it is the admin.
    #[serde(skip_serializing_if = "is_false")]
    pub admin: bool,
    /// Name of its policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// RFC 3339.
    pub created_at: String,
    /// The admin's identity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
}

/// `GET /v1/identity/self/describe`.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
#[serde(default)]
pub struct DescribeSelf {
    /// The caller.
    pub identity: String,
    /// Whether it is the admin.
    #[serde(skip_serializing_if = "is_false")]
    pub admin: bool,
    /// RFC 3339.
    pub created_at: String,
    /// The admin's identity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Name of its policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// Patterns that are allowed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub allow: BTreeMap<String, Rule>,
    /// Patterns that are denied.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub deny: BTreeMap<String, Rule>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Go writes an empty list as `null` sometimes.
fn null_is_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// The answer of generate. Hot path: written at once into a buffer of the right size, which the
/// caller wipes.
pub fn data_key(plaintext: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    members(&[("{\"plaintext\":\"", plaintext), ("\",\"ciphertext\":\"", ciphertext)])
}

/// The answer of encrypt.
pub fn ciphertext(ciphertext: &[u8]) -> Vec<u8> {
    members(&[("{\"ciphertext\":\"", ciphertext)])
}

/// The answer of decrypt; the caller wipes it.
pub fn plaintext(plaintext: &[u8]) -> Vec<u8> {
    members(&[("{\"plaintext\":\"", plaintext)])
}

/// The answer of HMAC.
pub fn hmac(sum: &[u8]) -> Vec<u8> {
    members(&[("{\"hmac\":\"", sum)])
}

/// Base64 needs no escapes: members are written as they are.
fn members(members: &[(&str, &[u8])]) -> Vec<u8> {
    let length: usize =
        members.iter().map(|(name, bytes)| name.len() + bytes.len().div_ceil(3) * 4).sum();
    let mut json = String::with_capacity(length + 3);
    for (name, bytes) in members {
        json.push_str(name);
        base64::encode_into(bytes, &mut json);
    }
    json.push_str("\"}\n");
    json.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::to_go_json;

    #[test]
    fn crypto_answers_are_compact_and_end_with_a_line_break() {
        assert_eq!(
            data_key(b"hi", b"x"),
            b"{\"plaintext\":\"aGk=\",\"ciphertext\":\"eA==\"}\n"
        );
        assert_eq!(plaintext(b""), b"{\"plaintext\":\"\"}\n");
        assert_eq!(hmac(b"hi"), b"{\"hmac\":\"aGk=\"}\n");
        let long = vec![7_u8; 1000];
        assert_eq!(ciphertext(&long).capacity(), ciphertext(&long).len());
    }

    #[test]
    fn members_stand_in_order_and_empty_ones_are_left_out() {
        let text = |json: Vec<u8>| String::from_utf8(json).expect("UTF-8");
        assert_eq!(text(to_go_json(&ListKeys::default())), "{\"names\":[]}\n");
        assert_eq!(
            text(to_go_json(&ListPolicies::default())),
            "{\"names\":[],\"continue_at\":\"\"}\n"
        );
        let status = Status { keystore_unavailable: true, ..Status::default() };
        assert!(text(to_go_json(&status)).ends_with("\"keystore_unavailable\":true}\n"));
        let read: ListKeys = serde_json::from_str("{\"names\":null}").expect("a listing");
        assert!(read.names.is_empty());
    }
}

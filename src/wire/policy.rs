//! The answers about policies: `/v1/policy/describe/`, `/v1/policy/read/` and `/v1/policy/list/`.

use std::collections::{BTreeMap, BTreeSet};

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lenient::{or_default, zero_time};
use super::status::reader;

/// The patterns of a policy: on the wire an object with the patterns as names, sorted, and empty objects
/// as values. Servers before 2023-10 wrote an array of strings, which is read as well.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Patterns(pub BTreeSet<String>);

/// The answer of `/v1/policy/describe/`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PolicyDescription {
    /// Name of the policy.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// RFC 3339, in the time zone of the server.
    #[serde(default = "zero_time")]
    pub created_at: String,
    /// The identity of the admin; left out if empty.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub created_by: String,
}

/// The answer of `/v1/policy/read/`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PolicyResponse {
    /// Name of the policy; servers before 2023-10 do not say.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// What is allowed, unless denied; left out if empty.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub allow: Patterns,
    /// What is denied; left out if empty.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub deny: Patterns,
    /// RFC 3339, in the time zone of the server.
    #[serde(default = "zero_time")]
    pub created_at: String,
    /// The identity of the admin; left out if empty.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub created_by: String,
}

/// The answer of `/v1/policy/list/`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PolicyList {
    /// Names, sorted bytewise.
    #[serde(default, deserialize_with = "or_default")]
    pub names: Vec<String>,
    /// Always there, and always empty: policies come in one page.
    #[serde(default, deserialize_with = "or_default")]
    pub continue_at: String,
}

reader!(parse_policy_description -> PolicyDescription, "/v1/policy/describe/");
reader!(parse_policy -> PolicyResponse, "/v1/policy/read/");
reader!(parse_policy_list -> PolicyList, "/v1/policy/list/");

impl Patterns {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Into<String>> FromIterator<T> for Patterns {
    fn from_iter<I: IntoIterator<Item = T>>(patterns: I) -> Self {
        Self(patterns.into_iter().map(Into::into).collect())
    }
}

impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for pattern in &self.0 {
            map.serialize_entry(pattern, &Rule {})?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Shape {
            Object(BTreeMap<String, serde::de::IgnoredAny>),
            Array(BTreeSet<String>),
        }
        Ok(match Option::deserialize(value)? {
            None => Self::default(),
            Some(Shape::Object(rules)) => rules.into_keys().collect(),
            Some(Shape::Array(patterns)) => Self(patterns),
        })
    }
}

/// What a pattern stands for: nothing more than itself.
#[derive(Serialize)]
struct Rule {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::go_json::to_go_json;

    fn policy() -> PolicyResponse {
        PolicyResponse {
            name: "app".to_owned(),
            allow: ["/v1/key/list/*", "/v1/key/create/app*"]
                .into_iter()
                .collect(),
            deny: ["/v1/key/create/app-internal*"].into_iter().collect(),
            created_at: "2024-01-12T11:39:20.886816123+01:00".to_owned(),
            created_by: "3ecf".to_owned(),
        }
    }

    #[test]
    fn a_policy_is_written_as_documented() {
        let expected = "{\"name\":\"app\",\"allow\":{\"/v1/key/create/app*\":{},\
            \"/v1/key/list/*\":{}},\"deny\":{\"/v1/key/create/app-internal*\":{}},\
            \"created_at\":\"2024-01-12T11:39:20.886816123+01:00\",\"created_by\":\"3ecf\"}\n";
        assert_eq!(to_go_json(&policy()), expected.as_bytes());
        assert_eq!(parse_policy(expected.as_bytes()).expect("JSON"), policy());
    }

    #[test]
    fn sets_without_patterns_are_left_out() {
        let empty = PolicyResponse {
            allow: Patterns::default(),
            deny: Patterns::default(),
            created_at: "t".to_owned(),
            ..policy()
        };
        let expected = b"{\"name\":\"app\",\"created_at\":\"t\",\"created_by\":\"3ecf\"}\n";
        assert_eq!(to_go_json(&empty), expected);
    }

    #[test]
    fn the_arrays_of_older_servers_are_read() {
        let body = br#"{"allow":["/v1/a","/v1/b"],"deny":null}"#;
        let read = parse_policy(body).expect("JSON");
        assert_eq!(read.allow, ["/v1/a", "/v1/b"].into_iter().collect());
        assert!(read.deny.is_empty());
    }

    #[test]
    fn descriptions_and_lists_are_written_as_documented() {
        let description = PolicyDescription {
            name: "app".to_owned(),
            created_at: "t".to_owned(),
            created_by: "disabled".to_owned(),
        };
        let expected = b"{\"name\":\"app\",\"created_at\":\"t\",\"created_by\":\"disabled\"}\n";
        assert_eq!(to_go_json(&description), expected);
        assert_eq!(
            parse_policy_description(expected).expect("JSON"),
            description
        );
        let list = PolicyList {
            names: vec!["app".to_owned()],
            continue_at: String::new(),
        };
        let expected = b"{\"names\":[\"app\"],\"continue_at\":\"\"}\n";
        assert_eq!(to_go_json(&list), expected);
        assert_eq!(parse_policy_list(expected).expect("JSON"), list);
    }
}

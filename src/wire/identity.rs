//! The answers about identities: `/v1/identity/describe/`, `/v1/identity/self/describe` and
//! `/v1/identity/list/`.

use serde::{Deserialize, Deserializer, Serialize};

use super::lenient::{is_false, or_default, zero_time};
use super::policy::{Patterns, PolicyResponse};
use super::status::reader;

/// The answer of `/v1/identity/describe/`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IdentityDescription {
    /// Whether it is the admin; left out if not.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_false"
    )]
    pub admin: bool,
    /// Name of its policy; left out if empty.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub policy: String,
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

/// The answer of `/v1/identity/self/describe`.
///
/// Three shapes are read, but only one is written: other servers have the policy as an object, with or
/// without its name in it, in place of the members `policy`, `allow` and `deny`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "SelfShape")]
pub struct SelfDescription {
    /// The caller.
    pub identity: String,
    /// Whether it is the admin; left out if not.
    #[serde(skip_serializing_if = "is_false")]
    pub admin: bool,
    /// RFC 3339, in the time zone of the server.
    pub created_at: String,
    /// The identity of the admin; left out if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// Name of its policy; left out if empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// What the policy allows; left out if empty.
    #[serde(skip_serializing_if = "Patterns::is_empty")]
    pub allow: Patterns,
    /// What the policy denies; left out if empty.
    #[serde(skip_serializing_if = "Patterns::is_empty")]
    pub deny: Patterns,
}

/// The answer of `/v1/identity/list/`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct IdentityList {
    /// Identities, sorted bytewise.
    #[serde(default, deserialize_with = "or_default")]
    pub identities: Vec<String>,
    /// Always there, and always empty: identities come in one page.
    #[serde(default, deserialize_with = "or_default")]
    pub continue_at: String,
}

reader!(parse_identity_description -> IdentityDescription, "/v1/identity/describe/");
reader!(parse_self_description -> SelfDescription, "/v1/identity/self/describe");
reader!(parse_identity_list -> IdentityList, "/v1/identity/list/");

/// All shapes of [`SelfDescription`] in one.
#[derive(Deserialize)]
struct SelfShape {
    #[serde(default, deserialize_with = "or_default")]
    identity: String,
    #[serde(default, deserialize_with = "or_default")]
    admin: bool,
    #[serde(default = "zero_time")]
    created_at: String,
    #[serde(default, deserialize_with = "or_default")]
    created_by: String,
    #[serde(default, deserialize_with = "or_default")]
    policy_name: String,
    #[serde(default, deserialize_with = "policy")]
    policy: Option<PolicyShape>,
    #[serde(default)]
    allow: Patterns,
    #[serde(default)]
    deny: Patterns,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PolicyShape {
    Name(String),
    Whole(Box<PolicyResponse>),
}

fn policy<'de, D: Deserializer<'de>>(value: D) -> Result<Option<PolicyShape>, D::Error> {
    Option::deserialize(value)
}

impl From<SelfShape> for SelfDescription {
    fn from(shape: SelfShape) -> Self {
        let (name, allow, deny) = match shape.policy {
            None => (shape.policy_name, shape.allow, shape.deny),
            Some(PolicyShape::Name(name)) => (name, shape.allow, shape.deny),
            Some(PolicyShape::Whole(policy)) if policy.name.is_empty() => {
                (shape.policy_name, policy.allow, policy.deny)
            }
            Some(PolicyShape::Whole(policy)) => (policy.name, policy.allow, policy.deny),
        };
        Self {
            identity: shape.identity,
            admin: shape.admin,
            created_at: shape.created_at,
            created_by: shape.created_by,
            policy: name,
            allow,
            deny,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::go_json::to_go_json;

    fn app() -> SelfDescription {
        SelfDescription {
            identity: "ea98".to_owned(),
            admin: false,
            created_at: "t".to_owned(),
            created_by: "3ecf".to_owned(),
            policy: "app".to_owned(),
            allow: ["/v1/a"].into_iter().collect(),
            deny: Patterns::default(),
        }
    }

    #[test]
    fn a_description_is_written_as_documented() {
        let admin = IdentityDescription {
            admin: true,
            policy: String::new(),
            created_at: "t".to_owned(),
            created_by: String::new(),
        };
        let expected = b"{\"admin\":true,\"created_at\":\"t\"}\n";
        assert_eq!(to_go_json(&admin), expected);
        assert_eq!(parse_identity_description(expected).expect("JSON"), admin);
        let other = IdentityDescription {
            admin: false,
            policy: "app".to_owned(),
            created_by: "3ecf".to_owned(),
            ..admin
        };
        let expected = b"{\"policy\":\"app\",\"created_at\":\"t\",\"created_by\":\"3ecf\"}\n";
        assert_eq!(to_go_json(&other), expected);
        assert_eq!(parse_identity_description(expected).expect("JSON"), other);
    }

    #[test]
    fn a_self_description_is_written_as_documented() {
        let expected = b"{\"identity\":\"ea98\",\"created_at\":\"t\",\"created_by\":\"3ecf\",\
            \"policy\":\"app\",\"allow\":{\"/v1/a\":{}}}\n";
        assert_eq!(to_go_json(&app()), expected);
        assert_eq!(parse_self_description(expected).expect("JSON"), app());
        let admin = SelfDescription {
            admin: true,
            created_by: String::new(),
            policy: String::new(),
            allow: Patterns::default(),
            ..app()
        };
        let expected = b"{\"identity\":\"ea98\",\"admin\":true,\"created_at\":\"t\"}\n";
        assert_eq!(to_go_json(&admin), expected);
        assert_eq!(parse_self_description(expected).expect("JSON"), admin);
    }

    #[test]
    fn a_self_description_of_another_server_is_read() {
        for body in [
            r#"{"identity":"ea98","created_at":"t","created_by":"3ecf",
                "policy":{"name":"app","allow":{"/v1/a":{}},"created_at":"u"}}"#,
            r#"{"identity":"ea98","created_at":"t","created_by":"3ecf","policy_name":"app",
                "policy":{"allow":["/v1/a"],"created_at":"u"},"ttl":"1h","children":[]}"#,
        ] {
            assert_eq!(parse_self_description(body.as_bytes()).expect(body), app());
        }
    }

    #[test]
    fn a_list_is_written_as_documented() {
        let list = IdentityList {
            identities: vec!["3ecf".to_owned()],
            continue_at: String::new(),
        };
        let expected = b"{\"identities\":[\"3ecf\"],\"continue_at\":\"\"}\n";
        assert_eq!(to_go_json(&list), expected);
        assert_eq!(parse_identity_list(expected).expect("JSON"), list);
    }
}

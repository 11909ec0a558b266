//! The bodies of `/v1/policy/write/` and `/v1/policy/assign/`: parsers for the server, writers for
//! the client. Leniency is that of [`super::request`]: clients of before 2023-10 capitalize members.

use serde::Serialize;
use serde::de::MapAccess;

use super::go_json::to_go_json;
use super::object::{self, Members, is};
use super::policy::Patterns;
use super::request::InvalidBody;

/// The body of `/v1/policy/write/`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PolicyRequest {
    /// What is allowed, unless denied.
    pub allow: Patterns,
    /// What is denied.
    pub deny: Patterns,
}

/// The body of `/v1/policy/assign/`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AssignRequest {
    /// Whom to put under the policy; empty if nobody is named.
    pub identity: String,
}

/// Parses the body of a policy; its patterns are an array, or an object with the patterns as names.
///
/// # Errors
///
/// [`InvalidBody`] if it is empty, not JSON, or a member has a value of the wrong type.
pub fn parse_policy_request(body: &[u8]) -> Result<PolicyRequest, InvalidBody> {
    object::parse(body).map_err(|_| InvalidBody)
}

/// Parses the body of an assignment.
///
/// # Errors
///
/// As [`parse_policy_request`].
pub fn parse_assign_request(body: &[u8]) -> Result<AssignRequest, InvalidBody> {
    object::parse(body).map_err(|_| InvalidBody)
}

/// Writes the body of a policy: with arrays, which every server takes that ever had the route.
pub fn policy_request(request: &PolicyRequest) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        allow: Vec<&'a String>,
        deny: Vec<&'a String>,
    }
    to_go_json(&Body {
        allow: request.allow.0.iter().collect(),
        deny: request.deny.0.iter().collect(),
    })
}

/// Writes the body of an assignment.
pub fn assign_request(identity: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        identity: &'a str,
    }
    to_go_json(&Body { identity })
}

impl<'de> Members<'de> for PolicyRequest {
    fn read<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        if is(name, "allow") {
            self.allow = map.next_value()?;
        } else if is(name, "deny") {
            self.deny = map.next_value()?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl<'de> Members<'de> for AssignRequest {
    fn read<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        let known = is(name, "identity");
        if known {
            self.identity = object::text(map)?;
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(allow: &[&str], deny: &[&str]) -> PolicyRequest {
        PolicyRequest {
            allow: allow.iter().copied().collect(),
            deny: deny.iter().copied().collect(),
        }
    }

    #[test]
    fn every_shape_of_a_policy_is_read() {
        let expected = request(&["/v1/a", "/v1/b"], &[]);
        for body in [
            r#"{"allow":["/v1/b","/v1/a"],"deny":[]}"#,
            r#"{"allow":{"/v1/a":{},"/v1/b":{}}}"#,
            r#"{"Allow":["/v1/a","/v1/b"],"Deny":null,"Info":{"name":"","created_at":"0001-01-01T00:00:00Z"}}"#,
            r#"{"ALLOW":["/v1/c"],"allow":["/v1/a","/v1/b","/v1/a"]} trailing"#,
        ] {
            let read = parse_policy_request(body.as_bytes()).expect(body);
            assert_eq!(read, expected, "{body}");
        }
        for body in ["null", "{}", r#"{"allow":null}"#] {
            let read = parse_policy_request(body.as_bytes()).expect(body);
            assert_eq!(read, PolicyRequest::default(), "{body}");
        }
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for body in [
            "",
            "[]",
            "\"x\"",
            "{",
            r#"{"allow":"/v1/a"}"#,
            r#"{"allow":[1]}"#,
            r#"{"deny":7}"#,
        ] {
            assert_eq!(
                parse_policy_request(body.as_bytes()),
                Err(InvalidBody),
                "{body}"
            );
        }
    }

    #[test]
    fn an_assignment_names_an_identity() {
        let parse = |body: &str| parse_assign_request(body.as_bytes()).map(|read| read.identity);
        assert_eq!(parse(r#"{"Identity":"ab"}"#).as_deref(), Ok("ab"));
        assert_eq!(parse("{}").as_deref(), Ok(""));
        assert_eq!(parse(r#"{"identity":null}"#).as_deref(), Ok(""));
        assert_eq!(parse(r#"{"identity":["ab"]}"#), Err(InvalidBody));
        assert_eq!(parse(""), Err(InvalidBody));
    }

    #[test]
    fn what_the_client_writes_is_read_back() {
        let written = policy_request(&request(&["/v1/<a>"], &["/v1/b"]));
        let expected = "{\"allow\":[\"/v1/\\u003ca\\u003e\"],\"deny\":[\"/v1/b\"]}\n";
        assert_eq!(written, expected.as_bytes());
        assert_eq!(
            parse_policy_request(&written),
            Ok(request(&["/v1/<a>"], &["/v1/b"]))
        );
        assert_eq!(assign_request("ab"), b"{\"identity\":\"ab\"}\n");
    }
}

//! The body of an error answer.

use serde::Deserialize;

use super::go_json::push_json_string;

/// `{"message":"…"` and `}`, with a line break before the brace and none after it: so clients have
/// always seen it.
pub fn error_body(message: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(message.len() + 16);
    body.extend_from_slice(b"{\"message\":");
    push_json_string(&mut body, message);
    body.extend_from_slice(b"\n}");
    body
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    message: String,
    #[serde(default)]
    error: String,
}

/// The message of an error body; a member `error` wins over `message`. `None` if it is no such body.
pub fn parse_error_body(body: &[u8]) -> Option<String> {
    let parsed: ErrorBody = serde_json::from_slice(body).ok()?;
    Some(if parsed.error.is_empty() { parsed.message } else { parsed.error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_break_stands_before_the_brace() {
        assert_eq!(error_body("key does not exist"), b"{\"message\":\"key does not exist\"\n}");
        assert_eq!(error_body("a<b"), b"{\"message\":\"a\\u003cb\"\n}");
    }

    #[test]
    fn both_members_are_understood() {
        let read = |body: &str| parse_error_body(body.as_bytes());
        assert_eq!(read("{\"message\":\"a\"}").as_deref(), Some("a"));
        assert_eq!(read("{\"message\":\"a\",\"error\":\"b\"}").as_deref(), Some("b"));
        assert_eq!(read("404 page not found"), None);
    }
}

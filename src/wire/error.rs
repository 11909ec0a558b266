//! The body of a refusal, and the texts that are part of the protocol.

use serde::Deserialize;

use super::{go_json, lenient};

/// 403, whoever asks for what they may not do.
pub const NOT_ALLOWED: &str = "not authorized: insufficient permissions";
/// 404, no such key.
pub const KEY_NOT_FOUND: &str = "key does not exist";
/// 400, there is such a key.
pub const KEY_EXISTS: &str = "key already exists";
/// 400, the ciphertext is not what this key made with this context.
pub const DECRYPT_FAILED: &str = "decryption failed: ciphertext is not authentic";
/// 404, no such policy.
pub const POLICY_NOT_FOUND: &str = "policy does not exist";
/// 404, no such identity.
pub const IDENTITY_NOT_FOUND: &str = "identity does not exist";

/// Writes the body of a refusal: `{"message":"…"⏎}`, with the line break before the brace, none after it.
pub fn error_body(message: &str) -> Vec<u8> {
    let quoted = go_json::string(message);
    let mut body = Vec::with_capacity(quoted.len() + 13);
    body.extend_from_slice(b"{\"message\":");
    body.extend_from_slice(quoted.as_bytes());
    body.extend_from_slice(b"\n}");
    body
}

/// Reads the text of a refusal with this `status`, in today's form or in one of the older ones.
///
/// Anything that is not JSON is a text itself, as it stands. The texts of before 2022 are translated, so
/// that they can be compared with the constants of this module.
pub fn error_message(status: u16, content_type: &str, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(default, deserialize_with = "lenient::or_default")]
        message: String,
        #[serde(default, deserialize_with = "lenient::or_default")]
        error: String,
    }
    let raw = || String::from_utf8_lossy(body).into_owned();
    if !content_type.starts_with("application/json") {
        return raw();
    }
    if body.trim_ascii().is_empty() {
        return "EOF".to_owned();
    }
    let Ok(refusal) = lenient::read::<Refusal>(body) else {
        return raw();
    };
    let message = match refusal.error.is_empty() {
        true => refusal.message,
        false => refusal.error,
    };
    match (status, message.as_str()) {
        (400, "key does already exist") => KEY_EXISTS.to_owned(),
        (403, "prohibited by policy") => NOT_ALLOWED.to_owned(),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_break_is_before_the_brace() {
        let body = error_body(KEY_NOT_FOUND);
        assert_eq!(body, b"{\"message\":\"key does not exist\"\n}");
        assert_eq!(body.len(), 33);
        assert_eq!(error_body("'<'"), b"{\"message\":\"'\\u003c'\"\n}");
    }

    #[test]
    fn every_form_of_refusal_is_read() {
        const JSON: &str = "application/json; charset=utf-8";
        for (status, content_type, body, expected) in [
            (
                404,
                JSON,
                "{\"message\":\"key does not exist\"\n}",
                KEY_NOT_FOUND,
            ),
            (500, JSON, r#"{"message":"a","error":"b"}"#, "b"),
            (500, JSON, r#"{"message":null,"error":"b"}"#, "b"),
            (500, JSON, r#"{"message":"a","error":"","x":1}"#, "a"),
            (500, JSON, "{}", ""),
            (502, JSON, "", "EOF"),
            (
                500,
                JSON,
                r#"{"message":"a "quoted" text"}"#,
                r#"{"message":"a "quoted" text"}"#,
            ),
            (
                400,
                JSON,
                r#"{"message":"key does already exist"}"#,
                KEY_EXISTS,
            ),
            (
                404,
                JSON,
                r#"{"message":"key does already exist"}"#,
                "key does already exist",
            ),
            (
                403,
                JSON,
                r#"{"message":"prohibited by policy"}"#,
                NOT_ALLOWED,
            ),
            (
                404,
                "text/plain; charset=utf-8",
                "404 page not found\n",
                "404 page not found\n",
            ),
            (500, "", r#"{"message":"a"}"#, r#"{"message":"a"}"#),
        ] {
            assert_eq!(
                error_message(status, content_type, body.as_bytes()),
                expected,
                "{body}"
            );
        }
    }
}

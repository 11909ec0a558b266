//! The answers about keys: `/v1/key/describe/` and `/v1/key/list/`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::lenient::{or_default, zero_time};
use super::status::reader;

/// The answer of `/v1/key/describe/`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyDescription {
    /// Name of the key.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Only servers before 2023-10 send one; ours do not.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub id: String,
    /// `AES256` or `ChaCha20`. The older spellings of the same are read as these.
    #[serde(default = "default_algorithm", deserialize_with = "algorithm")]
    pub algorithm: String,
    /// RFC 3339; `0001-01-01T00:00:00Z` if nobody knows.
    #[serde(default = "zero_time")]
    pub created_at: String,
    /// Identity of the creator; empty, and left out, if nobody knows.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub created_by: String,
}

/// The answer of `/v1/key/list/`: one page.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KeyList {
    /// Names, sorted bytewise.
    #[serde(default, deserialize_with = "or_default")]
    pub names: Vec<String>,
    /// The pattern that continues the listing; empty, and left out, on the last page.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub continue_at: String,
}

reader!(parse_key_description -> KeyDescription, "/v1/key/describe/");
reader!(parse_key_list -> KeyList, "/v1/key/list/");

fn default_algorithm() -> String {
    "AES256".to_owned()
}

fn algorithm<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    let name: String = or_default(value)?;
    match name.as_str() {
        "" => Err(D::Error::custom("kes: invalid key algorithm ''")),
        "AES256-GCM_SHA256" => Ok(default_algorithm()),
        "XCHACHA20-POLY1305" => Ok("ChaCha20".to_owned()),
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::go_json::to_go_json;

    #[test]
    fn a_description_is_written_as_documented() {
        let mut key = KeyDescription {
            name: "my-key".to_owned(),
            id: String::new(),
            algorithm: "AES256".to_owned(),
            created_at: "2026-11-22T01:07:05.984083583Z".to_owned(),
            created_by: "3ecf".to_owned(),
        };
        let expected = b"{\"name\":\"my-key\",\"algorithm\":\"AES256\",\
            \"created_at\":\"2026-11-22T01:07:05.984083583Z\",\"created_by\":\"3ecf\"}\n";
        assert_eq!(to_go_json(&key), expected);
        assert_eq!(parse_key_description(expected).expect("JSON"), key);
        key.created_by.clear();
        assert!(!to_go_json(&key).ends_with(b"\"created_by\":\"\"}\n"));
    }

    #[test]
    fn algorithms_have_two_spellings_and_a_default() {
        let algorithm_of =
            |body: &str| Some(parse_key_description(body.as_bytes()).ok()?.algorithm);
        for (body, expected) in [
            (r#"{"algorithm":"AES256-GCM_SHA256"}"#, Some("AES256")),
            (r#"{"algorithm":"XCHACHA20-POLY1305"}"#, Some("ChaCha20")),
            (r#"{"algorithm":"ChaCha20"}"#, Some("ChaCha20")),
            (r#"{}"#, Some("AES256")),
            (r#"{"algorithm":""}"#, None),
        ] {
            assert_eq!(algorithm_of(body).as_deref(), expected, "{body}");
        }
    }

    #[test]
    fn a_missing_time_is_the_zero_time() {
        let key = parse_key_description(b"{}").expect("JSON");
        assert_eq!(key.created_at, "0001-01-01T00:00:00Z");
    }

    #[test]
    fn the_last_page_has_no_continuation() {
        let mut list = KeyList {
            names: vec!["a".to_owned(), "b".to_owned()],
            continue_at: String::new(),
        };
        assert_eq!(to_go_json(&list), b"{\"names\":[\"a\",\"b\"]}\n");
        list.continue_at.push_str("my*c");
        let expected = b"{\"names\":[\"a\",\"b\"],\"continue_at\":\"my*c\"}\n";
        assert_eq!(to_go_json(&list), expected);
        assert_eq!(parse_key_list(expected).expect("JSON"), list);
        let null = parse_key_list(br#"{"names":null,"continue_at":null}"#).expect("JSON");
        assert_eq!(null, KeyList::default());
    }
}

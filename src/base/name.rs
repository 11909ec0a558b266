//! Names of keys, policies and identities, and the patterns of the list calls.
//!
//! A name is parsed once, at the edge, and carries the proof of its validity in its type from there on.

use std::fmt;

use crate::base::limits::NAME_BYTES_MAX;

/// Tells whether `name` may name a key, a policy or an identity.
///
/// 1 to 80 bytes of `0-9 A-Z a-z - _`, `-` neither first nor last, and not the single character `_`.
pub fn is_valid_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= NAME_BYTES_MAX
        && name != "_"
        && bytes.iter().all(|&byte| is_name_byte(byte))
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

/// Tells whether `byte` may occur in a name.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// A valid key name, borrowed from where it was read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct KeyName<'a>(&'a str);

impl<'a> KeyName<'a> {
    /// Parses `name`; `None` if it is empty, too long or has invalid characters.
    pub fn parse(name: &'a str) -> Option<Self> {
        is_valid_name(name).then_some(Self(name))
    }

    /// The name as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for KeyName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Between the prefix and the rest of a continuation token.
const TOKEN_SEPARATOR: &str = "*~";

/// What a list call asks for: a prefix, and the name after which to go on.
///
/// The wire has one argument for both. `my*` and `my` mean the prefix `my`; `my*~-key-7` is a
/// continuation token: all names with the prefix `my` that sort at or after `my-key-7`. `*~` cannot
/// be part of a prefix, and the token still starts with the original prefix, so that a policy for
/// `/v1/key/list/my*` covers the follow-up request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListPattern<'a> {
    /// Every listed name starts with it.
    pub prefix: &'a str,
    /// With a token: the part behind the prefix of the first name to list.
    rest: Option<&'a str>,
}

impl<'a> ListPattern<'a> {
    /// Parses a pattern or a continuation token; `None` if it is neither.
    pub fn parse(pattern: &'a str) -> Option<Self> {
        if let Some(prefix) = pattern.strip_suffix('*') {
            return is_valid_prefix(prefix, true).then_some(Self { prefix, rest: None });
        }
        match pattern.split_once(TOKEN_SEPARATOR) {
            None => is_valid_prefix(pattern, false).then_some(Self {
                prefix: pattern,
                rest: None,
            }),
            Some((prefix, rest)) => {
                let valid = !rest.is_empty()
                    && rest.bytes().all(is_name_byte)
                    && is_valid_prefix(prefix, true)
                    && prefix.len() + rest.len() <= NAME_BYTES_MAX;
                valid.then_some(Self {
                    prefix,
                    rest: Some(rest),
                })
            }
        }
    }

    /// The first name that may be listed, if the pattern is a continuation token.
    pub fn start(&self) -> Option<String> {
        self.rest.map(|rest| format!("{}{rest}", self.prefix))
    }

    /// The token that continues this listing at `next`, which must start with the prefix.
    pub fn token(&self, next: &str) -> String {
        let rest = next.strip_prefix(self.prefix).unwrap_or(next);
        format!("{}{TOKEN_SEPARATOR}{rest}", self.prefix)
    }

    /// Whether this is a continuation token.
    pub fn is_token(&self) -> bool {
        self.rest.is_some()
    }
}

/// Checks a prefix; `starred` if a `*` followed it, which lets the prefix end in `-`.
fn is_valid_prefix(prefix: &str, starred: bool) -> bool {
    let total = prefix.len() + usize::from(starred);
    total <= NAME_BYTES_MAX
        && (starred || prefix != "_")
        && prefix.bytes().all(is_name_byte)
        && !prefix.starts_with('-')
        && (starred || !prefix.ends_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for name in [
            "my-key",
            "0",
            "_0",
            "_-___---_",
            "0-Z",
            "__",
            &"a".repeat(80),
        ] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in [
            "",
            "_",
            "-",
            "-a",
            "a-",
            "my.key",
            "key/",
            "hel<lo",
            "é",
            &"a".repeat(81),
        ] {
            assert!(!is_valid_name(name), "{name}");
        }
    }

    #[test]
    fn patterns_follow_the_rule() {
        for pattern in ["", "*", "my*", "_-*", "a-*", "my", "_*"] {
            let parsed = ListPattern::parse(pattern).expect(pattern);
            assert_eq!(parsed.prefix, pattern.trim_end_matches('*'));
            assert_eq!(parsed.start(), None);
        }
        for pattern in [
            "my.key",
            "a-",
            "-a",
            "_",
            "**",
            "a**",
            "a*b*",
            "a*.",
            &"a".repeat(81),
        ] {
            assert_eq!(ListPattern::parse(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn a_token_keeps_the_prefix_and_names_the_start() {
        let pattern = ListPattern::parse("my-*").expect("a pattern");
        let token = pattern.token("my-key-7");
        assert_eq!(token, "my-*~key-7");
        let parsed = ListPattern::parse(&token).expect("a token");
        assert_eq!(parsed.prefix, "my-");
        assert_eq!(parsed.start().as_deref(), Some("my-key-7"));
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        s: String,
        valid_name: bool,
        valid_list_pattern: bool,
    }

    #[test]
    fn validity_is_that_of_the_original() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("testdata/names.json")).expect("vectors");
        assert!(vectors.len() > 100);
        for Vector {
            s,
            valid_name,
            valid_list_pattern,
        } in vectors
        {
            assert_eq!(is_valid_name(&s), valid_name, "{s:?}");
            assert_eq!(
                ListPattern::parse(&s).is_some(),
                valid_list_pattern,
                "{s:?}"
            );
        }
    }
}

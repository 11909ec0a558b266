//! A rule's pattern: a prefix if it ends in `*`, otherwise an exact path. Never a glob.

use std::fmt;

/// What a policy rule says of request paths.
///
/// `/v1/key/create/my*` stands for every path that starts with `/v1/key/create/my`; the star crosses
/// slashes and may stand for nothing. Without a star at the end the path must be the pattern. The
/// empty pattern matches nothing. All other characters, `*` inside included, stand for themselves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Tells whether `path`, percent-decoded and with its leading slash, falls under the pattern.
    ///
    /// Hot path: compares bytes, allocates nothing.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> bool {
        let path = path.as_ref();
        match self.0.as_bytes() {
            [] => false,
            [prefix @ .., b'*'] => path.starts_with(prefix),
            exact => path == exact,
        }
    }

    /// Tells whether the pattern has characters that were wildcards in servers up to 2023-10 and
    /// are ordinary ones since: whoever wrote it probably means more than it says.
    pub fn looks_like_glob(&self) -> bool {
        let inner = self.0.strip_suffix('*').unwrap_or(&self.0);
        inner.contains(['*', '?', '['])
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Pattern {
    fn from(pattern: &str) -> Self {
        Self(pattern.into())
    }
}

impl From<String> for Pattern {
    fn from(pattern: String) -> Self {
        Self(pattern.into_boxed_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_at_the_end_is_a_prefix_and_everything_else_is_exact() {
        let table = [
            ("/v1/status", "/v1/status", true),
            ("/v1/status", "/v1/status/", false),
            ("/v1/status", "/v1/statusX", false),
            ("/v1/status*", "/v1/status", true),
            ("/v1/key/create/my*", "/v1/key/create/my", true),
            ("/v1/key/create/*", "/v1/key/create/a/b", true),
            ("/v1/key/create/*", "/v1/key/create", false),
            ("/v1/key/*", "/v1/key/delete/x", true),
            ("/v1/key/*/my-key", "/v1/key/create/my-key", false),
            ("/v1/key/*/my-key", "/v1/key/*/my-key", true),
            ("/v1/key/create/my-ke?", "/v1/key/create/my-key", false),
            ("/v1/key/create/[a-z]*", "/v1/key/create/abc", false),
            ("/v1/key/create/a**", "/v1/key/create/ab", false),
            ("/v1/key/create/a**", "/v1/key/create/a*b", true),
            ("*", "/version", true),
            ("/*", "/version", true),
            ("v1/status", "/v1/status", false),
            ("", "", false),
            ("", "/", false),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(
                Pattern::from(pattern).matches(path),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn old_globs_are_recognized() {
        for pattern in ["/v1/key/*/x", "/v1/ke?", "/v1/key/[a-z]*", "/v1/a**"] {
            assert!(Pattern::from(pattern).looks_like_glob(), "{pattern}");
        }
        for pattern in ["", "*", "/v1/key/*", "/v1/status"] {
            assert!(!Pattern::from(pattern).looks_like_glob(), "{pattern}");
        }
    }
}

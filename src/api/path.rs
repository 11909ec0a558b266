//! Request paths: cleaning, percent-decoding, and where the router sends a client instead.
//!
//! The rules are those of Go's `net/http` request multiplexer, because clients depend on its
//! redirects. Cleaning works on the encoded path: an encoded dot is an ordinary character.

use std::borrow::Cow;

/// Removes empty, `.` and `..` segments from the encoded `path`; a final slash stays. Borrowed if
/// there is nothing to do.
pub(super) fn clean(path: &str) -> Cow<'_, str> {
    if is_clean(path) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut cleaned = String::with_capacity(path.len());
    for segment in &kept {
        cleaned.push('/');
        cleaned.push_str(segment);
    }
    if path.ends_with('/') || cleaned.is_empty() {
        cleaned.push('/');
    }
    Cow::Owned(cleaned)
}

fn is_clean(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment == "." || segment == ".." || (segment.is_empty() && !is_last) {
            return false;
        }
    }
    true
}

/// Percent-decodes `text`; `None` if an escape is malformed. Bytes that are no UTF-8 become U+FFFD.
///
/// Hot path: borrowed if there is no escape.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(*rest.next()?).to_digit(16)?;
        let low = char::from(*rest.next()?).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(match String::from_utf8(bytes) {
        Ok(text) => Cow::Owned(text),
        Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cleaning_follows_the_multiplexer() {
        for (path, cleaned) in [
            ("/", "/"),
            ("//", "/"),
            ("/v1/key/create//", "/v1/key/create/"),
            ("/v1/key/create/x/..", "/v1/key/create"),
            ("/v1/key/create/./x", "/v1/key/create/x"),
            ("/../version", "/version"),
            ("/version/../v1/status", "/v1/status"),
            ("/v1/key/create/%2e%2e/x", "/v1/key/create/%2e%2e/x"),
            ("/versionx/..", "/"),
            ("", "/"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    #[test]
    fn decoding_refuses_malformed_escapes() {
        assert_eq!(decode("/a%2Fb").as_deref(), Some("/a/b"));
        assert_eq!(decode("/a%C3%A4").as_deref(), Some("/aä"));
        for bad in ["%", "%2", "%zz", "a%2"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn cleaning_is_idempotent(path in "[/.a%0-9A-F-]{0,40}") {
            let once = clean(&path).into_owned();
            prop_assert!(once.starts_with('/'));
            prop_assert_eq!(clean(&once).into_owned(), once);
        }

        #[test]
        fn decoding_never_panics(path in ".{0,60}") {
            let _ = decode(&path);
        }
    }
}

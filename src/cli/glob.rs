//! Shell patterns over key names: `*`, `?`, `[abc]`, `[a-z]`, `[^a-z]`, and `\` before any of them.

/// A pattern that has been checked.
pub(super) struct Glob(Vec<Token>);

enum Token {
    /// Any number of characters.
    Any,
    /// Exactly one character.
    One,
    /// This character.
    Char(char),
    /// One character in these ranges, or outside of them.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// The pattern has no end, or an empty range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("syntax error in pattern")]
pub(super) struct BadPattern;

impl Glob {
    /// Checks `pattern`.
    ///
    /// # Errors
    ///
    /// [`BadPattern`] if a class is empty or not closed, or the pattern ends in `\`.
    pub(super) fn parse(pattern: &str) -> Result<Self, BadPattern> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            tokens.push(match c {
                '*' => Token::Any,
                '?' => Token::One,
                '\\' => Token::Char(chars.next().ok_or(BadPattern)?),
                '[' => {
                    let negated = chars.next_if_eq(&'^').is_some();
                    let mut ranges = Vec::new();
                    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
                        let low = class_char(&mut chars)?;
                        let ranged = chars.next_if_eq(&'-').is_some();
                        let high = if ranged { class_char(&mut chars)? } else { low };
                        ranges.push((low, high));
                    }
                    Token::Class { negated, ranges }
                }
                c => Token::Char(c),
            });
        }
        Ok(Self(tokens))
    }

    /// Whether all of `name` fits.
    pub(super) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut token, mut at) = (0, 0);
        // Where to go on if the last `*` has to take one more character.
        let mut retry = None;
        loop {
            match (self.0.get(token), name.get(at)) {
                (None, None) => return true,
                (Some(Token::Any), _) => {
                    retry = Some((token + 1, at));
                    token += 1;
                }
                (Some(one), Some(&c)) if one.fits(c) => {
                    token += 1;
                    at += 1;
                }
                _ => match retry {
                    Some((after, from)) if from < name.len() => {
                        retry = Some((after, from + 1));
                        token = after;
                        at = from + 1;
                    }
                    _ => return false,
                },
            }
        }
    }

    /// The beginning that all matching names have, to ask a keystore only for those.
    pub(super) fn prefix(&self) -> String {
        let literal = self.0.iter().map_while(|token| match token {
            Token::Char(c) => Some(*c),
            Token::Any | Token::One | Token::Class { .. } => None,
        });
        literal.collect()
    }
}

impl Token {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Char(wanted) => *wanted == c,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// A character of a class; `]` and `-` need a `\`.
fn class_char(chars: &mut impl Iterator<Item = char>) -> Result<char, BadPattern> {
    match chars.next() {
        None | Some(']' | '-') => Err(BadPattern),
        Some('\\') => chars.next().ok_or(BadPattern),
        Some(c) => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_a_shell_does() {
        for (pattern, yes, no) in [
            ("*", &["", "a", "my-key"][..], &[][..]),
            ("my*", &["my", "my-key"], &["m", "amy"]),
            ("*-key", &["my-key", "-key", "a-key-key"], &["my-keys"]),
            ("a*b*c", &["abc", "axbxbxc"], &["acb", "abcd"]),
            ("k?y", &["key", "k-y"], &["ky", "keey"]),
            ("k[a-c1]", &["ka", "kc", "k1"], &["kd", "k", "k-"]),
            ("k[^a-c]", &["kd", "k1"], &["ka", "k"]),
            ("a\\*", &["a*"], &["ab"]),
            ("", &[""], &["a"]),
        ] {
            let glob = Glob::parse(pattern).expect(pattern);
            for name in yes {
                assert!(glob.matches(name), "{pattern} {name}");
            }
            for name in no {
                assert!(!glob.matches(name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn unfinished_patterns_are_refused() {
        for pattern in ["[", "[a", "[]", "[^]", "[a-]", "a\\", "[-a]"] {
            assert_eq!(Glob::parse(pattern).err(), Some(BadPattern), "{pattern}");
        }
    }

    #[test]
    fn the_prefix_is_what_all_matches_begin_with() {
        for (pattern, prefix) in [
            ("my-*", "my-"),
            ("*", ""),
            ("key", "key"),
            ("a\\*b?c", "a*b"),
        ] {
            assert_eq!(Glob::parse(pattern).expect(pattern).prefix(), prefix);
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let glob = Glob::parse(&"*a".repeat(40)).expect("a pattern");
        assert!(!glob.matches(&format!("{}b", "a".repeat(80))));
    }
}

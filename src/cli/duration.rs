//! Durations of the command line: Go's, with its words for what is wrong with them.

use crate::config::duration::GoDuration;

use super::output::quote;

/// Parses the value of a flag.
///
/// # Errors
///
/// A text as Go's `time.ParseDuration` has it: scripts see it on the terminal.
pub(super) fn parse(text: &str) -> Result<GoDuration, String> {
    GoDuration::parse(text).ok_or_else(|| complaint(text))
}

/// What is wrong with `text`: no unit, an unknown one, or something else.
fn complaint(text: &str) -> String {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text.trim_start_matches(['-', '+']);
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        let tail = rest.trim_start_matches(is_number);
        let unit = &tail[..tail.find(is_number).unwrap_or(tail.len())];
        if unit.is_empty() {
            return format!("time: missing unit in duration {}", quote(text));
        }
        if GoDuration::parse(&format!("1{unit}")).is_none() {
            return format!(
                "time: unknown unit {} in duration {}",
                quote(unit),
                quote(text)
            );
        }
        rest = &tail[unit.len()..];
    }
    format!("time: invalid duration {}", quote(text))
}

/// Prints nanoseconds as Go does: `0s`, `3ms`, `1.25s`; those of more than 292 years as that.
pub(super) fn format(nanos: u64) -> String {
    GoDuration::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_in_the_words_of_go() {
        for (text, message) in [
            ("10", "time: missing unit in duration \"10\""),
            ("1h10", "time: missing unit in duration \"1h10\""),
            ("foo", "time: invalid duration \"foo\""),
            ("", "time: invalid duration \"\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("9999999999h", "time: invalid duration \"9999999999h\""),
        ] {
            assert_eq!(parse(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn prints_as_go_prints() {
        assert_eq!(format(0), "0s");
        assert_eq!(format(1_250_000_000), "1.25s");
        assert_eq!(format(u64::MAX), "2562047h47m16.854775807s");
    }
}

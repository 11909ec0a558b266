//! Durations as Go writes them: `1h30m`, `1.5h`, `-20s`.

use std::fmt;
use std::time::Duration;

/// Nanoseconds of each unit, in the order in which they are tried: longer names first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),       // U+00B5, the micro sign
    ("\u{3bc}s", 1_000), // the Greek letter
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Signed nanoseconds; what Go's `time.Duration` is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct GoDuration(i64);

impl GoDuration {
    /// A duration of so many nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Parses the grammar of Go's `time.ParseDuration`: an optional sign, then `0` or one or more
    /// groups of a decimal number and a unit, without spaces. `None` if `text` is no such thing, or
    /// more than 292 years. Fractions of a nanosecond are cut off.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Some(Self(0));
        }
        if rest.is_empty() {
            return None;
        }
        let mut nanos: i128 = 0;
        while !rest.is_empty() {
            let (group, after) = parse_group(rest)?;
            nanos = nanos.checked_add(group)?;
            rest = after;
        }
        let signed = if negative { -nanos } else { nanos };
        i64::try_from(signed).ok().map(Self)
    }

    /// This many nanoseconds.
    pub fn as_nanos(self) -> i64 {
        self.0
    }

    /// The same as an unsigned duration; `None` if it is negative.
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

/// Parses one group, `1.5h`; gives its nanoseconds and what follows.
fn parse_group(text: &str) -> Option<(i128, &str)> {
    let (whole, rest) = take_digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => take_digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, rest) = UNITS.iter().find_map(|&(name, nanos)| {
        let rest = rest.strip_prefix(name)?;
        // The unit goes on to the next number: `m` must not be found in `min`.
        let ends = rest.is_empty() || rest.starts_with(|c: char| c == '.' || c.is_ascii_digit());
        ends.then_some((i128::from(nanos), rest))
    })?;
    let mut nanos = match whole {
        "" => 0,
        digits => i128::from(digits.parse::<u64>().ok()?).checked_mul(unit)?,
    };
    // A unit has less than 10^13 nanoseconds: digits beyond the 18th cannot count.
    let digits = &fraction[..fraction.len().min(18)];
    if !digits.is_empty() {
        let scale = 10_i128.checked_pow(u32::try_from(digits.len()).ok()?)?;
        nanos += i128::from(digits.parse::<u64>().ok()?) * unit / scale;
    }
    Some((nanos, rest))
}

fn take_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Prints as Go does: `1h0m0s`, `5m0s`, `1.5s`, `250ms`, `0s`.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanos, 1_000_000)),
            _ => {
                let minutes = nanos / 60_000_000_000;
                if minutes >= 60 {
                    write!(f, "{}h", minutes / 60)?;
                }
                if minutes >= 1 {
                    write!(f, "{}m", minutes % 60)?;
                }
                write!(f, "{}s", decimal(nanos % 60_000_000_000, 1_000_000_000))
            }
        }
    }
}

/// `nanos / unit` with as many decimals as it takes.
fn decimal(nanos: u64, unit: u64) -> String {
    let digits = usize::try_from(unit.ilog10()).unwrap_or(0);
    let text = format!("{}.{:0digits$}", nanos / unit, nanos % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_grammar_is_that_of_go() {
        let second = 1_000_000_000;
        let table = [
            ("1h30m", Some(5400 * second)),
            ("1.5h", Some(5400 * second)),
            (".5s", Some(second / 2)),
            ("5.s", Some(5 * second)),
            ("100us", Some(100_000)),
            ("100µs", Some(100_000)),
            ("100\u{3bc}s", Some(100_000)),
            ("+5m", Some(300 * second)),
            ("-20s", Some(-20 * second)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0s", Some(0)),
            ("1ms1ns", Some(1_000_001)),
            ("1.0000000000000000009s", Some(second)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("-9223372036854775808ns", Some(i64::MIN)),
            ("9223372036854775808ns", None),
            ("99999999999999999999h", None),
            ("", None),
            ("+", None),
            ("1d", None),
            ("5M", None),
            ("1h 30m", None),
            ("1m30", None),
            ("300", None),
            (".s", None),
            ("5min", None),
            ("--5s", None),
            ("s", None),
            ("5s ", None),
        ];
        for (text, expected) in table {
            let parsed = GoDuration::parse(text).map(GoDuration::as_nanos);
            assert_eq!(parsed, expected, "{text}");
        }
    }

    #[test]
    fn it_prints_as_go_does() {
        let table = [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (1_000_000_000, "1s"),
            (-1_000_000_000, "-1s"),
            (2_500_000_000, "2.5s"),
            (300_000_000_000, "5m0s"),
            (-300_000_000_000, "-5m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (5_400_000_000_001, "1h30m0.000000001s"),
        ];
        for (nanos, expected) in table {
            assert_eq!(GoDuration(nanos).to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses(nanos: i64) {
            let duration = GoDuration(nanos);
            prop_assert_eq!(GoDuration::parse(&duration.to_string()), Some(duration));
        }

        #[test]
        fn no_text_breaks_the_parser(text in "[-+]?[0-9.µhmsnu ]{0,20}") {
            let _ = GoDuration::parse(&text);
        }
    }
}

//! Log levels: numbers with four names, as Go's slog has them.

use std::fmt;

/// How severe a log record is; a record is written if its level is at least the configured one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Level(pub i32);

/// Why a text is not a log level. It shows the text trimmed and in upper case, as it was compared.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LevelError {
    /// Starts with the name of a level, but goes on with something else than `+<n>`.
    #[error("kesconf: invalid log level '{0}'")]
    Invalid(String),
    /// What follows `<LEVEL>+` is no number.
    #[error("kesconf: invalid log level suffix '{suffix}': {source}")]
    Suffix {
        /// What follows the plus sign.
        suffix: String,
        /// What is wrong with it.
        source: NumberError,
    },
    /// Neither a word that is known nor a number.
    #[error(transparent)]
    Number(#[from] NumberError),
}

/// Why a text is not an integer, in the words of Go.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("strconv.Atoi: parsing {text:?}: {problem}")]
pub struct NumberError {
    text: String,
    problem: &'static str,
}

impl Level {
    /// Details for whoever looks for a fault.
    pub const DEBUG: Self = Self(-4);
    /// What happens in normal operation.
    pub const INFO: Self = Self(0);
    /// What may become a problem.
    pub const WARN: Self = Self(4);
    /// What did not work.
    pub const ERROR: Self = Self(8);
    /// Above all records that there are: nothing is logged.
    pub const OFF: Self = Self(9);

    /// Parses `on`, `off`, `debug`, `info`, `warn`, `error`, each level with `+<n>`, or an integer;
    /// in any case of letters. The empty text is INFO.
    ///
    /// # Errors
    ///
    /// If `text` is none of these.
    pub fn parse(text: &str) -> Result<Self, LevelError> {
        let text = text.trim().to_uppercase();
        match text.as_str() {
            "" | "ON" => return Ok(Self::INFO),
            "OFF" => return Ok(Self::OFF),
            _ => {}
        }
        for (name, level) in [
            ("DEBUG", Self::DEBUG),
            ("INFO", Self::INFO),
            ("WARN", Self::WARN),
            ("ERROR", Self::ERROR),
        ] {
            let Some(rest) = text.strip_prefix(name) else {
                continue;
            };
            if rest.is_empty() {
                return Ok(level);
            }
            let Some(suffix) = rest.trim_start().strip_prefix('+') else {
                return Err(LevelError::Invalid(text));
            };
            return match parse_integer(suffix) {
                Ok(more) => Ok(Self(level.0.saturating_add(more))),
                Err(source) => Err(LevelError::Suffix {
                    suffix: suffix.to_owned(),
                    source,
                }),
            };
        }
        Ok(Self(parse_integer(&text)?))
    }
}

/// Parses as Go's `strconv.Atoi`. What 64 bits can hold but 32 cannot becomes the nearest number
/// that fits: no record has such a level anyway.
fn parse_integer(text: &str) -> Result<i32, NumberError> {
    let problem = |problem| NumberError {
        text: text.to_owned(),
        problem,
    };
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(problem("invalid syntax"));
    }
    let wide: i64 = text.parse().map_err(|_| problem("value out of range"))?;
    Ok(i32::try_from(wide).unwrap_or(if wide < 0 { i32::MIN } else { i32::MAX }))
}

/// The nearest name below, and the distance to it: `INFO`, `ERROR+1`, `DEBUG-96`.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, base) = match self.0 {
            ..0 => ("DEBUG", Self::DEBUG),
            0..4 => ("INFO", Self::INFO),
            4..8 => ("WARN", Self::WARN),
            8.. => ("ERROR", Self::ERROR),
        };
        match i64::from(self.0) - i64::from(base.0) {
            0 => f.write_str(name),
            distance => write!(f, "{name}{distance:+}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words_sums_and_numbers() {
        let table = [
            ("", "INFO"),
            ("  on ", "INFO"),
            ("Off", "ERROR+1"),
            ("debug", "DEBUG"),
            ("info", "INFO"),
            ("Warn", "WARN"),
            ("error", "ERROR"),
            ("WARN+2", "WARN+2"),
            ("info+1", "INFO+1"),
            ("INFO  +4", "WARN"),
            ("4", "WARN"),
            ("-4", "DEBUG"),
            ("+5", "WARN+1"),
            ("-100", "DEBUG-96"),
            ("-3", "DEBUG+1"),
        ];
        for (text, expected) in table {
            let level = Level::parse(text).expect(text);
            assert_eq!(level.to_string(), expected, "{text}");
        }
        assert_eq!(Level::parse("9999999999"), Ok(Level(i32::MAX)));
    }

    #[test]
    fn errors_are_those_of_the_original() {
        let table = [
            ("WARN-1", "kesconf: invalid log level 'WARN-1'"),
            ("errors", "kesconf: invalid log level 'ERRORS'"),
            ("INFORM", "kesconf: invalid log level 'INFORM'"),
            (
                "DEBUG+x",
                "kesconf: invalid log level suffix 'X': strconv.Atoi: parsing \"X\": invalid syntax",
            ),
            (
                "INFO+ 1",
                "kesconf: invalid log level suffix ' 1': strconv.Atoi: parsing \" 1\": invalid syntax",
            ),
            ("foo", "strconv.Atoi: parsing \"FOO\": invalid syntax"),
            ("true", "strconv.Atoi: parsing \"TRUE\": invalid syntax"),
            ("5.0", "strconv.Atoi: parsing \"5.0\": invalid syntax"),
            (
                "99999999999999999999",
                "strconv.Atoi: parsing \"99999999999999999999\": value out of range",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(Level::parse(text).expect_err(text).to_string(), expected);
        }
    }
}

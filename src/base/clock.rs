//! Wall-clock time as the API writes it, and a clock that tests can move.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use jiff::tz::TimeZone;

/// A point in time with nanoseconds, as stored keys and JSON carry it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00Z; may be negative.
    pub seconds: i64,
    /// Nanoseconds within the second, 0 to 999 999 999.
    pub nanos: u32,
}

impl Timestamp {
    /// The zero time of Go, `0001-01-01T00:00:00Z`: "no time known".
    pub const ZERO: Self = Self {
        seconds: -62_135_596_800,
        nanos: 0,
    };

    /// The time of the system clock.
    pub fn now() -> Self {
        Self::from_jiff(jiff::Timestamp::now())
    }

    /// Parses RFC 3339; `None` if `text` is none.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(Self::from_jiff)
    }

    /// RFC 3339 in UTC, up to nine fractional digits, trailing zeros removed.
    pub fn to_rfc3339(self) -> String {
        self.to_rfc3339_in(&TimeZone::UTC)
    }

    /// As [`Self::to_rfc3339`], in the time zone of this host.
    pub fn to_rfc3339_local(self) -> String {
        self.to_rfc3339_in(&TimeZone::system())
    }

    fn to_rfc3339_in(self, zone: &TimeZone) -> String {
        let Some(zoned) = self.to_jiff().map(|time| time.to_zoned(zone.clone())) else {
            return "0001-01-01T00:00:00Z".to_owned();
        };
        let mut text = zoned.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        if self.nanos != 0 {
            let digits = format!("{:09}", self.nanos);
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        if zoned.offset().seconds() == 0 {
            text.push('Z');
        } else {
            text.push_str(&zoned.strftime("%:z").to_string());
        }
        text
    }

    /// `2026-11-22T01:07:05.984Z`: RFC 3339 in this host's zone with milliseconds, as log lines have it.
    pub fn to_log_text(self) -> String {
        let Some(zoned) = self.to_jiff().map(|time| time.to_zoned(TimeZone::system())) else {
            return "0001-01-01T00:00:00.000Z".to_owned();
        };
        let mut text = zoned.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        text.push_str(&format!(".{:03}", self.nanos / 1_000_000));
        if zoned.offset().seconds() == 0 {
            text.push('Z');
        } else {
            text.push_str(&zoned.strftime("%:z").to_string());
        }
        text
    }

    /// This time in jiff's terms; `None` outside of the years it knows.
    pub fn to_jiff(self) -> Option<jiff::Timestamp> {
        let nanos = i32::try_from(self.nanos).ok()?;
        jiff::Timestamp::new(self.seconds, nanos).ok()
    }

    fn from_jiff(time: jiff::Timestamp) -> Self {
        let nanos = time.as_nanosecond();
        let seconds = nanos.div_euclid(1_000_000_000);
        let rest = nanos.rem_euclid(1_000_000_000);
        Self {
            seconds: i64::try_from(seconds).unwrap_or(Self::ZERO.seconds),
            nanos: u32::try_from(rest).unwrap_or(0),
        }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match jiff::Timestamp::try_from(time) {
            Ok(time) => Self::from_jiff(time),
            Err(_) => Self::ZERO,
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// Monotonic time, so that tests need not wait.
pub trait Clock: Send + Sync {
    /// Time since some fixed point in the past.
    fn elapsed(&self) -> Duration;
}

/// The clock of the operating system.
pub struct SystemClock(Instant);

impl SystemClock {
    /// Starts counting now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock that moves only when told to.
#[derive(Default)]
pub struct ManualClock(Mutex<Duration>);

impl ManualClock {
    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        *self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn elapsed(&self) -> Duration {
        *self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_drops_trailing_zeros() {
        let at = |seconds, nanos| Timestamp { seconds, nanos }.to_rfc3339();
        assert_eq!(
            at(1_705_055_960, 886_816_000),
            "2024-01-12T10:39:20.886816Z"
        );
        assert_eq!(at(1_700_000_000, 0), "2023-11-14T22:13:20Z");
        assert_eq!(at(-1, 999_999_999), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(Timestamp::ZERO.to_rfc3339(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn parsing_undoes_printing() {
        for text in [
            "2024-01-12T10:39:20.886816Z",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.5Z",
        ] {
            let parsed = Timestamp::parse_rfc3339(text).expect(text);
            assert_eq!(parsed.to_rfc3339(), text);
        }
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
    }
}

//! Times as the commands show them: `2026-11-22 01:02:15`, without a zone.
//!
//! Servers send RFC 3339. Some commands show it in the zone that the server chose, some in that of
//! this host; which of them does what is as old as the commands.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What servers send if nobody knows the time.
const UNKNOWN: &str = "0001-01-01T00:00:00Z";

/// Whether `rfc3339` is a time at all.
pub(super) fn is_known(rfc3339: &str) -> bool {
    rfc3339 != UNKNOWN && !rfc3339.is_empty()
}

/// In the zone that the server sent.
pub(super) fn as_sent(rfc3339: &str) -> String {
    let date = rfc3339.get(..10).unwrap_or_default();
    format!("{date} {}", clock_as_sent(rfc3339))
}

/// Only the time of day, in the zone that the server sent.
pub(super) fn clock_as_sent(rfc3339: &str) -> &str {
    rfc3339.get(11..19).unwrap_or_default()
}

/// In the zone of this host.
pub(super) fn local(rfc3339: &str) -> String {
    local_in(rfc3339, TimeZone::system())
}

fn local_in(rfc3339: &str, zone: TimeZone) -> String {
    match rfc3339.parse::<Timestamp>() {
        Ok(time) => time
            .to_zoned(zone)
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string(),
        Err(_) => as_sent(rfc3339),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-22T01:02:15.765870131+02:00";

    #[test]
    fn times_have_no_zone_and_no_fraction() {
        assert_eq!(as_sent(TIME), "2026-11-22 01:02:15");
        assert_eq!(clock_as_sent(TIME), "01:02:15");
        assert_eq!(local_in(TIME, TimeZone::UTC), "2026-11-21 23:02:15");
        let east = TimeZone::fixed(jiff::tz::offset(9));
        assert_eq!(local_in(TIME, east), "2026-11-22 08:02:15");
    }

    #[test]
    fn nonsense_of_a_server_does_no_harm() {
        assert_eq!(as_sent("é"), " ");
        assert_eq!(local("yesterday"), " ");
        assert!(!is_known("0001-01-01T00:00:00Z") && !is_known("") && is_known(TIME));
    }
}

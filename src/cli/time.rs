//! Times as the commands show them: `2026-11-22 01:02:15`, without a zone.

use jiff::tz::TimeZone;

use crate::base::clock::Timestamp;

/// In UTC.
pub(super) fn utc(time: Timestamp) -> String {
    format(time, TimeZone::UTC, "%Y-%m-%d %H:%M:%S")
}

/// In the time zone of this host.
pub(super) fn local(time: Timestamp) -> String {
    format(time, TimeZone::system(), "%Y-%m-%d %H:%M:%S")
}

/// Only the time of day, in the time zone of this host.
pub(super) fn local_clock(time: Timestamp) -> String {
    format(time, TimeZone::system(), "%H:%M:%S")
}

fn format(time: Timestamp, zone: TimeZone, pattern: &str) -> String {
    let zoned = time.to_jiff().unwrap_or_default().to_zoned(zone);
    zoned.strftime(pattern).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_no_zone_and_no_fraction() {
        let time = Timestamp::parse_rfc3339("2026-11-22T01:02:15.765870131Z").expect("a time");
        assert_eq!(utc(time), "2026-11-22 01:02:15");
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(format(time, zone, "%H:%M:%S"), "03:02:15");
    }
}

//! What an audit record holds.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::identity::Identity;
use crate::telemetry::slog::{Record, Severity};

/// One successful call that changed a key.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// When it was answered.
    pub time: Timestamp,
    /// What was done, for people: `secret key 'k' created`.
    pub message: String,
    /// HTTP method of the request.
    pub method: String,
    /// Percent-decoded path of the request.
    pub path: String,
    /// Address of the client; `None` if it is not known.
    pub ip: Option<IpAddr>,
    /// Identity of the client.
    pub identity: Identity,
    /// Status of the answer.
    pub status: u16,
    /// Time from the request's arrival to its answer.
    pub duration: Duration,
}

impl AuditEvent {
    /// The record as the console shows it.
    pub fn to_record(&self) -> Record {
        let ip = self
            .ip
            .map_or_else(|| "invalid IP".to_owned(), |ip| ip.to_string());
        let fields = [
            ("req.method", self.method.clone()),
            ("req.path", self.path.clone()),
            ("req.ip", ip),
            ("req.identity", self.identity.to_string()),
            ("res.code", self.status.to_string()),
            ("res.time", go_duration(self.duration)),
        ];
        Record {
            time: self.time,
            severity: Severity::INFO,
            message: self.message.clone(),
            fields: fields
                .into_iter()
                .map(|(n, v)| (Cow::Borrowed(n), v))
                .collect(),
        }
    }
}

/// A short duration as Go prints it: `176.692µs`, `1.5ms`, `2s`.
fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let (unit, scale): (&str, u128) = match nanos {
        0 => return "0s".to_owned(),
        1..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let digits = scale.ilog10() as usize;
    let fraction = format!("{:0digits$}", nanos % scale);
    match fraction.trim_end_matches('0') {
        "" => format!("{}{unit}", nanos / scale),
        fraction => format!("{}.{fraction}{unit}", nanos / scale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (7, "7ns"),
            (176_692, "176.692µs"),
            (1_500_000, "1.5ms"),
            (2_000_000_000, "2s"),
            (1_234_000_000, "1.234s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn the_console_form_is_what_scripts_parse() {
        let event = AuditEvent {
            time: Timestamp {
                seconds: 0,
                nanos: 0,
            },
            message: "secret key 'my-key' created".to_owned(),
            method: "PUT".to_owned(),
            path: "/v1/key/create/my-key".to_owned(),
            ip: Some(IpAddr::from([127, 0, 0, 1])),
            identity: Identity::from("ab12"),
            status: 200,
            duration: Duration::from_micros(1234),
        };
        let text = event.to_record().to_text();
        assert!(
            text.ends_with(
                " level=INFO msg=\"secret key 'my-key' created\" req.method=PUT \
                 req.path=/v1/key/create/my-key req.ip=127.0.0.1 req.identity=ab12 \
                 res.code=200 res.time=1.234ms"
            ),
            "{text}"
        );
    }
}

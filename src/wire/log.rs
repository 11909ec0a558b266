//! Lines of the log streams.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::to_go_json;

/// What a line of `/v1/log/audit` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditLine {
    /// RFC 3339.
    pub time: String,
    /// Address of the client, if it is known.
    pub ip: Option<IpAddr>,
    /// Percent-decoded path.
    pub path: String,
    /// Identity of the client; may be empty.
    pub identity: String,
    /// Status of the answer.
    pub status: u16,
    /// Time to the answer.
    pub duration: Duration,
}

/// The JSON of an audit line, with the names it has there.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
pub struct AuditJson {
    /// RFC 3339.
    #[serde(default)]
    pub time: String,
    /// The request.
    #[serde(default)]
    pub request: AuditRequestJson,
    /// The answer.
    #[serde(default)]
    pub response: AuditResponseJson,
}

/// The request of an audit line.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
pub struct AuditRequestJson {
    /// Address; empty if it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// Percent-decoded path.
    #[serde(default)]
    pub path: String,
    /// Identity; empty if it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub identity: String,
}

/// The answer of an audit line.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
pub struct AuditResponseJson {
    /// Status.
    #[serde(default)]
    pub code: u16,
    /// Nanoseconds, which is what every SDK takes the number for.
    #[serde(default)]
    pub time: u64,
}

/// The JSON of an error line.
#[derive(Clone, Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
pub struct ErrorJson {
    /// One record in text form.
    #[serde(default)]
    pub message: String,
}

/// A line of `/v1/log/audit`, with its line break.
pub fn audit_line(line: &AuditLine) -> Vec<u8> {
    to_go_json(&AuditJson {
        time: line.time.clone(),
        request: AuditRequestJson {
            ip: line.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            path: line.path.clone(),
            identity: line.identity.clone(),
        },
        response: AuditResponseJson {
            code: line.status,
            time: u64::try_from(line.duration.as_nanos()).unwrap_or(u64::MAX),
        },
    })
}

/// A line of `/v1/log/error`, with its line break.
pub fn error_line(text: &str) -> Vec<u8> {
    to_go_json(&ErrorJson { message: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_members_that_clients_read() {
        let line = AuditLine {
            time: "2026-11-22T01:15:34.656861938Z".to_owned(),
            ip: Some(IpAddr::from([127, 0, 0, 1])),
            path: "/v1/key/create/k".to_owned(),
            identity: String::new(),
            status: 200,
            duration: Duration::from_micros(3),
        };
        assert_eq!(
            audit_line(&line),
            b"{\"time\":\"2026-11-22T01:15:34.656861938Z\",\"request\":{\"ip\":\"127.0.0.1\",\
              \"path\":\"/v1/key/create/k\"},\"response\":{\"code\":200,\"time\":3000}}\n"
        );
        assert_eq!(error_line("a \"b\""), b"{\"message\":\"a \\\"b\\\"\"}\n");
    }
}

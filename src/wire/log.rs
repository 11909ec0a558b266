//! The lines of `/v1/log/audit` and `/v1/log/error`.

use serde::{Deserialize, Serialize};

use super::go_json::to_go_json;
use super::lenient::{or_default, zero_time};

/// One line of the audit log: a request, and how it was answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditEvent {
    /// RFC 3339 with nanoseconds, in the time zone of the server.
    #[serde(default = "zero_time")]
    pub time: String,
    /// What was asked.
    #[serde(default, deserialize_with = "or_default")]
    pub request: AuditRequest,
    /// What was answered.
    #[serde(default, deserialize_with = "or_default")]
    pub response: AuditResponse,
}

/// What was asked.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditRequest {
    /// Address of the client without its port; left out if empty.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub ip: String,
    /// Path of the URL, percent-decoded.
    #[serde(deserialize_with = "or_default")]
    pub path: String,
    /// Who asked; left out if empty.
    #[serde(
        deserialize_with = "or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub identity: String,
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditResponse {
    /// HTTP status.
    #[serde(deserialize_with = "or_default")]
    pub code: u16,
    /// Nanoseconds from the request to the answer. The original writes milliseconds here, but every client
    /// reads nanoseconds.
    #[serde(deserialize_with = "or_default")]
    pub time: u64,
}

/// One line of the error log.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorEvent {
    /// One log record, in the text form of the console, without a line break.
    #[serde(deserialize_with = "or_default")]
    pub message: String,
}

impl AuditEvent {
    /// The event as the server streams it: one object, one line break.
    pub fn to_line(&self) -> Vec<u8> {
        to_go_json(self)
    }

    /// The event as the official client repeats it: as [`Self::to_line`], but nothing is left out.
    pub fn to_client_line(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Event<'a> {
            time: &'a str,
            request: Request<'a>,
            response: &'a AuditResponse,
        }
        #[derive(Serialize)]
        struct Request<'a> {
            ip: &'a str,
            path: &'a str,
            identity: &'a str,
        }
        to_go_json(&Event {
            time: &self.time,
            request: Request {
                ip: &self.request.ip,
                path: &self.request.path,
                identity: &self.request.identity,
            },
            response: &self.response,
        })
    }
}

impl ErrorEvent {
    /// The event as the server streams it: one object, one line break.
    pub fn to_line(&self) -> Vec<u8> {
        to_go_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> AuditEvent {
        AuditEvent {
            time: "2026-11-22T01:15:34.656861938Z".to_owned(),
            request: AuditRequest {
                ip: "192.0.2.7".to_owned(),
                path: "/v1/key/create/my-key".to_owned(),
                identity: "3ecf".to_owned(),
            },
            response: AuditResponse { code: 200, time: 3 },
        }
    }

    #[test]
    fn an_audit_line_is_written_as_documented() {
        let expected = "{\"time\":\"2026-11-22T01:15:34.656861938Z\",\"request\":{\
            \"ip\":\"192.0.2.7\",\"path\":\"/v1/key/create/my-key\",\"identity\":\"3ecf\"},\
            \"response\":{\"code\":200,\"time\":3}}\n";
        assert_eq!(event().to_line(), expected.as_bytes());
        assert_eq!(event().to_client_line(), expected.as_bytes());
        assert_eq!(
            serde_json::from_str::<AuditEvent>(expected).expect("JSON"),
            event()
        );
    }

    #[test]
    fn who_is_unknown_is_left_out_but_not_repeated_so() {
        let mut event = event();
        event.time = "t".to_owned();
        event.request = AuditRequest {
            path: "/version".to_owned(),
            ..AuditRequest::default()
        };
        let line = "{\"time\":\"t\",\"request\":{\"path\":\"/version\"},\
            \"response\":{\"code\":200,\"time\":3}}\n";
        assert_eq!(event.to_line(), line.as_bytes());
        let line = "{\"time\":\"t\",\"request\":{\"ip\":\"\",\"path\":\"/version\",\"identity\":\"\"},\
            \"response\":{\"code\":200,\"time\":3}}\n";
        assert_eq!(event.to_client_line(), line.as_bytes());
    }

    #[test]
    fn an_error_line_is_written_as_documented() {
        let event = ErrorEvent {
            message: "level=INFO msg=\"<x>\"".to_owned(),
        };
        let expected = b"{\"message\":\"level=INFO msg=\\\"\\u003cx\\u003e\\\"\"}\n";
        assert_eq!(event.to_line(), expected);
        assert_eq!(
            serde_json::from_slice::<ErrorEvent>(expected).expect("JSON"),
            event
        );
    }
}

//! The text form of a log record: `key=value` pairs, as Go's slog text handler writes them.
//!
//! Scripts parse this form: `time=… level=INFO msg="…" req.method=PUT …`. The JSON form of a record
//! has the same members, dotted names as nested objects.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::base::clock::Timestamp;

/// Severity of a record, on Go's slog scale: DEBUG -4, INFO 0, WARN 4, ERROR 8.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Severity(pub i32);

impl Severity {
    /// Details of normal operation.
    pub const DEBUG: Self = Self(-4);
    /// Normal but notable.
    pub const INFO: Self = Self(0);
    /// Something an operator should look at.
    pub const WARN: Self = Self(4);
    /// A request failed for a reason that is not the client's.
    pub const ERROR: Self = Self(8);
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, base) = match self.0 {
            ..0 => ("DEBUG", -4),
            0..4 => ("INFO", 0),
            4..8 => ("WARN", 4),
            8.. => ("ERROR", 8),
        };
        match self.0 - base {
            0 => f.write_str(name),
            offset => write!(f, "{name}{offset:+}"),
        }
    }
}

/// How records are written to the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// `key=value` pairs.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// One record: when, how severe, what, and named values in order.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it happened.
    pub time: Timestamp,
    /// How severe it is.
    pub severity: Severity,
    /// What happened.
    pub message: String,
    /// Named values, such as `req.method`.
    pub fields: Vec<(Cow<'static, str>, String)>,
}

impl Record {
    /// The record in text form, without a line break.
    pub fn to_text(&self) -> String {
        let mut line = String::with_capacity(160);
        line.push_str("time=");
        line.push_str(&self.time.to_log_text());
        // Writing to a String cannot fail.
        let _ = write!(line, " level={} msg=", self.severity);
        push_value(&mut line, &self.message);
        for (name, value) in &self.fields {
            line.push(' ');
            line.push_str(name);
            line.push('=');
            push_value(&mut line, value);
        }
        line
    }

    /// The record as a JSON object, without a line break.
    pub fn to_json(&self) -> String {
        let mut object = Map::new();
        object.insert("time".into(), self.time.to_rfc3339_local().into());
        object.insert("level".into(), self.severity.to_string().into());
        object.insert("msg".into(), self.message.clone().into());
        for (name, value) in &self.fields {
            insert_nested(&mut object, name, value);
        }
        Value::Object(object).to_string()
    }

    /// The record in `format`, without a line break.
    pub fn to_line(&self, format: Format) -> String {
        match format {
            Format::Text => self.to_text(),
            Format::Json => self.to_json(),
        }
    }
}

/// Inserts `a.b` as `{"a":{"b":…}}`.
fn insert_nested(object: &mut Map<String, Value>, name: &str, value: &str) {
    let Some((group, rest)) = name.split_once('.') else {
        object.insert(name.to_owned(), value.into());
        return;
    };
    let entry = object
        .entry(group.to_owned())
        .or_insert_with(|| Value::Object(Map::new()));
    match entry {
        Value::Object(inner) => insert_nested(inner, rest, value),
        other => *other = value.into(),
    }
}

/// Appends `value`, quoted if a reader could not tell where it ends.
fn push_value(line: &mut String, value: &str) {
    let needs_quotes = value.is_empty()
        || value.chars().any(|c| {
            c == '"'
                || c == '='
                || c == '\\'
                || c.is_whitespace()
                || c.is_control()
                || c == '\u{fffd}'
        });
    if !needs_quotes {
        line.push_str(value);
        return;
    }
    line.push('"');
    for c in value.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(line, "\\x{:02x}", u32::from(c));
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(message: &str, fields: &[(&'static str, &str)]) -> Record {
        Record {
            time: Timestamp {
                seconds: 0,
                nanos: 0,
            },
            severity: Severity::INFO,
            message: message.to_owned(),
            fields: fields
                .iter()
                .map(|(n, v)| (Cow::Borrowed(*n), (*v).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn values_are_quoted_only_when_they_must_be() {
        let text = record(
            "secret key 'k' created",
            &[
                ("req.path", "/v1/key/create/k"),
                ("req.identity", ""),
                ("x", "a=b\n\""),
            ],
        )
        .to_text();
        let tail = text.split_once(" level=").expect("a level").1;
        assert_eq!(
            tail,
            "INFO msg=\"secret key 'k' created\" req.path=/v1/key/create/k req.identity=\"\" x=\"a=b\\n\\\"\""
        );
    }

    #[test]
    fn json_nests_dotted_names() {
        let json: Value =
            serde_json::from_str(&record("m", &[("req.a", "1"), ("req.b", "2")]).to_json())
                .expect("JSON");
        assert_eq!(json["req"]["b"], "2");
        assert_eq!(json["level"], "INFO");
    }

    #[test]
    fn severities_print_their_offset() {
        assert_eq!(Severity(0).to_string(), "INFO");
        assert_eq!(Severity(9).to_string(), "ERROR+1");
        assert_eq!(Severity(-100).to_string(), "DEBUG-96");
        assert_eq!(Severity(6).to_string(), "WARN+2");
    }
}

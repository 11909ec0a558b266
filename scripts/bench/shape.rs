//! Load shapes: how many connections of which protocol, and how many requests at once on each.

use std::fmt;
use std::str::FromStr;

/// Connections, and HTTP/2 streams, of one shape: more would measure the load generator.
const LANES_MAX: usize = 4096;

/// HTTP/2 streams of one connection: what both servers allow.
const STREAMS_MAX: usize = 100;

/// How a load is spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// HTTP/1.1: one request at a time on each connection.
    Http1 { connections: usize },
    /// HTTP/2: so many streams at a time on each connection.
    Http2 { connections: usize, streams: usize },
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("'{text}' is neither 'h1:CONNECTIONS' nor 'h2:CONNECTIONSxSTREAMS'");
        let (protocol, rest) = text.split_once(':').ok_or_else(usage)?;
        let number = |digits: &str| digits.parse::<usize>().map_err(|_| usage());
        let shape = match (protocol, rest.split_once('x')) {
            ("h1", None) => Self::Http1 {
                connections: number(rest)?,
            },
            ("h2", Some((connections, streams))) => Self::Http2 {
                connections: number(connections)?,
                streams: number(streams)?,
            },
            _ => return Err(usage()),
        };
        let (connections, streams) = match shape {
            Self::Http1 { connections } => (connections, 1),
            Self::Http2 {
                connections,
                streams,
            } => (connections, streams),
        };
        if !(1..=LANES_MAX).contains(&connections.saturating_mul(streams)) || streams > STREAMS_MAX
        {
            return Err(format!("'{text}' is out of range"));
        }
        Ok(shape)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http1 { connections } => write!(f, "HTTP/1.1, {connections} connections"),
            Self::Http2 {
                connections,
                streams,
            } => write!(f, "HTTP/2, {connections} × {streams} streams"),
        }
    }
}

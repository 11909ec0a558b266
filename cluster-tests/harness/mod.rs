//! What the tests stand on: processes, certificates, raw clients, bounded waiting.

pub(crate) mod certs;
pub(crate) mod cluster;
pub(crate) mod frames;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod lone;
pub(crate) mod pty;
pub(crate) mod server;
mod standin;
pub(crate) mod wait;

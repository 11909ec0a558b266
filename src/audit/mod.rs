//! Layer 2: who did what. Records of the calls that change keys, in order, to the console and to
//! the subscribers of `/v1/log/audit`.
//!
//! A record never holds key material, plaintext or ciphertext.

pub(crate) mod actor;
mod event;
mod handle;

pub use event::AuditEvent;
pub use handle::{AuditPermit, AuditSink, Overloaded};

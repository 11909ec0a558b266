//! Layer 0: the vocabulary of the project. No I/O, no async, no other module of the crate.

pub mod base64;
pub mod clock;
pub mod exit;
pub mod identity;
pub mod limits;
pub mod name;
pub mod os_error;
pub mod secret;
pub mod snapshot;
pub mod version;

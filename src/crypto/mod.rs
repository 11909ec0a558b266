//! Layer 1: cryptography as pure functions over bytes. No I/O but the random number generator of
//! the operating system, no async; nothing here logs, and no error carries a secret.

pub mod api_key;
pub mod at_rest;
pub mod certificate;
pub mod cipher;
mod der;
pub mod hmac;
mod json;
pub mod key_version;
mod legacy;
pub mod pem;
pub mod random;

#[cfg(test)]
mod vectors;

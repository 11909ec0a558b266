//! Layer 8: sockets. Accepts connections, makes TLS of them, tells who is at the other end, and
//! carries requests to the API and answers back, over HTTP/1.1 (actix-web) and HTTP/2 (h2).
//!
//! It must never decide what a client may do, and never take an identity from anything but the
//! end-entity certificate whose key the client has proven to hold.

pub(crate) mod actor;
mod body;
mod connection;
mod date;
mod exchange;
mod http1;
mod http2;
pub mod listener;
pub(crate) mod messages;
mod proxy;
mod stream;
#[cfg(test)]
mod tests;
pub mod tls;
mod verifier;

//! Tests of the transport: who gets in, and what arrives.

mod convert;
mod tls;

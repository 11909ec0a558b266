//! Tests of the transport: who gets in, what arrives, and what happens if it does not.

mod convert;
mod faults;
mod harness;
mod nodes;
mod snapshots;
mod tls;

//! How nodes talk to each other: gRPC over mutual TLS, in which each end knows whom it speaks with.
//!
//! `tls` makes and checks identities, `serve` listens, `dial` calls, `convert` translates
//! between openraft and `proto/kes/cluster/v1`. What a node does when it is called stands in
//! `raft::service`, behind the trait `serve::ControlRpc`.
//!
//! Invariants: nothing is read from a connection before both ends have proven that they hold a root
//! key of the cluster. A call never reaches another node than the one it is meant for. No message of
//! a peer makes this node panic.

mod accept;
pub(super) mod convert;
pub(super) mod dial;
pub(super) mod network;
pub(super) mod refusal;
pub(super) mod serve;
mod snapshot;
mod stream;
pub mod tls;

/// The messages and services of `proto/kes/cluster/v1`.
#[allow(
    unreachable_pub,
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated code"
)]
mod proto {
    tonic::include_proto!("kes.cluster.v1");
}

#[cfg(test)]
mod tests;

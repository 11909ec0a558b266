//! Keswick: a clustered key management server that speaks the KES API.
//!
//! The modules are layers; each imports only from those above it in this list. `scripts/tidy.rs`
//! enforces it.

#![warn(missing_docs)]

pub mod base;

pub mod crypto;
pub mod telemetry;
pub mod wire;

pub mod audit;
pub mod authz;
pub mod client;
pub mod machine;

pub mod keystore;
pub mod storage;

pub mod raft;

pub mod gateway;

pub mod cache;

pub mod api;

pub mod ingress;

pub mod config;

pub mod node;

pub mod cli;

pub mod docs;

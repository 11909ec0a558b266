//! Layer 10: wiring. Builds a node from its configuration in the order of the layers, reloads it,
//! and takes it down.

mod cluster;
mod dev;
mod error;
mod hardening;
mod policies;
mod prepare;
mod run;
mod runtime;
pub mod store;
mod tell;

pub use dev::{Development, local_addresses};
pub use error::NodeError;
pub use hardening::{Hardening, harden};
pub use prepare::{Prepared, PreparedTls, listen_address};
pub use run::{Node, Telemetry};
pub use runtime::run_system;

//! Layer 1: what the operator sees: error log, console, metrics.

pub mod console;
pub mod error_log;
pub mod metrics;
pub mod process;
pub mod slog;

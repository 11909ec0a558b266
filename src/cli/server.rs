//! `kes server`: placeholder of this branch; the body is written elsewhere.

use std::process::ExitCode;

use super::args::ServerArgs;

/// Runs a server until it is told to stop.
pub fn run(args: ServerArgs) -> ExitCode {
    drop(args);
    ExitCode::FAILURE
}

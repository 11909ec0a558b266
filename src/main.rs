//! The `kes` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    keswick::cli::run()
}

//! `kes update`: only says why there is none.

use super::failure::Failure;

/// Fails, with a hint to what works.
pub(super) fn run() -> Result<(), Failure> {
    let message =
        "kes does not update itself; install the new release the way this one was installed";
    Err(Failure::usage("kes update", message))
}

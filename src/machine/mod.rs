//! Layer 2: the replicated state machine, pure. No clock, no randomness, no I/O, no plaintext.
//!
//! Every replica applies the same commands in the same order and so reaches the same state. What
//! could differ between replicas (time, random bytes, sealing) is decided by the proposer and is
//! part of the command; the limits that decide over acceptance are part of the format.

mod apply;
pub mod codec;
pub mod command;
pub mod image;
pub mod outcome;
pub mod record;
#[cfg(test)]
mod samples;
pub mod state;

pub use command::{Command, Op, Proposal, RequestId, RestoreId};
pub use outcome::{Outcome, Rejection, Reply};
pub use record::{
    AssignmentRecord, Digest32, KeyRecord, PolicyRecord, RecordId, RecordKind, Reservation,
    RootEpoch, Sealed, SealedVersion,
};
pub use state::{Change, Counts, State};

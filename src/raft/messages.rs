//! What the actor of the replicated store is told.

use actix::Message;
use tokio::sync::oneshot;

use super::error::ProposeError;
use crate::machine::{Outcome, Proposal};
use crate::storage::LogId;

/// Write these proposals, with others in one entry of the log. Only the leader can.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Propose {
    /// At most [`crate::base::limits::BATCH_PROPOSALS_MAX`].
    pub(crate) proposals: Vec<Proposal>,
    /// One outcome for each, and where they stand in the log.
    pub(crate) reply: oneshot::Sender<Result<Committed, ProposeError>>,
}

/// Proposals that were committed and applied.
#[derive(Clone, Debug)]
pub(crate) struct Committed {
    /// One for each proposal.
    pub(crate) outcomes: Vec<Outcome>,
    /// Their entry.
    pub(crate) log_id: LogId,
}

/// Take no more proposals; answer when the last one is done.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop {
    pub(crate) reply: oneshot::Sender<()>,
}

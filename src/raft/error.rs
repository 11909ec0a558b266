//! Why the cluster could not do what it was asked. Each is a passing condition: nothing here says
//! that something does not exist.

use crate::machine::codec::CodecError;
use crate::machine::{Outcome, Rejection};

/// The cluster gives no answer, or none that may be believed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClusterError {
    /// Nobody leads, as far as this node can see.
    #[error("the cluster has no leader at the moment")]
    NoLeader,
    /// The leader cannot reach a quorum.
    #[error("a majority of the cluster's nodes cannot be reached")]
    NoQuorum,
    /// This node does not lead (any more): ask the one that does.
    #[error("this node does not lead the cluster")]
    NotLeader,
    /// The node that leads cannot be reached.
    #[error("the leader cannot be reached: {0}")]
    LeaderUnreachable(String),
    /// There was no answer in time. What was asked for may have happened, or may yet.
    #[error("the cluster gave no answer in time")]
    TimedOut,
    /// Too much is waiting.
    #[error("the cluster has too much to do at the moment")]
    Overloaded,
    /// This node belongs to no cluster yet.
    #[error("this node is not a member of a cluster yet")]
    NotMember,
    /// A backup is being restored: what is there is not complete.
    #[error("a backup is being restored")]
    Restoring,
    /// This node is stopping, or its disk failed.
    #[error("this node's part of the cluster has stopped: {0}")]
    Stopped(String),
}

/// A change that was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// The cluster gave no answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The cluster refused it, and nothing changed.
    #[error("{0}")]
    Rejected(Rejection),
    /// What another node answered cannot be understood.
    #[error("an answer within the cluster cannot be understood: {0}")]
    Garbled(String),
}

impl ProposeError {
    /// An outcome that does not belong to what was proposed.
    pub fn unexpected(outcome: &Outcome) -> Self {
        Self::Garbled(format!("unexpected outcome {outcome:?}"))
    }
}

impl From<CodecError> for ProposeError {
    fn from(error: CodecError) -> Self {
        Self::Garbled(error.to_string())
    }
}

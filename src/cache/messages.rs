//! What the cache's actor is told.

use actix::Message;
use tokio::sync::oneshot;

use super::Expiry;

/// Use other times from now on, and begin with an empty cache.
pub(crate) struct ReplaceExpiry {
    /// The new times.
    pub(crate) expiry: Expiry,
    /// Answered when the cache is empty.
    pub(crate) reply: oneshot::Sender<()>,
}

impl Message for ReplaceExpiry {
    type Result = ();
}

/// Forget all keys.
pub(crate) struct Clear;

impl Message for Clear {
    type Result = ();
}

/// End the actor. The cache goes on; keys stay until they are deleted.
pub(crate) struct Stop;

impl Message for Stop {
    type Result = ();
}

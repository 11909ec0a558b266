//! What the gateway's actor is told.

use std::sync::Arc;

use actix::Message;
use tokio::sync::oneshot;

use crate::keystore::KeyStore;

/// Use another store from now on. The old one is closed when its last call is done.
pub(crate) struct ReplaceStore {
    /// The new store, open.
    pub(crate) store: Arc<dyn KeyStore>,
    /// Answered when the new store is in use.
    pub(crate) reply: oneshot::Sender<()>,
}

impl Message for ReplaceStore {
    type Result = ();
}

/// End the actor. The gateway goes on with the store and the status it has.
pub(crate) struct Stop;

impl Message for Stop {
    type Result = ();
}

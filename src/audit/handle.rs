//! How the API leaves records: through a bounded queue that refuses rather than drops.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

use super::event::AuditEvent;
use crate::base::limits::LOG_SUBSCRIBERS_MAX;

/// No room for another record: the call must not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the audit log is overloaded")]
pub struct Overloaded;

/// Room for one record, taken before the audited call is made.
pub struct AuditPermit(mpsc::OwnedPermit<AuditEvent>);

impl AuditPermit {
    /// Leaves the record.
    pub fn record(self, event: AuditEvent) {
        self.0.send(event);
    }
}

/// Where records go. Clones share it.
#[derive(Clone)]
pub struct AuditSink {
    queue: mpsc::Sender<AuditEvent>,
    subscribers: broadcast::Sender<Arc<AuditEvent>>,
}

impl AuditSink {
    pub(super) fn new(
        queue: mpsc::Sender<AuditEvent>,
        subscribers: broadcast::Sender<Arc<AuditEvent>>,
    ) -> Self {
        Self { queue, subscribers }
    }

    /// Takes room for one record.
    ///
    /// # Errors
    ///
    /// [`Overloaded`] if the queue is full, or the audit actor is gone.
    pub fn reserve(&self) -> Result<AuditPermit, Overloaded> {
        self.queue
            .clone()
            .try_reserve_owned()
            .map(AuditPermit)
            .map_err(|_| Overloaded)
    }

    /// Events from now on; `None` if there are too many subscribers. A subscriber that is slower
    /// than the events loses the oldest.
    pub fn subscribe(&self) -> Option<broadcast::Receiver<Arc<AuditEvent>>> {
        (self.subscribers.receiver_count() < LOG_SUBSCRIBERS_MAX)
            .then(|| self.subscribers.subscribe())
    }
}

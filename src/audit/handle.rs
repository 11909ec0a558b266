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

    /// Waits until every record for which there was room reserved is left or given up, and the
    /// actor has taken all of them. While this waits there is no room for others.
    ///
    /// The actor writes a record in the same step in which it takes it: whoever runs on the
    /// actor's thread finds all of them written.
    pub async fn drained(&self) {
        // Fails only if the actor is gone, and the records with it.
        let _ = self.queue.reserve_many(self.queue.max_capacity()).await;
    }

    /// Events from now on; `None` if there are too many subscribers. A subscriber that is slower
    /// than the events loses the oldest.
    pub fn subscribe(&self) -> Option<broadcast::Receiver<Arc<AuditEvent>>> {
        (self.subscribers.receiver_count() < LOG_SUBSCRIBERS_MAX)
            .then(|| self.subscribers.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::base::identity::Identity;

    fn event() -> AuditEvent {
        AuditEvent {
            time: Timestamp::ZERO,
            message: String::new(),
            method: String::new(),
            path: String::new(),
            ip: None,
            identity: Identity::unknown(),
            status: 200,
            duration: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn drained_means_that_every_record_was_taken() {
        let (queue, mut records) = mpsc::channel(3);
        let sink = AuditSink::new(queue, broadcast::channel(1).0);
        sink.drained().await;
        let permit = sink.reserve().expect("room");
        let given_up = sink.reserve().expect("room");
        let waiting = sink.clone();
        let drained = tokio::spawn(async move { waiting.drained().await });
        tokio::task::yield_now().await;
        assert!(sink.reserve().is_err(), "no new records while it waits");
        permit.record(event());
        drop(given_up);
        tokio::task::yield_now().await;
        assert!(!drained.is_finished(), "a record is still in the queue");
        assert!(records.recv().await.is_some());
        drained.await.expect("drained");
        assert!(sink.reserve().is_ok());
    }
}

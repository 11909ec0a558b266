//! Loads under way: who asks for a key that is being loaded waits for that load.
//!
//! A load is *detached* when its result may be older than an answer that somebody already got:
//! nobody joins it any more, and it does not enter the cache.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::entry::CachedKey;
use super::handle::LoadError;

/// What a load gives.
pub(super) type Outcome = Result<Arc<CachedKey>, LoadError>;

/// The outcome, as soon as there is one. Closed without one if the load was aborted.
pub(super) type Pending = watch::Receiver<Option<Outcome>>;

/// The loads under way.
#[derive(Default)]
pub(super) struct Flights {
    attached: HashMap<Box<str>, Flight>,
    /// Attached and detached ones.
    under_way: usize,
    next_id: u64,
}

struct Flight {
    id: u64,
    generation: u64,
    outcome: Pending,
}

impl Flights {
    /// The load of `name` that one may wait for.
    pub(super) fn join(&self, name: &str, generation: u64) -> Option<Pending> {
        let flight = self.attached.get(name)?;
        (flight.generation == generation).then(|| flight.outcome.clone())
    }

    /// Attaches a new load. An older one of that name is detached.
    pub(super) fn start(&mut self, name: &str, generation: u64, outcome: Pending) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.under_way += 1;
        let flight = Flight {
            id,
            generation,
            outcome,
        };
        self.attached.insert(name.into(), flight);
        id
    }

    /// Ends a load. True if it is attached, that is if its result may be kept.
    pub(super) fn end(&mut self, name: &str, id: u64) -> bool {
        self.under_way = self.under_way.saturating_sub(1);
        let is_attached = self
            .attached
            .get(name)
            .is_some_and(|flight| flight.id == id);
        if is_attached {
            self.attached.remove(name);
        }
        is_attached
    }

    /// Detaches the load of `name`, if there is one.
    pub(super) fn detach(&mut self, name: &str) {
        self.attached.remove(name);
    }

    /// Detaches all loads.
    pub(super) fn detach_all(&mut self) {
        self.attached.clear();
    }

    /// How many loads there are, detached ones included.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }
}

//! One writer publishes, many readers load: how state leaves an actor without a message.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// A value that readers load without waiting and a writer replaces as a whole.
///
/// Hot path: `load` is two atomic operations and takes no lock. Clones share the value.
pub struct Published<T>(Arc<ArcSwap<T>>);

impl<T> Published<T> {
    /// Publishes a first value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(value)))
    }

    /// The current value, for a short look.
    pub fn load(&self) -> Guard<Arc<T>> {
        self.0.load()
    }

    /// The current value, to keep.
    pub fn load_full(&self) -> Arc<T> {
        self.0.load_full()
    }

    /// Replaces the value. Readers that hold the old one keep it.
    pub fn publish(&self, value: T) {
        self.0.store(Arc::new(value));
    }
}

impl<T> Clone for Published<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

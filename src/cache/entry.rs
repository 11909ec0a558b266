//! One cached key.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::crypto::key_version::KeyVersion;

/// A decrypted key and what the cache knows about it.
pub struct CachedKey {
    key: KeyVersion,
    /// The generation of the gateway whose store the key came from.
    generation: u64,
    /// Whether the key was used since the last sweep.
    used: AtomicBool,
}

impl CachedKey {
    pub(super) fn new(key: KeyVersion, generation: u64) -> Self {
        Self {
            key,
            generation,
            used: AtomicBool::new(true),
        }
    }

    /// The key.
    pub fn key(&self) -> &KeyVersion {
        &self.key
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Hot path: reads first, because a store would take the cache line away from all other
    /// threads.
    pub(super) fn mark_used(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the key was used since this was asked the last time.
    pub(super) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}

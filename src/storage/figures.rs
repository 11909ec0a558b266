//! Figures of the storage, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the disk thread counts.
#[derive(Default)]
pub(super) struct DiskFigures {
    syncs: AtomicU64,
    sync_us_total: AtomicU64,
    sync_us_last: AtomicU64,
    sync_us_max: AtomicU64,
}

/// Figures of the storage at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// How many fsyncs of the database there were since the start.
    pub syncs: u64,
    /// How long they took together.
    pub sync_time_total: Duration,
    /// How long the last one took.
    pub sync_time_last: Duration,
    /// How long the slowest one took.
    pub sync_time_max: Duration,
    /// Size of the database's files.
    pub database_bytes: u64,
    /// Size of the snapshot files.
    pub snapshot_bytes: u64,
    /// What is free on the file system of the data directory, for this user.
    pub free_bytes: u64,
}

impl DiskFigures {
    /// Counts an fsync. Called by one thread only.
    pub(super) fn synced(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_us_total.fetch_add(took, Ordering::Relaxed);
        self.sync_us_last.store(took, Ordering::Relaxed);
        self.sync_us_max.fetch_max(took, Ordering::Relaxed);
    }

    /// The figures of the disk thread, the others being 0.
    pub(super) fn load(&self) -> Figures {
        let duration = |us: &AtomicU64| Duration::from_micros(us.load(Ordering::Relaxed));
        Figures {
            syncs: self.syncs.load(Ordering::Relaxed),
            sync_time_total: duration(&self.sync_us_total),
            sync_time_last: duration(&self.sync_us_last),
            sync_time_max: duration(&self.sync_us_max),
            ..Figures::default()
        }
    }
}

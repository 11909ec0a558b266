//! A counter that many threads increment without disturbing each other.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// More than this many threads share shards, which costs speed and nothing else.
const SHARDS: usize = 32;

/// The next thread's shard. The only state of this module that counters share; it carries nothing
/// but a distribution.
static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: usize = NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS;
}

/// A count, spread over cache lines.
#[derive(Default)]
pub(super) struct Counter([Shard; SHARDS]);

/// Two cache lines: processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Shard(AtomicU64);

impl Counter {
    /// Hot path.
    pub(super) fn increment(&self) {
        let shard = SHARD.with(|shard| *shard);
        if let Some(shard) = self.0.get(shard) {
            shard.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn total(&self) -> u64 {
        let counts = self.0.iter().map(|shard| shard.0.load(Ordering::Relaxed));
        counts.fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_increment_is_lost() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..SHARDS + 8 {
                scope.spawn(|| (0..1000).for_each(|_| counter.increment()));
            }
        });
        let threads = u64::try_from(SHARDS + 8).expect("a small number");
        assert_eq!(counter.total(), threads * 1000);
    }
}

//! Bounded polling. The only place in the tests that may sleep (`scripts/tidy.rs` knows it).

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// Polls `probe` until it gives a value; panics with `what` when `limit` has passed.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    match poll(limit, probe) {
        Some(value) => value,
        None => panic!("waited {limit:?} in vain for: {what}"),
    }
}

/// Polls `probe` until it gives a value or `limit` has passed.
pub(crate) fn poll<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Lets `pause` pass between two steps of a load that is paced on purpose.
pub(crate) async fn pace(pause: Duration) {
    tokio::time::sleep(pause).await;
}

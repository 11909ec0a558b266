//! When a request is tried again, and how long to wait before.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::error::ClientError;
use super::transport::Answer;
use crate::crypto::random;

/// Tries of one request at one server, the first included.
pub(super) const TRIES_MAX: usize = 3;

/// Waits for a time. Replaced in tests.
pub(super) type Pause =
    Arc<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Really waits.
pub(super) fn sleep() -> Pause {
    Arc::new(|time| Box::pin(tokio::time::sleep(time)))
}

/// Whether the same server may do better if it is asked again: the network failed, or the server said
/// that it is not ready.
pub(super) fn is_worth_another_try(result: &Result<Answer, ClientError>) -> bool {
    match result {
        Ok(answer) => answer.status() == 503,
        Err(error) => error.is_connection(),
    }
}

/// Whether another server may do better: this one could not be asked, or failed. Of the failures, 501
/// says that the server does not know the call, which another one will not, either.
pub(super) fn is_failure(result: &Result<Answer, ClientError>) -> bool {
    match result {
        Ok(answer) => answer.status() >= 500 && answer.status() != 501,
        Err(_) => true,
    }
}

/// 200 ms and a random part, so that clients do not come back all at once.
pub(super) fn delay() -> Duration {
    Duration::from_millis(200 + u64::from(random_number() % 800))
}

/// A random number that need not be secret.
pub(super) fn random_number() -> u32 {
    random::array().map(u32::from_le_bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_spread_over_the_documented_range() {
        let delays: Vec<Duration> = (0..200).map(|_| delay()).collect();
        let (least, most) = (Duration::from_millis(200), Duration::from_millis(999));
        assert!(delays.iter().all(|delay| (least..=most).contains(delay)));
        assert!(delays.iter().any(|delay| *delay != delays[0]));
    }
}

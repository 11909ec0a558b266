//! A time-out that costs nothing when there is nothing to wait for.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Runs `future` for at most `timeout`, zero meaning for ever; `None` if the time is over.
///
/// Hot path: the timer is made only if the future is not ready at once.
pub async fn within<T>(timeout: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(value) => Some(value),
        Poll::Pending if timeout.is_zero() => Some(future.await),
        Poll::Pending => tokio::time::timeout(timeout, future).await.ok(),
    }
}

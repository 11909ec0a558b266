//! Rounds: many ask the same question of the cluster, and one answer serves all who asked before
//! the question was sent.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::error::ClusterError;
use crate::base::limits::ROUND_WAITERS_MAX;

/// What a round gives.
type Answer<T> = Result<T, ClusterError>;

/// Asks in rounds. Clones ask in the same ones.
pub(super) struct Rounds<T>(mpsc::Sender<oneshot::Sender<Answer<T>>>);

impl<T> Clone for Rounds<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone + Send + 'static> Rounds<T> {
    /// Rounds in which `ask` asks, on `runtime`, until all clones are dropped.
    pub(super) fn start<F>(runtime: &Handle, ask: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        let (waiters, waiting) = mpsc::channel(ROUND_WAITERS_MAX);
        drop(runtime.spawn(run(waiting, ask)));
        Self(waiters)
    }

    /// The answer of the next round: who asks never gets an answer from before.
    ///
    /// # Errors
    ///
    /// That of the round; [`ClusterError::Overloaded`] if too many wait.
    pub(super) async fn next(&self) -> Answer<T> {
        let (waiter, answer) = oneshot::channel();
        match self.0.try_send(waiter) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(ClusterError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(stopped()),
        }
        answer.await.unwrap_or_else(|_dropped| Err(stopped()))
    }
}

fn stopped() -> ClusterError {
    ClusterError::Stopped("it is shutting down".to_owned())
}

async fn run<T, F>(
    mut waiting: mpsc::Receiver<oneshot::Sender<Answer<T>>>,
    ask: impl Fn() -> F + Send,
) where
    T: Clone,
    F: Future<Output = Answer<T>>,
{
    let mut round = Vec::new();
    // All who wait now are in one round; who comes while it runs is in the next.
    while waiting.recv_many(&mut round, ROUND_WAITERS_MAX).await > 0 {
        let answer = ask().await;
        for waiter in round.drain(..) {
            // The waiter may have given up.
            let _ = waiter.send(answer.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn who_comes_during_a_round_is_in_the_next() {
        let asked = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let (count, wait) = (Arc::clone(&asked), Arc::clone(&gate));
        let rounds = Rounds::start(&Handle::current(), move || {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let wait = Arc::clone(&wait);
            async move {
                wait.acquire().await.expect("a gate").forget();
                Ok(number)
            }
        });
        let ask = || {
            let rounds = rounds.clone();
            tokio::spawn(async move { rounds.next().await })
        };
        let first = ask();
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let late: Vec<_> = (0..50).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        gate.add_permits(2);
        assert_eq!(first.await.expect("a task").expect("an answer"), 0);
        for waiter in late {
            assert_eq!(waiter.await.expect("a task").expect("an answer"), 1);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}

//! A good client that keeps asking while something bad happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::http::{Dial, Request};
use super::wait::pace;

/// Requests one after the other, each on a connection of its own.
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Result<Duration, String>>>,
}

/// What a witness saw.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) served: usize,
    pub(crate) slowest: Duration,
    pub(crate) failures: Vec<String>,
}

impl Witness {
    /// Starts to send `request`, which must be answered with 200 each time.
    pub(crate) fn start(dial: Dial, request: Request) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                let began = Instant::now();
                seen.push(match dial.request(&request).await {
                    Ok(answer) if answer.status == 200 => Ok(began.elapsed()),
                    Ok(answer) => Err(format!("{} {}", answer.status, answer.text())),
                    Err(end) => Err(format!("{end} after {:?}", began.elapsed())),
                });
                // Not before the first: however soon it is stopped, it has seen something.
                if stopped.load(Ordering::Relaxed) {
                    return seen;
                }
                pace(Duration::from_millis(20)).await;
            }
        });
        Self { stop, task }
    }

    /// Stops; what was seen.
    pub(crate) async fn finish(self) -> Service {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.task.await.expect("witness");
        let times = || seen.iter().filter_map(|one| one.as_ref().ok());
        Service {
            served: times().count(),
            slowest: times().max().copied().unwrap_or_default(),
            failures: seen
                .iter()
                .filter_map(|one| one.as_ref().err())
                .cloned()
                .collect(),
        }
    }

    /// Stops; every request must have been served, none slower than `limit`.
    pub(crate) async fn assert_served(self, what: &str, limit: Duration) {
        let service = self.finish().await;
        assert!(service.failures.is_empty(), "{what}: {service:?}");
        assert!(service.served >= 1, "{what}: {service:?}");
        assert!(service.slowest < limit, "{what}: {service:?}");
        eprintln!(
            "{what}: {} served, slowest {:?}",
            service.served, service.slowest
        );
    }
}

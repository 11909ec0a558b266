//! The way to one node: its current connection, or the one attempt to open one that all who need it
//! share.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::connection::{Connection, DialError, Route};
use super::pause::Pause;

/// A call has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(in super::super) enum CallError {
    /// There is no connection to the node: it heard nothing of the call.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in this time. The node may have done what it was asked, or may yet.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The node refused, or the connection to it broke; then it may have done what it was asked.
    #[error("{0}")]
    Failed(Status),
}

type Attempt = Shared<BoxFuture<'static, Result<Connection, Arc<DialError>>>>;

/// One connection to a node, opened when it is needed.
pub(in super::super) struct Link {
    route: Route,
    runtime: Handle,
    /// The last attempt: under way, failed, or the connection.
    last: Mutex<Option<Attempt>>,
    pause: Arc<Mutex<Pause>>,
}

impl Link {
    pub(super) fn new(route: Route, runtime: Handle) -> Self {
        Self {
            route,
            runtime,
            last: Mutex::new(None),
            pause: Arc::new(Mutex::new(Pause::default())),
        }
    }

    /// Makes a call within `timeout`, of which `connect_timeout` may pass until there is a connection.
    pub(in super::super) async fn call<T, F>(
        &self,
        connect_timeout: Duration,
        timeout: Duration,
        rpc: impl FnOnce(Channel) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let deadline = Instant::now() + timeout;
        let attempt = self.attempt();
        let connection = match tokio::time::timeout(connect_timeout, attempt).await {
            Ok(opened) => opened.map_err(|error| CallError::Unreachable(error.to_string()))?,
            Err(_elapsed) => return Err(not_connected(connect_timeout)),
        };
        call_over(connection.channel, deadline, timeout, rpc).await
    }

    /// What leads to a connection. If there is none, or it has broken or gone out of date, one is opened;
    /// if that fails all who wait hear it.
    fn attempt(&self) -> Attempt {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = last.as_ref().filter(|last| match last.peek() {
            None => true,
            Some(Ok(connection)) => connection.is_current(&self.route.tls),
            Some(Err(_)) => false,
        });
        match usable {
            Some(attempt) => attempt.clone(),
            None => {
                let attempt = self.begin();
                *last = Some(attempt.clone());
                attempt
            }
        }
    }

    /// Opens a connection in a task of its own: it takes as long as it takes, while those who wait come
    /// and go. With a heartbeat's patience alone no connection over a slow network would ever stand.
    fn begin(&self) -> Attempt {
        let route = self.route.clone();
        let pause = Arc::clone(&self.pause);
        let task = self.runtime.spawn(async move {
            let begin_at = lock(&pause).next(Instant::now());
            tokio::time::sleep_until(begin_at).await;
            let opened = route.open().await;
            if opened.is_ok() {
                lock(&pause).opened(Instant::now());
            }
            opened.map_err(Arc::new)
        });
        task.map(|done| done.unwrap_or_else(|_| Err(Arc::new(DialError::GivenUp))))
            .boxed()
            .shared()
    }
}

/// Makes a call over a connection that is there. `timeout` is for people.
pub(super) async fn call_over<T, F>(
    channel: Channel,
    deadline: Instant,
    timeout: Duration,
    rpc: impl FnOnce(Channel) -> F,
) -> Result<T, CallError>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    match tokio::time::timeout_at(deadline, rpc(channel)).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) if is_late(&status) => Err(CallError::TimedOut(timeout)),
        Ok(Err(status)) => Err(CallError::Failed(status)),
        Err(_elapsed) => Err(CallError::TimedOut(timeout)),
    }
}

/// Whether the library, at either end, has given a call up. A refusal has details.
fn is_late(status: &Status) -> bool {
    matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) && status.details().is_empty()
}

/// A message with a time after which the other end gives up, too.
pub(in super::super) fn timed<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

pub(super) fn not_connected(timeout: Duration) -> CallError {
    CallError::Unreachable(format!("no connection within {timeout:?}"))
}

fn lock(pause: &Mutex<Pause>) -> std::sync::MutexGuard<'_, Pause> {
    // Held for a few assignments, which leave nothing half-changed.
    pause.lock().unwrap_or_else(PoisonError::into_inner)
}

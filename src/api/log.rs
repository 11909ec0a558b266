//! Handlers of `/v1/log/`: streams of events from now on, until the client or the server goes.
//!
//! A subscriber that is slower than the events loses the oldest; it never slows anybody down.

use std::sync::Arc;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::context::Api;
use super::drain::Draining;
use super::error::ApiError;
use super::reply::{CutOff, Reply, ReplyBody, StreamBody};
use crate::audit::AuditEvent;
use crate::wire;

/// Content type of the streams.
const STREAM_TYPE: &str = "application/x-ndjson";

pub(super) fn errors(api: &Api) -> Result<Reply, ApiError> {
    let lines = api.error_log.subscribe().ok_or(ApiError::Overloaded)?;
    Ok(streamed(lines, api, |text: Arc<str>| {
        wire::log::ErrorEvent {
            message: text.to_string(),
        }
        .to_line()
    }))
}

pub(super) fn audit(api: &Api) -> Result<Reply, ApiError> {
    let events = api.audit.subscribe().ok_or(ApiError::Overloaded)?;
    Ok(streamed(events, api, |event: Arc<AuditEvent>| {
        let event = wire::log::AuditEvent {
            time: event.time.to_rfc3339_local(),
            request: wire::log::AuditRequest {
                ip: event.ip.map(|ip| ip.to_string()).unwrap_or_default(),
                path: event.path.clone(),
                identity: event.identity.to_string(),
            },
            response: wire::log::AuditResponse {
                code: event.status,
                time: u64::try_from(event.duration.as_nanos()).unwrap_or(u64::MAX),
            },
        };
        event.to_line()
    }))
}

fn streamed<T: Clone + Send + 'static>(
    events: Receiver<T>,
    api: &Api,
    to_line: impl Fn(T) -> Vec<u8> + Send + 'static,
) -> Reply {
    let chunks = until_drained(events, api.draining.clone(), to_line);
    Reply {
        content_type: Some(STREAM_TYPE),
        body: ReplyBody::Stream(StreamBody::new(chunks)),
        ..Reply::empty()
    }
}

fn until_drained<T: Clone + Send + 'static>(
    events: Receiver<T>,
    draining: Draining,
    to_line: impl Fn(T) -> Vec<u8> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, CutOff>> + Send {
    stream::unfold(
        (events, draining, to_line),
        |(mut events, draining, to_line)| async move {
            loop {
                tokio::select! {
                    () = draining.clone().begun() => return None,
                    event = events.recv() => match event {
                        Ok(event) => {
                            let line = Bytes::from(to_line(event));
                            return Some((Ok(line), (events, draining, to_line)));
                        }
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return None,
                    },
                }
            }
        },
    )
}

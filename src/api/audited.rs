//! Changes and their audit records.

use std::future::Future;

use super::context::Api;
use super::dispatch::Admitted;
use super::error::ApiError;
use super::reply::Reply;
use crate::audit::AuditEvent;
use crate::base::clock::Timestamp;

/// Makes a change and leaves its audit record. Room for the record is taken first, and both go on if
/// the client goes away: no change is without its record.
pub(super) async fn audited(
    api: &Api,
    request: &Admitted<'_>,
    message: String,
    change: impl Future<Output = Result<(), ApiError>> + Send + 'static,
) -> Result<Reply, ApiError> {
    let audit = api.audit.reserve().map_err(|_| ApiError::Overloaded)?;
    let received = request.received;
    let mut event = AuditEvent {
        time: Timestamp::now(),
        message,
        method: request.method.to_owned(),
        path: request.path.clone().into_owned(),
        ip: request.peer.ip,
        identity: request.identity.clone(),
        status: 200,
        duration: received.elapsed(),
    };
    // Not on this thread, which ends with its connections when the node stops.
    let recorded = api.gateway.runtime().spawn(async move {
        change.await?;
        event.time = Timestamp::now();
        event.duration = received.elapsed();
        audit.record(event);
        Ok(())
    });
    // An aborted task ends with the process: what became of the change is not known.
    recorded.await.unwrap_or(Err(ApiError::Overloaded))?;
    Ok(Reply::empty())
}

//! Handlers of `/v1/cluster/snapshot` and `/v1/cluster/restore/`: for the admin of a node that is
//! part of a cluster.

use std::future::Future;

use futures_util::stream;

use super::cluster::cluster;
use super::context::Api;
use super::dispatch::{Admitted, Body};
use super::error::ApiError;
use super::reply::{CutOff, Reply, ReplyBody, StreamBody};
use crate::audit::AuditEvent;
use crate::base::clock::Timestamp;
use crate::gateway::BackupStream;
use crate::machine::RestoreId;
use crate::wire::cluster::{RestoreBegun, RestoreSummary, SNAPSHOT_CONTENT_TYPE};
use crate::wire::go_json::to_go_json;

pub(super) async fn save(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let backups = cluster(api)?.backups().clone();
    let begun = async move { Ok(backups.begin().await?) };
    let message = |_: &BackupStream| "backup of the cluster taken".to_owned();
    let backup = audited(api, request, message, begun).await?;
    let pieces = stream::unfold(backup, |mut backup| async move {
        let piece = backup.next().await?;
        Some((piece.map_err(|_broken_off| CutOff), backup))
    });
    Ok(Reply {
        content_type: Some(SNAPSHOT_CONTENT_TYPE),
        body: ReplyBody::Stream(StreamBody::new(pieces)),
        ..Reply::empty()
    })
}

pub(super) async fn begin_restore(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let restores = cluster(api)?.restores().clone();
    let begun = async move { Ok(restores.begin().await?) };
    let message = |id: &RestoreId| format!("upload of a backup '{}' begun", to_text(*id));
    let id = audited(api, request, message, begun).await?;
    Ok(Reply::json(to_go_json(&RestoreBegun { id: to_text(id) })))
}

pub(super) async fn take_piece(
    api: &Api,
    request: &Admitted<'_>,
    body: Body,
) -> Result<Reply, ApiError> {
    let Body::Complete(piece) = body else {
        return Err(ApiError::InvalidBody);
    };
    let place = request.resource().split_once('/');
    let (id, offset) = place.ok_or(ApiError::UnknownRestore)?;
    let id = parse(id).ok_or(ApiError::UnknownRestore)?;
    let offset = parse_offset(offset).ok_or(ApiError::InvalidOffset)?;
    cluster(api)?.restores().take(id, offset, piece).await?;
    Ok(Reply::empty())
}

pub(super) async fn commit_restore(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let id = parse(request.resource()).ok_or(ApiError::UnknownRestore)?;
    let restores = cluster(api)?.restores().clone();
    let restored = async move {
        let counts = restores.commit(id).await.inspect_err(|error| {
            tracing::warn!(%error, "a backup was not restored");
        })?;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Ok(RestoreSummary {
            keys: count(counts.keys),
            policies: count(counts.policies),
            identities: count(counts.identities),
        })
    };
    let message = |restored: &RestoreSummary| {
        format!(
            "backup restored: {} keys, {} policies, {} identities",
            restored.keys, restored.policies, restored.identities
        )
    };
    let restored = audited(api, request, message, restored).await?;
    Ok(Reply::json(to_go_json(&restored)))
}

/// Does `work` and leaves an audit record with the message that its result gives. Room for the
/// record is taken first, and both go on if the client goes away.
async fn audited<T: Send + 'static>(
    api: &Api,
    request: &Admitted<'_>,
    message: impl FnOnce(&T) -> String + Send + 'static,
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    let audit = api.audit.reserve().map_err(|_| ApiError::Overloaded)?;
    let received = request.received;
    let (method, path) = (request.method.to_owned(), request.path.clone().into_owned());
    let (ip, identity) = (request.peer.ip, request.identity.clone());
    let recorded = api.gateway.runtime().spawn(async move {
        let done = work.await?;
        audit.record(AuditEvent {
            time: Timestamp::now(),
            message: message(&done),
            method,
            path,
            ip,
            identity,
            status: 200,
            duration: received.elapsed(),
        });
        Ok(done)
    });
    // The task is aborted only with the process.
    recorded.await.unwrap_or(Err(ApiError::Overloaded))
}

fn to_text(id: RestoreId) -> String {
    format!("{id:032x}")
}

/// Reads what [`to_text`] wrote, and nothing else.
fn parse(text: &str) -> Option<RestoreId> {
    let id = RestoreId::from_str_radix(text, 16).ok()?;
    (to_text(id) == text).then_some(id)
}

fn parse_offset(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_offsets_have_one_form() {
        let id = to_text(7);
        assert_eq!(id.len(), 32);
        assert_eq!(parse(&id), Some(7));
        assert_eq!(parse(&to_text(u128::MAX)), Some(u128::MAX));
        for text in ["", "7", "+0000000000000000000000000000007", "x"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&id.replace('7', "A")), None);
        assert_eq!(parse_offset("0"), Some(0));
        assert_eq!(parse_offset("524288"), Some(524_288));
        for text in ["", "+1", "-1", "1/2", "0x1", "18446744073709551616"] {
            assert_eq!(parse_offset(text), None, "{text}");
        }
    }
}

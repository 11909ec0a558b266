//! Why a call between nodes was refused, in the details of the gRPC status: the one place that maps
//! errors to gRPC, and back.

use bytes::Bytes;
use prost::Message as _;
use tonic::{Code, Status};

use super::convert::ConvertError;
use super::dial::link::CallError;
use super::proto::Refusal;
use super::proto::refusal::Kind;
use crate::raft::error::{ClusterError, ProposeError};
use crate::raft::membership::MembershipError;

fn refused(code: Code, kind: Kind, text: String) -> Status {
    let refusal = Refusal {
        kind: kind.into(),
        text: text.clone(),
    };
    Status::with_details(code, text, Bytes::from(refusal.encode_to_vec()))
}

impl From<ConvertError> for Status {
    fn from(error: ConvertError) -> Self {
        refused(Code::InvalidArgument, Kind::Malformed, error.to_string())
    }
}

/// The caller is not who it says it is.
pub(super) fn wrong_sender() -> Status {
    let text = "the sender is not the node that its certificate names".to_owned();
    refused(Code::PermissionDenied, Kind::WrongSender, text)
}

impl From<ClusterError> for Status {
    fn from(error: ClusterError) -> Self {
        let (code, kind) = match &error {
            ClusterError::NoLeader | ClusterError::LeaderUnreachable(_) => {
                (Code::Unavailable, Kind::NoLeader)
            }
            ClusterError::NoQuorum => (Code::Unavailable, Kind::NoQuorum),
            ClusterError::NotLeader => (Code::FailedPrecondition, Kind::NotLeader),
            ClusterError::TimedOut => (Code::DeadlineExceeded, Kind::TimedOut),
            ClusterError::Overloaded => (Code::ResourceExhausted, Kind::Overloaded),
            ClusterError::NotMember => (Code::FailedPrecondition, Kind::NotMember),
            ClusterError::Restoring => (Code::Unavailable, Kind::Restoring),
            ClusterError::Stopped(_) => (Code::Unavailable, Kind::Stopped),
        };
        let text = match error {
            ClusterError::Stopped(reason) => reason,
            error => error.to_string(),
        };
        refused(code, kind, text)
    }
}

impl From<ProposeError> for Status {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Cluster(error) => error.into(),
            // A rejection is an outcome, not an error; this is for what cannot be understood.
            other => refused(Code::Internal, Kind::Malformed, other.to_string()),
        }
    }
}

impl From<MembershipError> for Status {
    fn from(error: MembershipError) -> Self {
        match error {
            MembershipError::Cluster(error) => error.into(),
            MembershipError::NoSuchMember(text) => {
                refused(Code::NotFound, Kind::NoSuchMember, text)
            }
            MembershipError::Conflict(text) => {
                refused(Code::FailedPrecondition, Kind::Conflict, text)
            }
        }
    }
}

/// What a node answered, if it is a refusal of ours; otherwise the way to it failed.
fn refusal_of(status: &Status) -> Option<(Kind, String)> {
    if status.details().is_empty() {
        return None;
    }
    let refusal = Refusal::decode(status.details()).ok()?;
    Some((refusal.kind(), refusal.text))
}

/// The error that another node answered a call with, or that kept the call from it.
pub(super) fn cluster_error(error: &CallError) -> ClusterError {
    let status = match error {
        CallError::Failed(status) => status,
        CallError::TimedOut(_) => return ClusterError::TimedOut,
        CallError::Unreachable(reason) => {
            return ClusterError::LeaderUnreachable(reason.clone());
        }
    };
    let Some((kind, text)) = refusal_of(status) else {
        return ClusterError::LeaderUnreachable(status.message().to_owned());
    };
    match kind {
        Kind::NoLeader => ClusterError::NoLeader,
        Kind::NoQuorum => ClusterError::NoQuorum,
        Kind::NotLeader => ClusterError::NotLeader,
        Kind::TimedOut => ClusterError::TimedOut,
        Kind::Overloaded => ClusterError::Overloaded,
        Kind::NotMember => ClusterError::NotMember,
        Kind::Restoring => ClusterError::Restoring,
        // Another node may be there for it.
        Kind::Stopped
        | Kind::WrongSender
        | Kind::Malformed
        | Kind::NoSuchMember
        | Kind::Conflict
        | Kind::Unspecified => ClusterError::LeaderUnreachable(text),
    }
}

/// As [`cluster_error`], for changes of the membership.
pub(super) fn membership_error(error: &CallError) -> MembershipError {
    let refusal = match error {
        CallError::Failed(status) => refusal_of(status),
        CallError::TimedOut(_) | CallError::Unreachable(_) => None,
    };
    match refusal {
        Some((Kind::NoSuchMember, text)) => MembershipError::NoSuchMember(text),
        Some((Kind::Conflict, text)) => MembershipError::Conflict(text),
        _ => cluster_error(error).into(),
    }
}

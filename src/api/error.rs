//! What can go wrong with a request, independent of how it is told to the client.

use std::sync::Arc;

use crate::cache::LoadError;
use crate::gateway::{BackupError, PolicyChangeError, RestoreError, RotationError};
use crate::keystore::StoreError;
use crate::raft::MembershipError;

/// What was being done when a keystore failed; the texts of the answers differ by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Creating or importing a key.
    Create,
    /// Reading a key.
    Read,
    /// Deleting a key.
    Delete,
    /// Listing keys.
    List,
}

/// Why a client cannot be identified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthenticationError {
    /// No certificate of an end entity was presented.
    NoCertificate,
    /// More than one was.
    SeveralCertificates,
}

/// Why a request got no answer of its own. `respond.rs` says how each is told.
#[derive(Debug)]
pub enum ApiError {
    /// The client cannot be identified.
    NotAuthenticated(AuthenticationError),
    /// A TLS proxy did not say for whom it asks.
    NoForwardedCertificate,
    /// A TLS proxy named several clients.
    SeveralForwardedCertificates,
    /// What a TLS proxy forwarded is no certificate.
    InvalidForwardedCertificate,
    /// A forwarded certificate is not trusted.
    UntrustedForwardedCertificate,
    /// The client may not do this.
    NotAllowed,
    /// The method is not the route's.
    MethodNotAllowed {
        /// What was received.
        received: String,
        /// What the route takes.
        expected: &'static str,
    },
    /// Not a valid name for a key.
    InvalidKeyName(String),
    /// Not a valid name for a policy.
    InvalidPolicyName(String),
    /// Not a valid identity.
    InvalidIdentity(String),
    /// Not a valid pattern of a list call.
    InvalidPattern(String),
    /// The body is not what the route takes.
    InvalidBody,
    /// The body of an import is not what the route takes.
    InvalidImportBody,
    /// The algorithm of an import is not known.
    UnsupportedAlgorithm(String),
    /// The key of an import has the wrong length.
    InvalidKeySize(String),
    /// There is no such policy.
    PolicyNotFound,
    /// There is no such identity.
    IdentityNotFound,
    /// The key has no HMAC key.
    NoHmacKey,
    /// The ciphertext cannot be opened.
    NotAuthentic,
    /// A plaintext cannot be encrypted.
    EncryptFailed,
    /// A data key cannot be made.
    GenerateFailed,
    /// A key cannot be made.
    CreateFailed,
    /// The keystore failed.
    Store(Verb, Arc<StoreError>),
    /// The stored key cannot be understood.
    CorruptKey(String),
    /// The keystore cannot be reached, on a readiness check.
    NotReachable,
    /// The keystore answers, but not well, on a readiness check.
    NotAvailable,
    /// The node is going down.
    Draining,
    /// A bound is reached; the client may try again.
    Overloaded,
    /// The time of the route is over.
    TimedOut,
    /// The body did not arrive in time.
    BodyTimedOut,
    /// The membership of the cluster was not changed.
    Membership(MembershipError),
    /// No backup was made.
    NoBackup(Arc<BackupError>),
    /// A backup was not restored.
    NotRestored(Arc<RestoreError>),
    /// A backup is being restored: the node is not ready.
    Restoring,
    /// There is no restore of that name.
    UnknownRestore,
    /// The place of a piece of a backup is no number.
    InvalidOffset,
    /// The root key was not rotated.
    RootKeyNotRotated(Arc<RotationError>),
    /// A policy or an assignment was not changed.
    PolicyNotChanged(Arc<PolicyChangeError>),
    /// The metrics cannot be written.
    MetricsFailed,
}

impl ApiError {
    /// A failed call of the keystore.
    pub(super) fn store(verb: Verb, error: StoreError) -> Self {
        Self::Store(verb, Arc::new(error))
    }

    /// The cause that goes to the error log: what the client is not told.
    pub(super) fn cause(&self) -> Option<String> {
        match self {
            Self::Store(_, error) => match &**error {
                StoreError::NotFound | StoreError::Exists => None,
                error => Some(error.to_string()),
            },
            Self::CorruptKey(reason) => Some(reason.clone()),
            Self::EncryptFailed | Self::GenerateFailed | Self::CreateFailed => {
                Some("the operating system's random numbers or a cipher failed".to_owned())
            }
            Self::InvalidBody | Self::InvalidImportBody => Some("invalid request body".to_owned()),
            Self::NoBackup(error) => Some(error.to_string()),
            Self::NotRestored(error) => Some(error.to_string()),
            Self::RootKeyNotRotated(error) => Some(error.to_string()),
            Self::PolicyNotChanged(error) => match &**error {
                PolicyChangeError::Propose(error) => Some(error.to_string()),
                _ => None,
            },
            Self::MetricsFailed => Some("the metrics cannot be encoded".to_owned()),
            Self::Overloaded => Some("overloaded: a queue is full".to_owned()),
            Self::TimedOut => Some("the time of the route is over".to_owned()),
            _ => None,
        }
    }
}

impl From<MembershipError> for ApiError {
    fn from(error: MembershipError) -> Self {
        Self::Membership(error)
    }
}

impl From<BackupError> for ApiError {
    fn from(error: BackupError) -> Self {
        Self::NoBackup(Arc::new(error))
    }
}

impl From<RestoreError> for ApiError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Unknown => Self::UnknownRestore,
            error => Self::NotRestored(Arc::new(error)),
        }
    }
}

impl From<RotationError> for ApiError {
    fn from(error: RotationError) -> Self {
        Self::RootKeyNotRotated(Arc::new(error))
    }
}

impl From<PolicyChangeError> for ApiError {
    fn from(error: PolicyChangeError) -> Self {
        Self::PolicyNotChanged(Arc::new(error))
    }
}

impl From<LoadError> for ApiError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::NotFound => Self::store(Verb::Read, StoreError::NotFound),
            LoadError::Store(error) => Self::Store(Verb::Read, error),
            LoadError::Corrupt(reason) => Self::CorruptKey(reason.to_string()),
        }
    }
}

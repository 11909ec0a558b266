//! The one place that maps errors to HTTP. The texts are wire protocol: clients compare them.

use std::borrow::Cow;

use bytes::Bytes;

use super::error::{ApiError, AuthenticationError, Verb};
use super::reply::{Reply, ReplyBody};
use crate::crypto::at_rest::BackupError as SealedBackupError;
use crate::gateway::{
    BackupError, OpenBackupError, PolicyChangeError, RestoreError, RotationError, SealError,
    UploadError,
};
use crate::keystore::StoreError;
use crate::raft::{ClusterError, MembershipError, ProposeError};
use crate::wire;

/// A bound is reached.
const OVERLOADED: (u16, Cow<'static, str>) = (503, Cow::Borrowed("server is overloaded"));

/// No quorum, no leader, or not in time.
const NO_ANSWER: (u16, Cow<'static, str>) = (
    503,
    Cow::Borrowed("the cluster cannot answer at the moment"),
);

/// The answer that tells `error`.
pub fn error_reply(error: &ApiError) -> Reply {
    let (status, message) = status_and_message(error);
    let mut reply = Reply {
        status,
        ..Reply::of_type(
            "application/json",
            Bytes::from(wire::error::error_body(&message)),
        )
    };
    match error {
        // RFC 9110 wants Allow; the original says Accept.
        ApiError::MethodNotAllowed { expected, .. } => {
            reply.headers.push(("Allow", (*expected).to_owned()));
            reply.headers.push(("Accept", (*expected).to_owned()));
        }
        ApiError::BodyTimedOut | ApiError::TimedOut | ApiError::Draining => reply.close = true,
        _ => {}
    }
    reply
}

/// 404 for paths without a route: plain text, as the original's router.
pub(super) fn route_not_found() -> Reply {
    Reply {
        status: 404,
        headers: vec![("X-Content-Type-Options", "nosniff".to_owned())],
        ..Reply::of_type(
            "text/plain; charset=utf-8",
            Bytes::from_static(b"404 page not found\n"),
        )
    }
}

/// 400 for a request target that is no path.
pub(super) fn malformed_target() -> Reply {
    Reply {
        status: 400,
        close: true,
        ..Reply::of_type(
            "text/plain; charset=utf-8",
            Bytes::from_static(b"400 Bad Request"),
        )
    }
}

/// 400 for a request for the server as a whole (`OPTIONS *`): without a body, as the original.
pub(super) fn no_target() -> Reply {
    Reply {
        status: 400,
        close: true,
        ..Reply::empty()
    }
}

/// 301 to `location`, with the small page that browsers want on GET.
pub(super) fn redirect(method: &str, location: String) -> Reply {
    let mut reply = Reply {
        status: 301,
        ..Reply::empty()
    };
    if method == "GET" || method == "HEAD" {
        reply.content_type = Some("text/html; charset=utf-8");
    }
    if method == "GET" {
        let target = location
            .replace('&', "&amp;")
            .replace('"', "&#34;")
            .replace('\'', "&#39;");
        let target = target.replace('<', "&lt;").replace('>', "&gt;");
        let page = format!("<a href=\"{target}\">Moved Permanently</a>.\n\n");
        reply.body = ReplyBody::Bytes(Bytes::from(page));
    }
    reply.headers.push(("Location", location));
    reply
}

fn status_and_message(error: &ApiError) -> (u16, Cow<'static, str>) {
    let fixed = |status: u16, message: &'static str| (status, Cow::Borrowed(message));
    match error {
        ApiError::NotAuthenticated(AuthenticationError::NoCertificate) => {
            fixed(400, "tls: client certificate is required")
        }
        ApiError::NotAuthenticated(AuthenticationError::SeveralCertificates) => {
            fixed(400, "tls: received more than one client certificate")
        }
        ApiError::NoForwardedCertificate => fixed(400, "no client certificate is present"),
        ApiError::SeveralForwardedCertificates => {
            fixed(400, "too many client certificates are present")
        }
        ApiError::InvalidForwardedCertificate => fixed(400, "invalid client certificate"),
        ApiError::UntrustedForwardedCertificate => fixed(403, ""),
        ApiError::NotAllowed => fixed(403, "not authorized: insufficient permissions"),
        ApiError::MethodNotAllowed { received, expected } => (
            405,
            format!("received method '{received}' expected '{expected}'").into(),
        ),
        ApiError::InvalidKeyName(name) => (400, invalid_name("key name", name)),
        ApiError::InvalidPolicyName(name) => (400, invalid_name("policy name", name)),
        ApiError::InvalidIdentity(name) => (400, invalid_name("identity", name)),
        ApiError::InvalidPattern(pattern) => (
            400,
            format!("listing pattern '{pattern}' is empty, too long or is invalid").into(),
        ),
        ApiError::InvalidBody => fixed(400, "invalid request body"),
        ApiError::InvalidImportBody => fixed(400, "invalid import key request body"),
        ApiError::UnsupportedAlgorithm(name) => {
            (406, format!("algorithm '{name}' is not supported").into())
        }
        ApiError::InvalidKeySize(name) => (406, format!("invalid key size for '{name}'").into()),
        ApiError::PolicyNotFound => fixed(404, "policy does not exist"),
        ApiError::IdentityNotFound => fixed(404, "identity does not exist"),
        ApiError::NoHmacKey => fixed(409, "key does not support HMAC"),
        ApiError::NotAuthentic => fixed(400, "decryption failed: ciphertext is not authentic"),
        ApiError::EncryptFailed => fixed(500, "failed to encrypt plaintext"),
        ApiError::GenerateFailed => fixed(500, "failed to generate encryption key"),
        ApiError::CreateFailed => fixed(500, "failed to create key"),
        ApiError::Store(verb, error) => store_error(*verb, error),
        ApiError::CorruptKey(_) => fixed(502, "failed to read key"),
        ApiError::Membership(error) => membership_error(error),
        ApiError::NoBackup(error) => backup_error(error),
        ApiError::NotRestored(error) => restore_error(error),
        ApiError::Restoring => fixed(503, "a backup is being restored"),
        ApiError::UnknownRestore => (404, RestoreError::Unknown.to_string().into()),
        ApiError::InvalidOffset => fixed(400, "invalid offset of a piece of a backup"),
        ApiError::RootKeyNotRotated(error) => rotation_error(error),
        ApiError::PolicyNotChanged(error) => policy_change_error(error),
        ApiError::NotReachable => fixed(504, "key store is not reachable"),
        ApiError::NotAvailable => fixed(502, "key store is unavailable"),
        ApiError::Draining => fixed(503, "server is shutting down"),
        ApiError::Overloaded => OVERLOADED,
        ApiError::TimedOut => fixed(503, "timeout"),
        ApiError::BodyTimedOut => fixed(408, "request body not received in time"),
        ApiError::MetricsFailed => fixed(500, "failed to write metrics"),
    }
}

fn store_error(verb: Verb, error: &StoreError) -> (u16, Cow<'static, str>) {
    let message = match (error, verb) {
        (StoreError::Exists, _) => return (400, Cow::Borrowed("key already exists")),
        (StoreError::NotFound, _) => return (404, Cow::Borrowed("key does not exist")),
        (StoreError::Unavailable { .. }, _) => return NO_ANSWER,
        (StoreError::NotAuthentic, _) => {
            let message = "decryption failed: ciphertext is not authentic";
            return (400, Cow::Borrowed(message));
        }
        // Not the store's failure: the client may try again, here or at another node.
        (StoreError::Overloaded { .. }, _) => return OVERLOADED,
        (_, Verb::Create) => "failed to create key",
        (_, Verb::Read) => "failed to read key",
        (_, Verb::Delete) => "failed to delete key",
        (_, Verb::List) => "failed to list keys",
    };
    (502, Cow::Borrowed(message))
}

/// The texts are for the admin who asked.
fn membership_error(error: &MembershipError) -> (u16, Cow<'static, str>) {
    let status = match error {
        MembershipError::Cluster(_) => 503,
        MembershipError::NoSuchMember(_) => 404,
        MembershipError::Conflict(_) => 409,
    };
    (status, error.to_string().into())
}

/// Whoever rotates is the admin, who may know what is in the way.
fn rotation_error(error: &RotationError) -> (u16, Cow<'static, str>) {
    let status = match error {
        RotationError::NothingNew(_)
        | RotationError::NotEverywhere { .. }
        | RotationError::Busy => 409,
        RotationError::Propose(_) | RotationError::Unfinished => 503,
        RotationError::Seal(_) => 500,
    };
    (status, error.to_string().into())
}

/// What the client may know of a refusal is its text; what the cluster suffers from is not.
fn policy_change_error(error: &PolicyChangeError) -> (u16, Cow<'static, str>) {
    let status = match error {
        PolicyChangeError::PolicyNotFound | PolicyChangeError::IdentityNotFound => 404,
        PolicyChangeError::UnknownIdentity
        | PolicyChangeError::AssignAdmin
        | PolicyChangeError::DeleteAdmin => 400,
        PolicyChangeError::Oneself => 403,
        PolicyChangeError::ConfiguredPolicy(_)
        | PolicyChangeError::ConfiguredIdentity(_)
        | PolicyChangeError::TooMany => 409,
        PolicyChangeError::TooLarge => 413,
        PolicyChangeError::Propose(ProposeError::Cluster(ClusterError::Overloaded)) => {
            return OVERLOADED;
        }
        PolicyChangeError::Propose(ProposeError::Cluster(_)) => return NO_ANSWER,
        PolicyChangeError::Propose(_) => return (502, Cow::Borrowed("failed to change policies")),
    };
    (status, error.to_string().into())
}

fn backup_error(error: &BackupError) -> (u16, Cow<'static, str>) {
    let status = match error {
        BackupError::Cluster(_) | BackupError::Busy | BackupError::Seal(SealError::NotFounded) => {
            503
        }
        BackupError::Seal(_) => 500,
    };
    (status, error.to_string().into())
}

/// What the admin who restores can change is 4xx.
fn restore_error(error: &RestoreError) -> (u16, Cow<'static, str>) {
    let status = match error {
        RestoreError::Unknown => 404,
        RestoreError::NotEmpty(_) | RestoreError::Busy | RestoreError::Replaced => 409,
        RestoreError::Upload(error) => match error {
            UploadError::OutOfOrder { .. } | UploadError::Differs => 409,
            UploadError::TooLarge => 413,
            UploadError::NoRoom => 507,
            UploadError::Io(_) => 500,
        },
        RestoreError::Open(error) => match error {
            OpenBackupError::Sealed(SealedBackupError::Io(_)) | OpenBackupError::Io(_) => 500,
            OpenBackupError::UnknownRootKey { .. } | OpenBackupError::Seal(_) => 409,
            OpenBackupError::Sealed(_)
            | OpenBackupError::Image(_)
            | OpenBackupError::Contradiction
            | OpenBackupError::Rejected(_) => 400,
        },
        RestoreError::Storage(_) => 500,
        RestoreError::Propose(_) | RestoreError::Cluster(_) => 503,
    };
    (status, error.to_string().into())
}

fn invalid_name(what: &str, name: &str) -> Cow<'static, str> {
    format!("{what} '{name}' is empty, too long or contains invalid characters").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::LoadError;

    fn assert_overloaded(error: &ApiError) {
        let reply = error_reply(error);
        assert_eq!(reply.status, 503, "{error:?}");
        let ReplyBody::Bytes(body) = reply.body else {
            panic!("no body: {error:?}");
        };
        let text = wire::error::error_body("server is overloaded");
        assert_eq!(body, Bytes::from(text), "{error:?}");
        assert!(!reply.close, "other requests may find room");
        assert!(error.cause().is_some(), "the operator is told: {error:?}");
    }

    #[test]
    fn policy_changes_are_refused_as_documented() {
        let propose = |error: ClusterError| PolicyChangeError::Propose(error.into());
        for (error, status, text) in [
            (
                PolicyChangeError::PolicyNotFound,
                404,
                "policy does not exist",
            ),
            (
                PolicyChangeError::UnknownIdentity,
                400,
                "identity is unknown",
            ),
            (
                PolicyChangeError::Oneself,
                403,
                "identity cannot assign policy to itself",
            ),
            (
                PolicyChangeError::AssignAdmin,
                400,
                "cannot assign policy to system admin",
            ),
            (
                PolicyChangeError::DeleteAdmin,
                400,
                "cannot delete system admin",
            ),
            (
                PolicyChangeError::ConfiguredPolicy("p".to_owned()),
                409,
                "policy 'p' is defined in the configuration file and can be changed only there",
            ),
            (
                propose(ClusterError::NoQuorum),
                503,
                "the cluster cannot answer at the moment",
            ),
            (
                propose(ClusterError::Overloaded),
                503,
                "server is overloaded",
            ),
        ] {
            let error = ApiError::from(error);
            let told = status_and_message(&error);
            assert_eq!(told, (status, Cow::Borrowed(text)), "{error:?}");
        }
    }

    #[test]
    fn a_bound_that_is_reached_is_503_wherever_it_is() {
        let full = || StoreError::Overloaded { store: "fs" };
        for verb in [Verb::Create, Verb::Read, Verb::Delete, Verb::List] {
            assert_overloaded(&ApiError::store(verb, full()));
        }
        assert_overloaded(&ApiError::from(LoadError::from(full())));
        assert_overloaded(&ApiError::Overloaded);
    }
}

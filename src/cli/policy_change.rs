//! `kes policy create`, `assign` and `rm`, and `kes identity rm`: what a cluster lets its clients do.
//! Other servers have their policies from the configuration alone, and refuse.

use std::path::Path;

use serde_json::{Map, Value};

use super::args::ChangeArgs;
use super::arguments::Arguments;
use super::connect;
use super::failure::{Failure, OrFailure};
use super::files::{self, FileError};
use super::output::quote;
use crate::base::secret::SecretBytes;
use crate::wire::policy_request::{PolicyRequest, parse_policy_request};

/// Stands for standard input.
const STDIN: &str = "-";

/// The members of a policy file that mean something, and those that `kes policy show` and older
/// clients write beside them. Anything else is a mistake: a misspelled `deny` would allow too much.
const MEMBERS: [&str; 6] = ["allow", "deny", "name", "created_at", "created_by", "info"];

/// Why a policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PolicyFileError {
    /// It cannot be read.
    #[error("{0}")]
    File(#[from] FileError),
    /// It is no JSON.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It has a member that no policy has.
    #[error("unknown member {}", quote(.0))]
    UnknownMember(String),
    /// It is JSON of another shape.
    #[error("'allow' and 'deny' must be lists of paths, or objects with paths as names")]
    Shape,
}

/// `kes policy create`. As on the server, a policy of that name is replaced.
pub(super) async fn create(args: &ChangeArgs) -> Result<(), Failure> {
    let mut arguments = Arguments::new("kes policy create", &args.rest);
    let name = arguments.required("policy name")?;
    let file = arguments.required("policy file")?;
    arguments.finish()?;
    let content = match file {
        STDIN => files::read_stdin(),
        file => files::read(Path::new(file)),
    };
    let policy = content.map_err(PolicyFileError::from);
    let policy = policy
        .and_then(|content| parse(&content))
        .map_err(|error| {
            let file = quote(file);
            Failure::Refused(format!("failed to read policy from {file}: {error}"))
        })?;
    let client = connect::connect(args.insecure)?.client;
    let context = format!("failed to create policy {}: ", quote(name));
    client
        .write_policy(name, &policy)
        .await
        .or_failure(&context)
}

/// `kes policy assign`.
pub(super) async fn assign(args: &ChangeArgs) -> Result<(), Failure> {
    let mut arguments = Arguments::new("kes policy assign", &args.rest);
    let policy = arguments.required("policy name")?;
    let first = arguments.required("identity")?;
    let client = connect::connect(args.insecure)?.client;
    let others = std::iter::from_fn(|| arguments.optional());
    for identity in std::iter::once(first).chain(others) {
        let context = format!(
            "failed to assign policy {} to {}: ",
            quote(policy),
            quote(identity)
        );
        client
            .assign_policy(policy, identity)
            .await
            .or_failure(&context)?;
    }
    Ok(())
}

/// `kes policy rm`.
pub(super) async fn remove(args: &ChangeArgs) -> Result<(), Failure> {
    Arguments::new("kes policy rm", &args.rest).required("policy name")?;
    let client = connect::connect(args.insecure)?.client;
    for name in &args.rest {
        let context = format!("failed to remove policy {}: ", quote(name));
        client.delete_policy(name).await.or_failure(&context)?;
    }
    Ok(())
}

/// `kes identity rm`.
pub(super) async fn remove_identity(args: &ChangeArgs) -> Result<(), Failure> {
    Arguments::new("kes identity rm", &args.rest).required("identity")?;
    let client = connect::connect(args.insecure)?.client;
    for identity in &args.rest {
        let context = format!("failed to remove identity {}: ", quote(identity));
        client
            .delete_identity(identity)
            .await
            .or_failure(&context)?;
    }
    Ok(())
}

/// Reads a policy strictly: the server would take a part of a file for the whole.
fn parse(content: &SecretBytes) -> Result<PolicyRequest, PolicyFileError> {
    let members: Map<String, Value> = serde_json::from_slice(content.expose())?;
    let is_known = |name: &str| MEMBERS.iter().any(|known| known.eq_ignore_ascii_case(name));
    if let Some(unknown) = members.keys().find(|name| !is_known(name)) {
        return Err(PolicyFileError::UnknownMember(unknown.clone()));
    }
    parse_policy_request(content.expose()).map_err(|_| PolicyFileError::Shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Command, IdentityCommand, PolicyCommand};

    async fn complaint(line: &str) -> String {
        let arguments: Vec<_> = line.split(' ').map(Into::into).collect();
        let command = crate::cli::usage::parse(&arguments).map(|cli| cli.command);
        let result = match command {
            Ok(Some(Command::Policy { command })) => match command {
                PolicyCommand::Create(args) => create(&args).await,
                PolicyCommand::Assign(args) => assign(&args).await,
                PolicyCommand::Rm(args) => remove(&args).await,
                _ => panic!("{line}"),
            },
            Ok(Some(Command::Identity(args))) => match args.command {
                Some(IdentityCommand::Rm(args)) => remove_identity(&args).await,
                _ => panic!("{line}"),
            },
            _ => panic!("{line}"),
        };
        result.expect_err("a complaint").to_string()
    }

    #[tokio::test]
    async fn arguments_are_checked_before_anything_else() {
        for (command, message) in [
            ("policy create", "no policy name specified"),
            ("policy create -k p", "no policy file specified"),
            ("policy create p f x", "too many arguments"),
            ("policy assign", "no policy name specified"),
            ("policy assign p", "no identity specified"),
            ("policy rm -e x", "no policy name specified"),
            ("identity rm", "no identity specified"),
        ] {
            let path: Vec<&str> = command.split(' ').take(2).collect();
            let expected = format!("{message}. See 'kes {} --help'", path.join(" "));
            let line = format!("kes {command}");
            assert_eq!(complaint(&line).await, expected, "{line}");
        }
        assert_eq!(
            complaint("kes policy create p nofile").await,
            "failed to read policy from \"nofile\": open nofile: no such file or directory"
        );
    }

    #[test]
    fn a_policy_file_is_read_strictly() {
        let read = |text: &str| {
            let content = SecretBytes::new(text.as_bytes().to_vec());
            parse(&content).map_err(|error| error.to_string())
        };
        let shown = r#"{"allow":{"/v1/a":{}},"created_at":"t","created_by":"x"}"#;
        let policy = read(shown).expect("what `kes policy show` prints");
        assert_eq!(policy.allow, ["/v1/a"].into_iter().collect());
        assert!(policy.deny.is_empty());
        let older = read(r#"{"Allow":[],"Deny":["/v1/b"]}"#).expect("an older file");
        assert_eq!(older.deny, ["/v1/b"].into_iter().collect());
        for (text, message) in [
            (
                r#"{"allow":["/v1/a"],"denny":["/v1/b"]}"#,
                "unknown member \"denny\"",
            ),
            (
                r#"{"allow":"/v1/a"}"#,
                "'allow' and 'deny' must be lists of paths, or objects with paths as names",
            ),
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{} x", "trailing characters at line 1 column 4"),
        ] {
            assert_eq!(read(text), Err(message.to_owned()), "{text}");
        }
    }
}

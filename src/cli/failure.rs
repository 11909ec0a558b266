//! Why a command did not succeed, and what that means for standard error and the exit code.

use std::io;
use std::process::ExitCode;

use super::connect::ConnectError;
use super::identity::IdentityError;
use super::migrate::MigrateError;
use super::output::{complain, note};
use super::usage;
use crate::client::ClientError;

/// Exit code of help that was asked for, or that stands in for missing arguments.
const EXIT_HELP: u8 = 2;

/// Everything that ends a command early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Help for this command is to be shown.
    #[error("help for {0}")]
    Help(String),
    /// The arguments do not make sense.
    #[error("{message}{}", hint.as_ref().map(|hint| format!(". See '{hint} --help'")).unwrap_or_default())]
    Usage {
        /// What is wrong.
        message: String,
        /// The command whose help may help.
        hint: Option<String>,
    },
    /// The arguments make sense, but do not go together.
    #[error("{0}")]
    Refused(String),
    /// There is no way to connect to a server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refused, or could not be reached.
    #[error("{context}{source}")]
    Server {
        /// What was tried, with a colon and a blank; may be empty.
        context: String,
        /// What happened.
        source: ClientError,
    },
    /// An API key, key file or certificate could not be made or read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Keys could not be copied.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The user pressed Ctrl-C. Silent, unless the command has always said so.
    #[error("{}context canceled", context.as_deref().unwrap_or_default())]
    Interrupted {
        /// What was being done, with a colon and a blank; `None` for silence.
        context: Option<String>,
    },
    /// Standard output cannot be written.
    #[error("writing to standard output: {0}")]
    Output(io::Error),
    /// A value has no JSON form.
    #[error("{0}")]
    Json(serde_json::Error),
    /// The operating system refused something that every command needs.
    #[error("{what}: {source}")]
    System {
        /// What it refused.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Failure {
    /// A complaint about the arguments of `command`, with a hint to its help.
    pub(super) fn usage(command: &str, message: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hint: usage::hint(command),
        }
    }

    /// Tells the user, and gives the exit code of the process.
    pub(super) fn report(self) -> ExitCode {
        match self {
            Self::Help(command) => {
                note(&usage::help(&command));
                return ExitCode::from(EXIT_HELP);
            }
            Self::Interrupted { context: None } => {}
            // Whoever read the output has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            failure => complain("Error:", &failure.to_string()),
        }
        ExitCode::FAILURE
    }
}

/// Gives errors of the client a prefix that says what was tried.
pub(super) trait OrFailure<T> {
    /// The value, or a failure that reads `<context><error>`.
    ///
    /// # Errors
    ///
    /// [`Failure::Server`] if there is no value.
    fn or_failure(self, context: &str) -> Result<T, Failure>;
}

impl<T> OrFailure<T> for Result<T, ClientError> {
    fn or_failure(self, context: &str) -> Result<T, Failure> {
        self.map_err(|source| Failure::Server {
            context: context.to_owned(),
            source,
        })
    }
}

//! `kes cluster`: the members of a cluster, its backups, and its root key.
//!
//! Arguments become a request before anything is connected, and what a request prints is a text: so both
//! can be tested without a process.

pub(super) mod args;
mod root_key;
mod snapshot;
mod status;

use std::path::Path;

use super::arguments::Arguments;
use super::block_on;
use super::connect::{self, Overrides};
use super::failure::{Failure, OrFailure};
use super::output::{Output, quote};
use crate::client::Client;
use crate::wire::cluster::JoinRequest;
use args::{
    CallArgs, ClusterCommand, JoinArgs, RootKeyCommand, RootKeyNewArgs, ServerFlags,
    SnapshotCommand, StatusArgs,
};

/// Runs `kes cluster`.
pub(super) fn run(command: &ClusterCommand) -> Result<(), Failure> {
    match Plan::of(command)? {
        Plan::NewRootKey(args) => root_key::create(args),
        Plan::Ask(flags, request) => block_on(ask(flags, &request)),
    }
}

async fn ask(flags: &ServerFlags, request: &Request<'_>) -> Result<(), Failure> {
    let overrides = Overrides {
        server: flags.server.as_deref(),
        api_key: None,
    };
    let client = connect::connect_with(flags.insecure, &overrides)?.client;
    let output = Output::detect();
    let text = request.perform(&client, &output).await?;
    output.print(&text)
}

/// What to do, arguments checked.
enum Plan<'a> {
    /// Happens on this host.
    NewRootKey(&'a RootKeyNewArgs),
    /// Asks a server.
    Ask(&'a ServerFlags, Request<'a>),
}

/// What to ask a server for.
enum Request<'a> {
    Status(&'a StatusArgs),
    Join(JoinRequest),
    Promote(&'a str),
    Remove(&'a str),
    Leave,
    Save(&'a Path),
    Restore(&'a Path),
    RotateRootKey,
}

impl<'a> Plan<'a> {
    fn of(command: &'a ClusterCommand) -> Result<Self, Failure> {
        match command {
            ClusterCommand::Status(args) => {
                Self::ask("status", &args.call, |_| Ok(Request::Status(args)))
            }
            ClusterCommand::Join(args) => {
                Self::ask("join", &args.call, |rest| join_request(args, rest))
            }
            ClusterCommand::Promote(args) => {
                Self::ask("promote", args, |rest| Ok(Request::Promote(name(rest)?)))
            }
            ClusterCommand::Remove(args) => Self::ask("remove", &args.call, |rest| {
                Ok(Request::Remove(name(rest)?))
            }),
            ClusterCommand::Leave(args) => Self::ask("leave", &args.call, |_| Ok(Request::Leave)),
            ClusterCommand::Snapshot { command } => Self::of_snapshot(command),
            ClusterCommand::RootKey {
                command: RootKeyCommand::New(args),
            } => {
                Arguments::new("kes cluster root-key new", &args.rest).finish()?;
                Ok(Self::NewRootKey(args))
            }
            ClusterCommand::RootKey {
                command: RootKeyCommand::Rotate(args),
            } => Self::ask("root-key rotate", &args.call, |_| {
                Ok(Request::RotateRootKey)
            }),
        }
    }

    fn of_snapshot(command: &'a SnapshotCommand) -> Result<Self, Failure> {
        match command {
            SnapshotCommand::Save(args) => Self::ask("snapshot save", &args.call, |rest| {
                Ok(Request::Save(file(rest)?))
            }),
            SnapshotCommand::Restore(args) => Self::ask("snapshot restore", &args.call, |rest| {
                Ok(Request::Restore(file(rest)?))
            }),
        }
    }

    /// A request of `command`, made of its positional arguments.
    fn ask(
        command: &str,
        call: &'a CallArgs,
        request: impl FnOnce(&mut Arguments<'a>) -> Result<Request<'a>, Failure>,
    ) -> Result<Self, Failure> {
        let mut arguments = Arguments::new(&format!("kes cluster {command}"), &call.rest);
        let request = request(&mut arguments)?;
        arguments.finish()?;
        Ok(Self::Ask(&call.flags, request))
    }
}

fn join_request<'a>(args: &'a JoinArgs, rest: &mut Arguments<'a>) -> Result<Request<'a>, Failure> {
    Ok(Request::Join(JoinRequest {
        name: name(rest)?.to_owned(),
        address: rest.required("address")?.to_owned(),
        learner: args.learner,
    }))
}

fn name<'a>(rest: &mut Arguments<'a>) -> Result<&'a str, Failure> {
    rest.required("member name")
}

fn file<'a>(rest: &mut Arguments<'a>) -> Result<&'a Path, Failure> {
    rest.required("file").map(Path::new)
}

impl Request<'_> {
    /// Asks a server; gives what is to be printed. Changes that say nothing succeeded.
    async fn perform(&self, client: &Client, output: &Output) -> Result<String, Failure> {
        match self {
            Self::Status(args) => status::fetch(client, output, args).await,
            Self::Join(request) => {
                let context = format!("failed to admit member {}: ", quote(&request.name));
                silent(client.join_member(request).await.or_failure(&context))
            }
            Self::Promote(name) => {
                let context = format!("failed to promote member {}: ", quote(name));
                silent(client.promote_member(name).await.or_failure(&context))
            }
            Self::Remove(name) => {
                let context = format!("failed to remove member {}: ", quote(name));
                silent(client.remove_member(name).await.or_failure(&context))
            }
            Self::Leave => leave(client).await,
            Self::Save(path) => snapshot::save(client, output, path).await,
            Self::Restore(path) => snapshot::restore(client, output, path).await,
            Self::RotateRootKey => root_key::rotate(client, output).await,
        }
    }
}

async fn leave(client: &Client) -> Result<String, Failure> {
    match client.endpoints() {
        [_] => silent(
            client
                .leave_cluster()
                .await
                .or_failure("failed to leave the cluster: "),
        ),
        several => Err(Failure::Refused(format!(
            "{} servers are configured. Name the one that leaves with '--server'",
            several.len()
        ))),
    }
}

fn silent(result: Result<(), Failure>) -> Result<String, Failure> {
    result.map(|()| String::new())
}

/// Numbers and texts below each other, their names in front.
fn rows(output: &Output, rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let row = |(label, value): &(&str, String)| {
        let label = output.paint(super::output::Style::FAINT, &format!("{label:<width$}"));
        format!("  {label} {value}\n")
    };
    rows.iter().map(row).collect()
}

/// `value` as JSON, on a line of its own; indented for people.
fn json_text<T: serde::Serialize>(output: &Output, value: &T) -> Result<String, Failure> {
    let mut text = super::output::json(value, output.terminal)?;
    text.push('\n');
    Ok(text)
}

#[cfg(test)]
mod tests;

//! `kes ls`, and what the list commands of each kind have in common with it.

use std::future::Future;

use super::args::{ListArgs, LsArgs};
use super::connect::{self, Overrides};
use super::failure::{Failure, OrFailure};
use super::output::{Output, Style, name_list};
use crate::client::ClientError;

/// Runs `kes ls`. Its errors have no prefix and no hint.
pub(super) async fn run(args: &LsArgs) -> Result<(), Failure> {
    if args.identity && args.policy {
        let message = "'-p / --policy' and '-i / --identity' must not be used at the same time";
        return Err(Failure::Refused(message.to_owned()));
    }
    let prefix = pattern("kes ls", &args.rest)?.unwrap_or_default();
    let overrides = Overrides {
        server: args.server.as_deref(),
        api_key: args.api_key.as_deref(),
    };
    let client = connect::connect_with(args.insecure, &overrides)?.client;
    let (header, names) = if args.identity {
        ("Identity", fetch("", client.list_identities(prefix)).await?)
    } else if args.policy {
        ("Policy", fetch("", client.list_policies(prefix)).await?)
    } else {
        ("Key", fetch("", client.list_keys(prefix)).await?)
    };
    show(header, names, args.json, &Output::detect())
}

/// The only argument of a list command, if there is one.
pub(super) fn pattern<'a>(command: &str, rest: &'a [String]) -> Result<Option<&'a str>, Failure> {
    match rest {
        [] => Ok(None),
        [pattern] => Ok(Some(pattern)),
        _ => Err(Failure::usage(command, "too many arguments")),
    }
}

/// Waits for a listing. Ctrl-C is not silent here.
pub(super) async fn fetch(
    context: &str,
    listing: impl Future<Output = Result<Vec<String>, ClientError>>,
) -> Result<Vec<String>, Failure> {
    tokio::select! {
        names = listing => names.or_failure(context),
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted { context: Some(context.to_owned()) }),
    }
}

/// Prints the names that `kes key ls`, `kes policy ls` or `kes identity ls` found.
pub(super) fn print(header: &str, names: Vec<String>, args: &ListArgs) -> Result<(), Failure> {
    show(
        header,
        names,
        args.json,
        &Output::detect().with_color(args.color.color),
    )
}

fn show(header: &str, mut names: Vec<String>, json: bool, output: &Output) -> Result<(), Failure> {
    names.sort_unstable();
    if json {
        return match names.is_empty() {
            true => output.print("null\n"),
            false => output.print_json(&names, false),
        };
    }
    output.print(&name_list(&output.paint(Style::UNDERLINE, header), &names))
}

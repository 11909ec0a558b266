//! Reads the command line by the rules of spf13/pflag, and reports what is wrong with it in its words.
//!
//! clap knows the flags; this is the only place that knows about its errors. Help is an outcome of
//! reading, not an error: it goes to standard error, and the exit code is 2.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use super::args::{self, Cli};
use super::failure::Failure;
use super::output::quote;

/// The commands whose messages carry no hint to their help.
const WITHOUT_HINT: [&str; 2] = ["kes ls", "kes identity"];

/// Hints that name the help of another command. Scripts compare messages, so they stay.
const MISPLACED_HINTS: [(&str, &str); 2] = [
    ("kes identity info", "kes policy ls"),
    ("kes policy info", "kes policy show"),
];

/// Reads `arguments`, the program name first.
///
/// # Errors
///
/// [`Failure::Help`] if help is asked for, else [`Failure::Usage`].
pub(super) fn parse(arguments: &[OsString]) -> Result<Cli, Failure> {
    let matches = pflag_rules(Cli::command())
        .try_get_matches_from(arguments)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    matches.map_err(|error| explain(&error, arguments))
}

/// The help of `command`, which is for instance `kes key create`.
pub(super) fn help(command: &str) -> String {
    let mut selected = Cli::command();
    selected.build();
    for name in command.split(' ').skip(1) {
        let Some(next) = selected.find_subcommand(name).cloned() else {
            break;
        };
        selected = next;
    }
    let template = "Usage:\n    {usage}\n\n{about}\n\n{all-args}{after-help}\n";
    let help = selected
        .help_template(template)
        .term_width(100)
        .render_help();
    format!("{}\n", help.to_string().trim_end())
}

/// Makes `command` and all below it read arguments as pflag does: booleans take a value only after
/// `=`, the last of several wins, and whatever follows a flag that needs a value is its value.
fn pflag_rules(command: Command) -> Command {
    let command = command
        .args_override_self(true)
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .value_parser(args::parse_bool),
            ArgAction::Set | ArgAction::Append if arg.get_long().is_some() => {
                arg.allow_hyphen_values(true)
            }
            _ => arg,
        });
    command.mut_subcommands(pflag_rules)
}

/// Says what is wrong.
fn explain(error: &clap::Error, arguments: &[OsString]) -> Failure {
    let (path, command) = selected_command(arguments);
    let message = match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::MissingSubcommand => return Failure::Help(path),
        ErrorKind::InvalidSubcommand => {
            let name = context(error, ContextKind::InvalidSubcommand);
            let parent = path.rsplit(' ').next().unwrap_or(&path);
            format!("{} is not a {parent} command", quote(&name))
        }
        ErrorKind::UnknownArgument => {
            unknown_flag(&context(error, ContextKind::InvalidArg), arguments)
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            invalid_value(error, &command, arguments)
        }
        _ => error
            .render()
            .to_string()
            .trim()
            .trim_start_matches("error: ")
            .to_owned(),
    };
    Failure::Usage {
        message,
        hint: hint(&path),
    }
}

/// The command whose help the messages about `path` point to, if any.
pub(super) fn hint(path: &str) -> Option<String> {
    if WITHOUT_HINT.contains(&path) {
        return None;
    }
    let misplaced = MISPLACED_HINTS.iter().find(|(command, _)| *command == path);
    Some(misplaced.map_or(path, |(_, other)| other).to_owned())
}

/// The path of the command that `arguments` select, and its definition. Commands come first.
fn selected_command(arguments: &[OsString]) -> (String, Command) {
    let mut path = "kes".to_owned();
    let mut command = Cli::command();
    for argument in arguments.iter().skip(1) {
        let Some(next) = argument
            .to_str()
            .and_then(|name| command.find_subcommand(name))
        else {
            break;
        };
        path.push(' ');
        path.push_str(next.get_name());
        command = next.clone();
    }
    (path, command)
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    }
}

/// pflag shows a group of short flags from the unknown one on.
fn unknown_flag(flag: &str, arguments: &[OsString]) -> String {
    let name = flag.split('=').next().unwrap_or(flag);
    let Some(short) = name.strip_prefix('-').filter(|rest| !rest.starts_with('-')) else {
        return format!("unknown flag: {name}");
    };
    let groups = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .filter(|argument| argument.starts_with('-') && !argument.starts_with("--"));
    let group = groups
        .filter_map(|group| group.find(short).map(|at| &group[at..]))
        .next()
        .unwrap_or(short);
    format!("unknown shorthand flag: '{short}' in -{group}")
}

/// A flag without its value, or with one that cannot be.
fn invalid_value(error: &clap::Error, command: &Command, arguments: &[OsString]) -> String {
    let shown = context(error, ContextKind::InvalidArg);
    let value = context(error, ContextKind::InvalidValue);
    let arg = command.get_arguments().find(|arg| {
        arg.get_long().is_some_and(|long| {
            let rest = shown
                .strip_prefix("--")
                .and_then(|shown| shown.strip_prefix(long));
            rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
        })
    });
    let names = arg.map_or(shown, flag_names);
    match error.source() {
        Some(source) => format!(
            "invalid argument {} for {} flag: {source}",
            quote(&value),
            quote(&names)
        ),
        None => {
            let last = arguments
                .last()
                .and_then(|last| last.to_str())
                .unwrap_or_default();
            let short = arg
                .and_then(Arg::get_short)
                .filter(|_| !last.starts_with("--"));
            match short {
                Some(short) => format!("flag needs an argument: '{short}' in -{short}"),
                None => {
                    let long = arg.and_then(Arg::get_long).unwrap_or_default();
                    format!("flag needs an argument: --{long}")
                }
            }
        }
    }
}

/// `-k, --insecure`, or `--json` if there is no short form.
fn flag_names(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    match arg.get_short() {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    }
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;

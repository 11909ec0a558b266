//! Layer 11: the command line. One file per command, a folder for `kes cluster`; nothing below knows that
//! it exists.
//!
//! * `args` defines what can be typed, `usage` reads it by the rules of the original.
//! * `connect` goes from the environment to a client.
//! * `output` writes for people and for programs, `failure` is every way to end early.
//!
//! Output that scripts parse is a contract; help and notices are not.

mod args;
mod arguments;
mod cluster;
mod completion;
mod connect;
pub mod dev_trust;
mod duration;
mod failure;
mod files;
mod glob;
mod identity;
mod identity_server;
mod key;
mod log;
mod ls;
mod metric;
mod migrate;
mod migrate_store;
mod output;
mod password;
mod policy;
mod policy_change;
mod server;
mod status;
mod time;
mod update;
mod usage;
mod version;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

pub use args::ServerArgs;
use args::{Cli, Command};
use failure::Failure;
use output::Output;

/// Runs the command that the arguments of this process name; gives the exit code: 0 for success, 1
/// for any error, 2 for help.
pub fn run() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(candidates) = completion::requested(&|name| std::env::var(name).ok()) {
        let lines: String = candidates
            .iter()
            .map(|candidate| format!("{candidate}\n"))
            .collect();
        return finish(Output::detect().print(&lines));
    }
    let cli = match usage::parse(&arguments) {
        Ok(cli) => cli,
        Err(failure) => return failure.report(),
    };
    // Fails only if there is one already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match cli.command {
        Some(Command::Server(args)) => match server_arguments(&args) {
            Ok(()) => server::run(&args),
            Err(failure) => failure.report(),
        },
        _ => finish(run_client(&cli, &arguments)),
    }
}

/// Runs anything but the server.
fn run_client(cli: &Cli, arguments: &[OsString]) -> Result<(), Failure> {
    match &cli.command {
        _ if cli.version => version::run(),
        _ if cli.auto_completion => {
            completion::install(arguments.first().map_or("kes".as_ref(), |name| name))
        }
        Some(Command::Ls(args)) => block_on(ls::run(args)),
        Some(Command::Cluster { command }) => cluster::run(command),
        Some(Command::Key { command }) => block_on(key::run(command)),
        Some(Command::Policy { command }) => block_on(policy::run(command)),
        Some(Command::Identity(args)) => block_on(identity::run(args)),
        Some(Command::Log(args)) => block_on(log::run(args)),
        Some(Command::Status(args)) => block_on(status::run(args)),
        Some(Command::Metric(args)) => block_on(metric::run(args)),
        Some(Command::Migrate(args)) => block_on_through_interrupts(migrate::run(args)),
        Some(Command::Completion(args)) => completion::run(args),
        Some(Command::Update(_)) => update::run(),
        Some(Command::Server(_)) | None => Err(Failure::Help("kes".to_owned())),
    }
}

/// The checks of `kes server` that need no configuration, and warnings about flags without effect.
fn server_arguments(args: &ServerArgs) -> Result<(), Failure> {
    if !args.rest.is_empty() {
        return Err(Failure::usage("kes server", "too many arguments"));
    }
    if args.dev && args.config.is_some() {
        let message = "'--config' flag is not supported in development mode";
        return Err(Failure::Refused(message.to_owned()));
    }
    let without_effect = [
        ("--key", &args.key, "the private key"),
        ("--cert", &args.cert, "the certificate"),
        ("--auth", &args.auth, "how clients are verified"),
    ];
    for (flag, _, what) in without_effect
        .iter()
        .filter(|(_, value, _)| value.is_some())
    {
        let message = format!(
            "'{flag}' flag is deprecated and no longer honored. Set {what} in the config file"
        );
        output::complain("WARNING:", &message);
    }
    Ok(())
}

/// Runs one command on this thread; Ctrl-C ends it silently, unless the command is first to react.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    block_on_through_interrupts(async {
        tokio::select! {
            biased;
            result = command => result,
            _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted { context: None }),
        }
    })
}

/// Runs one command on this thread; Ctrl-C is its own business.
fn block_on_through_interrupts(
    command: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| Failure::System {
        what: "starting the runtime",
        source,
    })?;
    runtime.block_on(command)
}

fn finish(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

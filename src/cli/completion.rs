//! Completion: scripts for shells, their installation, and the `COMP_LINE` protocol.
//!
//! Installations of the original call this program with `COMP_LINE` in the environment and read one
//! candidate per line; they keep working. Scripts written by `kes completion` complete in the shell.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory, ValueEnum};

use super::args::{Cli, CompletionArgs, Shell};
use super::failure::Failure;
use super::output::{Env, Output, quote};

/// Offered first and in this order, as the original does.
const FAMILIAR: [&str; 15] = [
    "server", "key", "policy", "identity", "log", "status", "metric", "create", "import", "info",
    "ls", "rm", "encrypt", "decrypt", "dek",
];

/// The candidates, if a shell asks for them through the environment.
pub(super) fn requested(env: Env<'_>) -> Option<Vec<String>> {
    let shell = env("SHELL")?;
    if !(shell.ends_with("bash") || shell.ends_with("zsh")) {
        return None;
    }
    env("COMP_LINE").map(|line| candidates(&line))
}

/// What may follow or complete the last word of `line`.
fn candidates(line: &str) -> Vec<String> {
    let mut words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let last = if line.ends_with(char::is_whitespace) {
        ""
    } else {
        words.pop().unwrap_or_default()
    };
    let mut command = Cli::command();
    for word in words.iter().filter(|word| !word.starts_with('-')) {
        let Some(next) = command.find_subcommand(word).cloned() else {
            return Vec::new();
        };
        command = next;
    }
    let all = if last.starts_with('-') {
        flags(&command)
    } else {
        subcommands(&command)
    };
    all.into_iter()
        .filter(|candidate| candidate.starts_with(last))
        .collect()
}

fn flags(command: &Command) -> Vec<String> {
    let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
    visible
        .filter_map(|arg| arg.get_long().map(|long| format!("--{long}")))
        .collect()
}

fn subcommands(command: &Command) -> Vec<String> {
    let names = command
        .get_subcommands()
        .map(Command::get_name)
        .filter(|name| *name != "update");
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort_by_key(|name| {
        FAMILIAR
            .iter()
            .position(|familiar| familiar == name)
            .unwrap_or(FAMILIAR.len())
    });
    names
}

/// `kes completion`: prints a script.
pub(super) fn run(args: &CompletionArgs) -> Result<(), Failure> {
    let usage = |message: String| Failure::usage("kes completion", message);
    let shell = match args.rest.as_slice() {
        [] => return Err(usage("no shell specified".to_owned())),
        [name] => Shell::from_str(name, false)
            .map_err(|_| usage(format!("{} is not a supported shell", quote(name))))?,
        _ => return Err(usage("too many arguments".to_owned())),
    };
    Output::detect().print(&script(shell))
}

/// The script that makes `shell` complete commands and flags.
fn script(shell: Shell) -> String {
    use clap_complete::Shell as Generator;
    let mut script = Vec::new();
    let generator = match shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    clap_complete::generate(generator, &mut Cli::command(), "kes", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Why completion cannot be installed.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error("failed to detect shell. The env variable $SHELL is not defined")]
    NoShell,
    #[error("auto-completion for '{0}' is not available")]
    UnknownShell(String),
    #[error("failed to detect home directory. The env variable $HOME is not defined")]
    NoHome,
    #[error("open {}: no such file or directory", .0.display())]
    NoFile(PathBuf),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// `kes --auto-completion`: installs completion for the shell of this user.
pub(super) fn install(program: &OsStr) -> Result<(), Failure> {
    let binary = std::env::current_exe().map_err(|source| Failure::System {
        what: "finding this program",
        source,
    })?;
    let name = program.to_string_lossy();
    let env = |name: &str| std::env::var(name).ok();
    let message =
        install_for(&env, &binary, &name).map_err(|error| Failure::Refused(error.to_string()))?;
    Output::detect().print(&message)
}

/// Adds what is missing to the start-up file of the shell; gives the message for the user.
fn install_for(env: Env<'_>, binary: &Path, name: &str) -> Result<String, InstallError> {
    let shell = env("SHELL")
        .filter(|shell| !shell.is_empty())
        .ok_or(InstallError::NoShell)?;
    let home = || env("HOME").map(PathBuf::from).ok_or(InstallError::NoHome);
    let complete = format!("complete -o default -C {} {name}", binary.display());
    let (path, lines) = if shell.ends_with("zsh") {
        let load = "autoload -U +X bashcompinit && bashcompinit".to_owned();
        (home()?.join(".zshrc"), vec![load, complete])
    } else if shell.ends_with("bash") {
        (home()?.join(".bashrc"), vec![complete])
    } else if shell.ends_with("fish") {
        let config = env("XDG_CONFIG_HOME").map(PathBuf::from);
        let config = config.map_or_else(|| home().map(|home| home.join(".config")), Ok)?;
        let path = config.join("fish").join("completions").join("kes.fish");
        prepare(&path).map_err(|source| InstallError::Io {
            path: path.clone(),
            source,
        })?;
        (
            path,
            vec![format!("{} completion fish | source", binary.display())],
        )
    } else {
        return Err(InstallError::UnknownShell(shell));
    };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => InstallError::NoFile(path.clone()),
        _ => InstallError::Io {
            path: path.clone(),
            source,
        },
    };
    let present = fs::read_to_string(&path).map_err(failed)?;
    let missing: Vec<&String> = lines
        .iter()
        .filter(|line| !present.lines().any(|old| old == *line))
        .collect();
    if missing.is_empty() {
        return Ok("Completion is already installed.\n".to_owned());
    }
    let mut text = String::new();
    if !present.is_empty() && !present.ends_with('\n') {
        text.push('\n');
    }
    for line in missing {
        text.push_str(line);
        text.push('\n');
    }
    let file = OpenOptions::new().append(true).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(failed)?;
    let shown = path.display();
    let listed: String = lines.iter().map(|line| format!("   {line}\n")).collect();
    Ok(format!(
        "Added completion to '{shown}'\n\nTo uninstall completion remove the following lines from '{shown}':\n{listed}"
    ))
}

/// fish reads one file per program, which nobody else creates.
fn prepare(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map(drop)
}

#[cfg(test)]
#[path = "completion_tests.rs"]
mod tests;

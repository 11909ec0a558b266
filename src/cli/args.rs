//! The command line as data: every command, flag and argument, and the words of its help.
//!
//! Only definitions. How arguments are read (the rules of spf13/pflag, which scripts rely on) is the
//! business of [`super::usage`]; counts and values of positional arguments are checked by the
//! commands themselves, because each has its own message for a missing one.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::cluster::args::ClusterCommand;
use super::duration;
use crate::config::duration::GoDuration;

/// A key management server, and the commands to work with it.
#[derive(Parser)]
#[command(
    name = "kes",
    disable_help_subcommand = true,
    disable_version_flag = true,
    override_usage = "kes [options] <command>"
)]
pub(super) struct Cli {
    /// Print version, platform and license
    #[arg(short = 'v', long)]
    pub(super) version: bool,
    /// Install completion for the shell named by $SHELL (bash, zsh, fish)
    #[arg(long)]
    pub(super) auto_completion: bool,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// The commands.
#[derive(Subcommand)]
pub(super) enum Command {
    Server(ServerArgs),
    Ls(LsArgs),
    /// Create, inspect, use and remove keys
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        override_usage = "kes key <command>"
    )]
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Inspect policies, and change those of a cluster
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        override_usage = "kes policy <command>"
    )]
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    Identity(IdentityArgs),
    /// Look after a cluster of servers: its members, backups and root key
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        override_usage = "kes cluster <command>"
    )]
    Cluster {
        #[command(subcommand)]
        command: ClusterCommand,
    },
    Log(LogArgs),
    Status(StatusArgs),
    Metric(MetricArgs),
    Migrate(MigrateArgs),
    Completion(CompletionArgs),
    Update(UpdateArgs),
}

/// Skip the verification of the server's certificate.
#[derive(Args, Clone, Copy)]
pub(super) struct InsecureFlag {
    /// Do not verify the certificate of the server
    #[arg(short = 'k', long)]
    pub(super) insecure: bool,
}

/// A flag of servers that still had enclaves: accepted, ignored.
#[derive(Args)]
pub(super) struct EnclaveFlag {
    /// Ignored; servers have no enclaves anymore
    #[arg(short = 'e', long, value_name = "NAME", hide = true)]
    pub(super) enclave: Option<String>,
}

/// When to use colors.
#[derive(Args, Clone, Copy)]
pub(super) struct ColorFlag {
    /// When to use colors: auto, always or never
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true
    )]
    pub(super) color: When,
}

/// The values of `--color`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    Auto,
    Always,
    Never,
}

impl FromStr for When {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "" | "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err("invalid color option"),
        }
    }
}

/// Start a server
#[derive(Args)]
#[command(
    override_usage = "kes server [options]",
    after_help = "Examples:\n    $ kes server --config /etc/kes/config.yml\n    $ kes server --dev"
)]
pub struct ServerArgs {
    /// Address to listen on, for instance 127.0.0.1:7373 or :7373; wins over the configuration
    #[arg(long, value_name = "[IP]:PORT")]
    pub addr: Option<String>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Start without configuration, with keys in memory and a new API key: for development only
    #[arg(long)]
    pub dev: bool,
    /// No longer honored.
    #[arg(long, hide = true)]
    pub key: Option<String>,
    /// No longer honored.
    #[arg(long, hide = true)]
    pub cert: Option<String>,
    /// No longer honored.
    #[arg(long, hide = true)]
    pub auth: Option<String>,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// List keys, identities or policies
#[derive(Args)]
#[command(
    override_usage = "kes ls [-a KEY] [-k] [--json] [-i] [-p] [-s HOST[:PORT]] [PREFIX]",
    after_help = "Examples:\n    $ kes ls my-key\n    $ kes ls -s 192.0.2.7:7373 --policy"
)]
pub(super) struct LsArgs {
    /// API key, instead of the environment's
    #[arg(short = 'a', long, value_name = "KEY")]
    pub(super) api_key: Option<String>,
    #[command(flatten)]
    pub(super) insecure: InsecureFlag,
    /// Print a JSON array
    #[arg(long)]
    pub(super) json: bool,
    /// List identities
    #[arg(short = 'i', long)]
    pub(super) identity: bool,
    /// List policies
    #[arg(short = 'p', long)]
    pub(super) policy: bool,
    /// Server, or a comma-separated list of servers, instead of the environment's
    #[arg(short = 's', long, value_name = "HOST[:PORT]")]
    pub(super) server: Option<String>,
    #[arg(value_name = "PREFIX", hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// The commands under `kes key`.
#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// Create keys
    #[command(override_usage = "kes key create [options] <name>...")]
    Create(KeyArgs),
    /// Import a key of 32 bytes, given as base64
    #[command(override_usage = "kes key import [options] <name> [<key>]")]
    Import(KeyImportArgs),
    /// Show who created a key, and when
    #[command(override_usage = "kes key info [options] <name>")]
    Info(DescribeArgs),
    /// List keys
    #[command(override_usage = "kes key ls [options] [<pattern>]")]
    Ls(KeyListArgs),
    /// Remove keys, and with them access to everything they protect
    #[command(override_usage = "kes key rm [options] <name>...")]
    Rm(KeyArgs),
    /// Encrypt a message
    #[command(override_usage = "kes key encrypt [options] <name> <message>")]
    Encrypt(KeyArgs),
    /// Decrypt a ciphertext
    #[command(override_usage = "kes key decrypt [options] <name> <ciphertext> [<context>]")]
    Decrypt(KeyArgs),
    /// Generate a data key, plain and encrypted
    #[command(override_usage = "kes key dek <name> [<context>]")]
    Dek(KeyArgs),
}

/// Flags of the commands that work with one or more keys.
#[derive(Args)]
pub(super) struct KeyArgs {
    #[command(flatten)]
    pub(super) insecure: InsecureFlag,
    #[command(flatten)]
    pub(super) enclave: EnclaveFlag,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// Arguments of `kes key import`.
#[derive(Args)]
pub(super) struct KeyImportArgs {
    #[command(flatten)]
    pub(super) insecure: InsecureFlag,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// Arguments of `kes key info`, `kes policy info` and `kes identity info`.
#[derive(Args)]
pub(super) struct DescribeArgs {
    #[command(flatten)]
    pub(super) insecure: InsecureFlag,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) color: ColorFlag,
    #[command(flatten)]
    pub(super) enclave: EnclaveFlag,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// Arguments of `kes key ls`.
#[derive(Args)]
pub(super) struct KeyListArgs {
    #[command(flatten)]
    pub(super) list: ListArgs,
    #[command(flatten)]
    pub(super) enclave: EnclaveFlag,
}

/// Arguments of the list commands of a kind.
#[derive(Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) insecure: InsecureFlag,
    /// Print a JSON array
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) color: ColorFlag,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// The commands under `kes policy`.
#[derive(Subcommand)]
pub(super) enum PolicyCommand {
    /// Create or replace a policy of a cluster, from a JSON file or standard input
    #[command(
        override_usage = "kes policy create [options] <name> <file> | -",
        after_help = "The file has the members 'allow' and 'deny', lists of paths each.\n\n\
                      Examples:\n    $ kes policy create my-app my-app.json\n    \
                      $ kes policy show my-app | kes policy create my-copy -"
    )]
    Create(ChangeArgs),
    /// Put identities under a policy of a cluster, whatever they were under
    #[command(override_usage = "kes policy assign [options] <name> <identity>...")]
    Assign(ChangeArgs),
    /// Show who created a policy, and when
    #[command(override_usage = "kes policy info [options] <name>")]
    Info(DescribeArgs),
    /// List policies
    #[command(override_usage = "kes policy ls [options] [<pattern>]")]
    Ls(ListArgs),
    /// Remove policies of a cluster, and take them from all identities
    #[command(override_usage = "kes policy rm [options] <name>...")]
    Rm(ChangeArgs),
    /// Show the rules of a policy
    #[command(override_usage = "kes policy show [options] <name>")]
    Show(PolicyShowArgs),
}

/// Arguments of the commands that change policies, and who is under them.
#[derive(Args)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    pub(super) insecure: InsecureFlag,
    #[command(flatten)]
    pub(super) enclave: EnclaveFlag,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// Arguments of `kes policy show`.
#[derive(Args)]
pub(super) struct PolicyShowArgs {
    #[command(flatten)]
    pub(super) insecure: InsecureFlag,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) enclave: EnclaveFlag,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// Create API keys, and compute and inspect identities
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    override_usage = "kes identity <command>\n    kes identity [KEY | FILE]",
    after_help = "Without an argument, an API key is created. For an API key or a certificate its identity is\n\
                  printed, for an Ed25519 private key its API key.\n\n\
                  Examples:\n    $ kes identity\n    $ kes identity client.crt"
)]
pub(super) struct IdentityArgs {
    #[command(subcommand)]
    pub(super) command: Option<IdentityCommand>,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// The commands under `kes identity`.
#[derive(Subcommand)]
pub(super) enum IdentityCommand {
    New(IdentityNewArgs),
    /// Compute the identity of an API key or a certificate
    #[command(override_usage = "kes identity of <api-key> | <certificate>")]
    Of(IdentityOfArgs),
    /// Show an identity's policy and who created it; without an argument, the caller's
    #[command(override_usage = "kes identity info [options] [<identity>]")]
    Info(DescribeArgs),
    /// List identities
    #[command(override_usage = "kes identity ls [options] [<pattern>]")]
    Ls(ListArgs),
    /// Take identities from under their policies, in a cluster
    #[command(override_usage = "kes identity rm [options] <identity>...")]
    Rm(ChangeArgs),
}

/// Create an API key, and on request a private key and a certificate
#[derive(Args)]
#[command(
    override_usage = "kes identity new [options] [<subject>]",
    after_help = "Examples:\n    $ kes identity new\n    \
                  $ kes identity new --key client.key --cert client.crt my-app\n    \
                  $ kes identity new --key kes.key --cert kes.crt --ip 127.0.0.1 --dns localhost"
)]
pub(super) struct IdentityNewArgs {
    /// File to write the private key to
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// File to write the certificate to
    #[arg(long, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
    /// IP addresses of the certificate's owner; may be repeated
    #[arg(long, value_name = "IP,...")]
    pub(super) ip: Vec<IpList>,
    /// DNS names of the certificate's owner; may be repeated
    #[arg(long, value_name = "NAME,...")]
    pub(super) dns: Vec<String>,
    /// Time until the certificate expires, for instance 2160h; 720h by default
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(super) expiry: Option<GoDuration>,
    /// Encrypt the private key with a password
    #[arg(long)]
    pub(super) encrypt: bool,
    /// Replace existing files
    #[arg(short = 'f', long)]
    pub(super) force: bool,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// One value of `--ip`: addresses, separated by commas.
#[derive(Clone)]
pub(super) struct IpList(pub(super) Vec<IpAddr>);

impl FromStr for IpList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = |ip: &str| {
            ip.trim().parse().map_err(|_| {
                format!(
                    "invalid string being converted to IP address: {}",
                    ip.trim()
                )
            })
        };
        text.split(',')
            .map(parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Arguments of `kes identity of`.
#[derive(Args)]
pub(super) struct IdentityOfArgs {
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// Follow the audit log or the error log of a server
#[derive(Args)]
#[command(override_usage = "kes log [options]")]
pub(super) struct LogArgs {
    /// Show the audit log; the default
    // No default here: whether it was given explicitly matters.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    pub(super) audit: Option<bool>,
    /// Show the error log
    #[arg(long)]
    pub(super) error: bool,
    /// Print one JSON object per event
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) insecure: InsecureFlag,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// Show whether a server is up, and how it is doing
#[derive(Args)]
#[command(override_usage = "kes status [options]")]
pub(super) struct StatusArgs {
    /// Only one line; JSON without indentation
    #[arg(short = 's', long)]
    pub(super) short: bool,
    /// Also list the API of the server
    #[arg(long)]
    pub(super) api: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) color: ColorFlag,
    #[command(flatten)]
    pub(super) insecure: InsecureFlag,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// Show the metrics of a server, again and again
#[derive(Args)]
#[command(override_usage = "kes metric [options]")]
pub(super) struct MetricArgs {
    /// Time between two samples
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration::parse)]
    pub(super) rate: GoDuration,
    #[command(flatten)]
    pub(super) insecure: InsecureFlag,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

impl MetricArgs {
    /// The time between two samples; `None` if it is zero or negative.
    pub(super) fn rate(&self) -> Option<Duration> {
        self.rate.to_std().filter(|rate| !rate.is_zero())
    }
}

/// Copy keys from one keystore to another
#[derive(Args)]
#[command(
    override_usage = "kes migrate [-f] [--merge] --from FILE --to FILE [PATTERN]",
    after_help = "The keystores are the ones of two server configurations; no server needs to run. Keys are\n\
                  copied as they are stored, and each copy is read back. PATTERN selects names: * ? [a-z].\n\n\
                  Examples:\n    $ kes migrate --from vault.yml --to fs.yml\n    \
                  $ kes migrate --from vault.yml --to fs.yml --merge 'my-app-*'"
)]
pub(super) struct MigrateArgs {
    /// Server configuration with the keystore to read
    #[arg(long, value_name = "FILE")]
    pub(super) from: Option<PathBuf>,
    /// Server configuration with the keystore to write
    #[arg(long, value_name = "FILE")]
    pub(super) to: Option<PathBuf>,
    /// Leave keys as they are that exist already
    #[arg(long)]
    pub(super) merge: bool,
    /// Replace keys that exist already
    #[arg(short = 'f', long)]
    pub(super) force: bool,
    /// Endpoint of another product, which cannot be a target.
    #[arg(
        short = 's',
        long,
        hide = true,
        env = "MINIO_KMS_SERVER",
        hide_env = true
    )]
    pub(super) server: Option<String>,
    /// Enclave of that product.
    #[arg(
        short = 'e',
        long,
        hide = true,
        env = "MINIO_KMS_ENCLAVE",
        hide_env = true
    )]
    pub(super) enclave: Option<String>,
    /// API key of that product.
    #[arg(
        short = 'a',
        long,
        hide = true,
        env = "MINIO_KMS_API_KEY",
        hide_env_values = true
    )]
    pub(super) api_key: Option<String>,
    /// Skip the verification of that product's certificate.
    #[arg(short = 'k', long, hide = true)]
    pub(super) insecure: bool,
    #[arg(value_name = "PATTERN", hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// Print a completion script for a shell
#[derive(Args)]
#[command(
    override_usage = "kes completion <bash|zsh|fish>",
    after_help = "Examples:\n    $ source <(kes completion bash)\n    $ kes completion fish | source"
)]
pub(super) struct CompletionArgs {
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// The shells that completion scripts are written for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Not available: explains how to update instead
#[derive(Args)]
#[command(
    override_usage = "kes update [options] [<version>]",
    after_help = "This command does nothing but fail. A program that replaces itself needs write access to its\n\
                  own file, and trust in whoever answers the download; a server that guards keys should have\n\
                  neither. Install new releases the way this one was installed: with the package manager or a\n\
                  new image."
)]
pub(super) struct UpdateArgs {
    /// Ignored
    #[arg(short = 'k', long, hide = true)]
    pub(super) insecure: bool,
    /// Ignored
    #[arg(short = 'd', long, hide = true)]
    pub(super) downgrade: bool,
    /// Ignored
    #[arg(short = 'o', long, hide = true)]
    pub(super) output: Option<PathBuf>,
    /// Ignored
    #[arg(long, hide = true)]
    pub(super) os: Option<String>,
    /// Ignored
    #[arg(long, hide = true)]
    pub(super) arch: Option<String>,
    /// Ignored
    #[arg(long, hide = true)]
    pub(super) minisign_key: Option<String>,
    #[arg(hide = true, num_args = 0..)]
    pub(super) rest: Vec<String>,
}

/// Parses a boolean as Go's `strconv.ParseBool` does.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {}: invalid syntax",
            super::output::quote(text)
        )),
    }
}

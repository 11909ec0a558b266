//! The command line of `kes cluster` as data.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::args::{ColorFlag, EnclaveFlag, InsecureFlag};

/// The commands under `kes cluster`.
#[derive(Subcommand)]
pub(in crate::cli) enum ClusterCommand {
    Status(StatusArgs),
    Join(JoinArgs),
    /// Give a learner a vote
    #[command(override_usage = "kes cluster promote [options] <name>")]
    Promote(CallArgs),
    Remove(RemoveArgs),
    Leave(LeaveArgs),
    /// Back up and restore what a cluster keeps
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        override_usage = "kes cluster snapshot <command>"
    )]
    Snapshot {
        #[command(subcommand)]
        command: SnapshotCommand,
    },
    /// Create and replace the key that seals all others
    #[command(
        subcommand_required = true,
        arg_required_else_help = true,
        override_usage = "kes cluster root-key <command>"
    )]
    RootKey {
        #[command(subcommand)]
        command: RootKeyCommand,
    },
}

/// The commands under `kes cluster snapshot`.
#[derive(Subcommand)]
pub(in crate::cli) enum SnapshotCommand {
    Save(SaveArgs),
    Restore(RestoreArgs),
}

/// The commands under `kes cluster root-key`.
#[derive(Subcommand)]
pub(in crate::cli) enum RootKeyCommand {
    New(RootKeyNewArgs),
    Rotate(RotateArgs),
}

/// Which server to ask, and how.
#[derive(Args)]
pub(in crate::cli) struct ServerFlags {
    /// Server, or a comma-separated list of servers, instead of the environment's
    #[arg(short = 's', long, value_name = "HOST[:PORT]")]
    pub(in crate::cli) server: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) insecure: InsecureFlag,
    #[command(flatten)]
    pub(in crate::cli) enclave: EnclaveFlag,
}

/// Flags of the commands that have no others, and arguments.
#[derive(Args)]
pub(in crate::cli) struct CallArgs {
    #[command(flatten)]
    pub(in crate::cli) flags: ServerFlags,
    #[arg(hide = true, num_args = 0..)]
    pub(in crate::cli) rest: Vec<String>,
}

/// Show how a cluster is doing, and who its members are
#[derive(Args)]
#[command(
    override_usage = "kes cluster status [options]",
    after_help = "The exit code is 0 if the server answered, however the cluster is doing: scripts look at\n\
                  'health' in the JSON, which is healthy, degraded, no quorum, not a member or restoring.\n\n\
                  Examples:\n    $ kes cluster status\n    $ kes cluster status --json | jq -r .health"
)]
pub(in crate::cli) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
    #[command(flatten)]
    pub(in crate::cli) color: ColorFlag,
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
}

/// Admit a new server to a cluster
#[derive(Args)]
#[command(
    override_usage = "kes cluster join [options] <name> <address>",
    after_help = "The new server must be running, with this name, an empty data directory and the root key of\n\
                  the cluster. ADDRESS is where it listens for other servers, not for clients. It gets a copy\n\
                  of everything first, and then a vote.\n\n\
                  Examples:\n    $ kes cluster join node4 node4.example.org:7374"
)]
pub(in crate::cli) struct JoinArgs {
    /// Give the server no vote; 'kes cluster promote' does that later
    #[arg(long)]
    pub(in crate::cli) learner: bool,
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
}

/// Take a server out of a cluster, dead or alive
#[derive(Args)]
#[command(
    override_usage = "kes cluster remove [options] <name>",
    after_help = "A server that was removed cannot come back with the data it has. Of several dead servers\n\
                  remove one after the other, and never more than the cluster can do without."
)]
pub(in crate::cli) struct RemoveArgs {
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
}

/// Take the server that is asked out of its cluster
#[derive(Args)]
#[command(
    override_usage = "kes cluster leave [options]",
    after_help = "Examples:\n    $ kes cluster leave --server node4.example.org:7373"
)]
pub(in crate::cli) struct LeaveArgs {
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
}

/// Write a backup of a cluster to a file
#[derive(Args)]
#[command(
    override_usage = "kes cluster snapshot save [options] <file>",
    after_help = "The backup is encrypted with the root key of the cluster: keep a copy of that key, in another\n\
                  place. The file appears once it is complete, and replaces an older one.\n\n\
                  Examples:\n    $ kes cluster snapshot save /backup/kes-$(date +%F)"
)]
pub(in crate::cli) struct SaveArgs {
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
}

/// Read a backup into a cluster that is empty
#[derive(Args)]
#[command(
    override_usage = "kes cluster snapshot restore [options] <file>",
    after_help = "The servers must have the root key that the backup is encrypted with. The cluster must have no\n\
                  keys, policies or identities; what an interrupted restore left is replaced."
)]
pub(in crate::cli) struct RestoreArgs {
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
}

/// Create a root key for the servers of a cluster
#[derive(Args)]
#[command(
    override_usage = "kes cluster root-key new [options]",
    after_help = "All servers of a cluster need the same root key. No server is asked; nothing is changed.\n\n\
                  Examples:\n    $ kes cluster root-key new --out /etc/kes/root.key\n    \
                  $ export KES_ROOT_KEY=$(kes cluster root-key new)"
)]
pub(in crate::cli) struct RootKeyNewArgs {
    /// File to write the root key to, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    #[arg(hide = true, num_args = 0..)]
    pub(in crate::cli) rest: Vec<String>,
}

/// Seal everything in a cluster with its next root key
#[derive(Args)]
#[command(
    override_usage = "kes cluster root-key rotate [options]",
    after_help = "First give every server the new root key in addition to the old one, which backups still\n\
                  need. Keys can be used meanwhile. If the connection breaks, the servers go on: see\n\
                  'kes cluster status'."
)]
pub(in crate::cli) struct RotateArgs {
    #[command(flatten)]
    pub(in crate::cli) call: CallArgs,
}

//! The `cluster` section: who this node is, how others reach it, and where it keeps what it knows.

mod address;
mod file;
mod resolve;
mod root_keys;

use std::path::PathBuf;
use std::time::Duration;

use crate::base::secret::SecretString;

pub(super) use file::ClusterFile;

/// `cluster`. There is no `Debug`: it may hold a root key.
pub struct ClusterConfig {
    /// Name of this node; a valid one.
    pub name: String,
    /// Where to listen for other nodes, `IP:PORT` or `:PORT`; checked in full when the node starts.
    pub address: String,
    /// How other nodes reach this one, `HOST:PORT`.
    pub advertise: String,
    /// How clients reach this node, `https://HOST[:PORT]`; for display only.
    pub api: Option<String>,
    /// The data directory, as it was configured.
    pub path: PathBuf,
    /// Where the root keys come from.
    pub root_keys: RootKeySource,
    /// The founding members in the order of the file: name and `HOST:PORT`. Neither names nor
    /// addresses occur twice. Empty for a node that is going to join a cluster.
    pub members: Vec<(String, String)>,
    /// How often a leader shows that it is there.
    pub heartbeat: Duration,
    /// How long a follower waits for that, at least; at most it is twice as long. Not less than
    /// three heartbeats.
    pub election: Duration,
    /// How long keys are served without contact to a quorum; zero for not at all.
    pub stale_reads: Duration,
}

/// Where the root keys of a node come from.
pub enum RootKeySource {
    /// A file with one root key a line.
    File(PathBuf),
    /// The keys themselves, separated by commas.
    Value(SecretString),
}

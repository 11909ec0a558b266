//! The types that Raft is made of here, and openraft's under short names.

use serde::{Deserialize, Serialize};

use super::image_store::SnapshotFile;
use crate::machine::{Command, Reply};

/// Who a node is: drawn by its disk at first use, never 0, never used again (`storage::dir`).
pub type NodeId = u64;

/// A member of the cluster as all members know it. Part of the replicated membership.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Member {
    /// Its configured name.
    pub name: String,
    /// Where other members reach it, `host:port`.
    pub cluster_address: String,
    /// Where clients reach it, a URL or `host:port`.
    pub api_address: String,
}

openraft::declare_raft_types!(
    /// What openraft is instantiated with.
    #[derive(Serialize, Deserialize)]
    pub TypeConfig:
        D = Command,
        R = Reply,
        NodeId = NodeId,
        Node = Member,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = SnapshotFile,
        AsyncRuntime = openraft::TokioRuntime,
);

/// The position of an entry in the log.
pub type LogId = openraft::LogId<NodeId>;

/// Whom a node votes for, and in which term.
pub type Vote = openraft::Vote<NodeId>;

/// An entry of the log.
pub type Entry = openraft::Entry<TypeConfig>;

/// Who the members are, and since which entry.
pub type StoredMembership = openraft::StoredMembership<NodeId, Member>;

/// What a snapshot holds: up to which entry, and the membership there.
pub type SnapshotMeta = openraft::SnapshotMeta<NodeId, Member>;

/// A snapshot with its description.
pub type Snapshot = openraft::Snapshot<TypeConfig>;

/// Storage failed: Raft stops.
pub type StorageError = openraft::StorageError<NodeId>;

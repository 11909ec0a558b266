//! How a node takes part in consensus, and the timing that goes with it.

use std::sync::Arc;
use std::time::Duration;

use openraft::SnapshotPolicy;

use crate::base::limits::{
    APPEND_ENTRIES_MAX, SNAPSHOT_LOG_ENTRIES, SNAPSHOT_LOG_KEPT, SNAPSHOT_SEND_TIMEOUT,
};

/// What a node is told about itself and its cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Where other nodes reach it, `host:port`.
    pub cluster_address: String,
    /// Where clients reach it, a URL; may be empty.
    pub api_address: String,
    /// Names and addresses of the nodes that found the cluster.
    pub founders: Vec<(String, String)>,
    /// How often the leader is heard of.
    pub heartbeat: Duration,
    /// After how much silence, at the least, a node stands for election. The most is twice that.
    pub election_timeout: Duration,
    /// How long keys are served without contact to a quorum.
    pub stale_reads_max: Duration,
}

/// The timing cannot work.
#[derive(Debug, thiserror::Error)]
#[error("the cluster's timing cannot work: {0}")]
pub struct TimingError(String);

impl Settings {
    /// The longest silence before an election.
    pub fn election_timeout_max(&self) -> Duration {
        self.election_timeout * 2
    }

    /// For how long after the last sign of a leader nobody votes for another one.
    pub(super) fn leader_lease(&self) -> Duration {
        self.election_timeout
    }

    /// The settings in openraft's words.
    ///
    /// The log is fsynced inside of openraft's loop, which sends heartbeats, too: a disk that takes
    /// 50 ms now and then must not cost an election, so the election time-out has room for several.
    /// openraft takes its upper time-out for the lease of a leader as well, and waits a random time
    /// between both *after* that: with halves of ours, the silence is 1.5 to 2 times the lease.
    pub(super) fn openraft(&self) -> Result<Arc<openraft::Config>, TimingError> {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let config = openraft::Config {
            cluster_name: "kes".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_timeout / 2),
            election_timeout_max: millis(self.leader_lease()),
            max_payload_entries: APPEND_ENTRIES_MAX,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_LOG_ENTRIES),
            max_in_snapshot_log_to_keep: SNAPSHOT_LOG_KEPT,
            replication_lag_threshold: SNAPSHOT_LOG_ENTRIES,
            install_snapshot_timeout: millis(SNAPSHOT_SEND_TIMEOUT),
            ..openraft::Config::default()
        };
        config
            .validate()
            .map(Arc::new)
            .map_err(|error| TimingError(error.to_string()))
    }
}

//! Layer 3: what a cluster node keeps on disk: the Raft log, the vote, the applied state, snapshots.

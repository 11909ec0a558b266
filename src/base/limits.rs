//! Every bound of the server. Full means 503, never a queue that grows.

use std::time::Duration;

/// Longest name of a key, a policy or an identity.
pub const NAME_BYTES_MAX: usize = 80;

/// Largest stored value that a file keystore reads.
pub const STORED_VALUE_BYTES_MAX: usize = 1 << 20;

/// Largest request body of the routes that take one (the original's "1 MB").
pub const BODY_BYTES_MAX: usize = 1_000_000;

/// Largest policy that is received. The cluster takes less, see [`RECORD_BYTES_MAX`].
pub const POLICY_BODY_BYTES_MAX: usize = 1 << 20;

/// Largest body that assigns a policy.
pub const ASSIGN_BODY_BYTES_MAX: usize = 1 << 10;

/// Bytes of a body that a route without a body reads and throws away before it answers.
pub const IGNORED_BODY_BYTES_MAX: usize = 1_000_000;

/// Largest `names` answer: what the official SDK reads of a listing, less room for the rest of the JSON.
pub const LIST_RESPONSE_BYTES_MAX: usize = (1 << 20) - 4096;

/// Bodies up to this size are processed on the connection's thread, larger ones on the blocking pool.
pub const INLINE_BODY_BYTES_MAX: usize = 64 << 10;

/// Time for a TLS handshake.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a request head to arrive.
pub const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a request body to arrive.
pub const REQUEST_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept. Above the 90 s of Go clients, so that they close first.
pub const KEEP_ALIVE: Duration = Duration::from_secs(120);

/// Connections per worker thread.
pub const CONNECTIONS_PER_WORKER_MAX: usize = 10_000;

/// How long a client may take nothing of what is written to it.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Longest request path.
pub const PATH_BYTES_MAX: usize = 32 << 10;

/// Longest method that is repeated in an answer.
pub const METHOD_BYTES_MAX: usize = 64;

/// Requests under way on one HTTP/2 connection.
pub const H2_STREAMS_MAX: u32 = 250;

/// Size of a decoded HTTP/2 header list.
pub const H2_HEADER_LIST_BYTES_MAX: u32 = 64 << 10;

/// Time for active requests when the server stops; then their connections are cut.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Messages that wait for an actor.
pub const MAILBOX_CAPACITY: usize = 1024;

/// Keys in the cache. Above it a load evicts unused entries.
pub const CACHED_KEYS_MAX: usize = 1_000_000;

/// Time for one call of a keystore.
pub const STORE_CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for a keystore to answer to a status call.
pub const STORE_STATUS_TIMEOUT: Duration = Duration::from_secs(10);

/// Operations of a file keystore under way at the same time, of each kind: reads, changes, listings,
/// probes. All kinds together stay well below the 512 threads of the blocking pool.
pub const FILE_OPERATIONS_MAX: usize = 64;

/// Operations of a file keystore that wait for those, of each kind. As many as [`KEY_LOADS_MAX`], so
/// that a burst of cold keys after a start meets that limit and not this one.
pub const FILE_OPERATIONS_WAITING_MAX: usize = 4096;

/// Keys that are being loaded into the cache at the same time.
pub const KEY_LOADS_MAX: usize = 4096;

/// How often the keystore's status is asked.
pub const STORE_PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Log events that wait for one subscriber; a slower one loses the oldest.
pub const LOG_SUBSCRIBER_QUEUE: usize = 1024;

/// Subscribers of one log stream.
pub const LOG_SUBSCRIBERS_MAX: usize = 256;

/// Log records that wait for the console.
pub const CONSOLE_QUEUE: usize = 8192;

/// How often the TLS files are read again without a signal.
pub const TLS_RELOAD_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Memory for request bodies above [`INLINE_BODY_BYTES_MAX`] that are being received.
pub const BODY_MEMORY_BYTES_MAX: usize = 256 << 20;

/// Empty DATA frames within one HTTP/2 request body.
pub const H2_EMPTY_FRAMES_MAX: usize = 1000;

/// Bytes that an HTTP/2 connection buffers for sending.
pub const H2_SEND_BUFFER_BYTES_MAX: usize = 1 << 20;

/// Keys of a cluster, all of which are in memory: about half a gigabyte. This and the next five
/// decide which commands are rejected, so all nodes of a cluster must have the same.
pub const CLUSTER_KEYS_MAX: usize = 1_000_000;

/// Policies of a cluster.
pub const CLUSTER_POLICIES_MAX: usize = 10_000;

/// Identities of a cluster that are under a policy.
pub const CLUSTER_IDENTITIES_MAX: usize = 100_000;

/// Keys that are being created in an external store.
pub const CLUSTER_RESERVATIONS_MAX: usize = 10_000;

/// Answers that a cluster remembers, so that a request which comes twice changes nothing twice. At
/// that many it forgets the older half.
pub const CLUSTER_ANSWERS_MAX: usize = 8192;

/// Root keys of a cluster that are in use at the same time.
pub const CLUSTER_ROOTS_MAX: usize = 8;

/// Largest encoded record. The store on disk keeps larger values in files of their own, which it
/// neither syncs nor removes.
pub const RECORD_BYTES_MAX: usize = 16 << 10;

/// Largest encoding of anything persisted or sent between nodes, snapshots apart.
pub const ENCODED_BYTES_MAX: usize = 1 << 20;

/// Memory that a node's database keeps pages in.
pub const DB_CACHE_BYTES: u64 = 64 << 20;

/// Largest single value of a node's database; larger ones are split. The engine writes up to 17
/// neighbouring values as one page, and a page above 128 KiB leaves the file that is fsynced.
pub const DB_VALUE_BYTES_MAX: usize = 4096;

/// About how much one batch of the applied state writes.
pub const DB_BATCH_BYTES: usize = 1 << 20;

/// How often the database's own thread flushes, and cleans up. Nothing is acknowledged on it.
pub const DB_FLUSH_INTERVAL: Duration = Duration::from_millis(500);

/// Jobs that wait for the disk thread.
pub const DISK_QUEUE: usize = 256;

/// Jobs that share one fsync.
pub const DISK_GROUP_MAX: usize = 64;

/// About how much of the log one read for replication returns.
pub const LOG_READ_BYTES: usize = 1 << 20;

/// Log entries that one batch removes.
pub const LOG_REMOVE_BATCH: usize = 256;

/// Largest description (log position and membership) of a snapshot file.
pub const SNAPSHOT_META_BYTES_MAX: usize = 1 << 20;

/// Log entries after which a snapshot is made, and by which a follower may be behind before it gets
/// one.
pub const SNAPSHOT_LOG_ENTRIES: u64 = 5_000;

/// Log entries that stay when a snapshot replaces the others: a follower that is a little behind
/// needs no snapshot then.
pub const SNAPSHOT_LOG_KEPT: u64 = 1_000;

/// Time to send a snapshot to another node.
pub const SNAPSHOT_SEND_TIMEOUT: Duration = Duration::from_secs(300);

/// Proposals in one entry of the log.
pub const BATCH_PROPOSALS_MAX: usize = 128;

/// Bytes of the proposals in one entry of the log, unless a single one has more.
pub const BATCH_BYTES_MAX: usize = 48 << 10;

/// Entries of proposals on their way at a time. One: whatever arrives meanwhile is the next.
pub const ENTRIES_IN_FLIGHT_MAX: usize = 1;

/// Proposals that wait for their entry.
pub const PROPOSALS_WAITING_MAX: usize = 8 << 10;

/// Callers that wait for one round of questions to the cluster.
pub const ROUND_WAITERS_MAX: usize = 16 << 10;

/// Time for a change to be committed, through however many leaders.
pub const PROPOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a change of policies that is committed to be in force on this node.
pub const POLICIES_IN_FORCE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for the proof that nothing was missed.
pub const BARRIER_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for a leader to prove that it leads.
pub const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest pause before a leader is looked for again; shorter if the view of the cluster changes.
pub const FORWARD_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Pause between two looks for the founders of a cluster.
pub const BOOTSTRAP_PAUSE: Duration = Duration::from_millis(500);

/// Time for another node to say who it is.
pub const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for a change of the membership, including what a new member has to catch up with.
pub const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(90);

/// How often, at the least, the view of the cluster is brought up to date.
pub const VIEW_INTERVAL: Duration = Duration::from_millis(100);

/// Time for each step of ending a node's part of the cluster.
pub const RAFT_STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Log entries of one message.
pub const APPEND_ENTRIES_MAX: u64 = 64;

/// Records that a rotation of the root key seals at a time.
pub const RESEAL_BATCH: usize = 64;

/// How often a rotation of the root key looks for what was created meanwhile.
pub const RESEAL_ROUNDS_MAX: usize = 16;

/// Connections of other nodes to the cluster port.
pub const CLUSTER_CONNECTIONS_MAX: usize = 256;

/// TLS handshakes under way on the cluster port. One more cuts the oldest: a node of the cluster is
/// done within a few round trips, so that who only occupies places cannot keep it out.
pub const CLUSTER_HANDSHAKES_MAX: usize = 128;

/// Calls under way on one connection between nodes.
pub const CLUSTER_STREAMS_MAX: u32 = 256;

/// Size of one message between nodes.
pub const CLUSTER_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Header list of one call between nodes.
pub const CLUSTER_HEADER_LIST_BYTES_MAX: u32 = 16 << 10;

/// What one stream between nodes may send before the receiver has taken it.
pub const CLUSTER_STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// What one connection between nodes may send before the receiver has taken it.
pub const CLUSTER_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Time to reach another node and shake hands. Short, for the first packet after a partition should
/// not wait for a retransmission timer that grew during it.
pub const CLUSTER_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a connection between nodes is probed.
pub const CLUSTER_PING_INTERVAL: Duration = Duration::from_secs(1);

/// Time for the answer to such a probe; then the connection is given up. The other end may be gone
/// without a word: its power, or the network between.
pub const CLUSTER_PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause before another node is dialed, or called by Raft, again; doubles up to
/// [`CLUSTER_REDIAL_PAUSE_MAX`].
pub const CLUSTER_REDIAL_PAUSE_MIN: Duration = Duration::from_millis(20);

/// Longest pause before another node is dialed again. Part of the time without a leader after a
/// partition has healed.
pub const CLUSTER_REDIAL_PAUSE_MAX: Duration = Duration::from_millis(500);

/// After this time a connection between nodes is closed, so that none outlives for long the
/// certificates it was opened with.
pub const CLUSTER_CONNECTION_AGE_MAX: Duration = Duration::from_secs(2 * 24 * 3600);

/// Log entries of one message, together, unless a single one is larger.
pub const APPEND_BYTES_MAX: usize = 1 << 20;

/// Snapshots being received at the same time: that of the leader, and one of a former leader.
pub const SNAPSHOTS_RECEIVED_MAX: usize = 2;

/// Time for one call between nodes, whatever the caller asks for.
pub const CLUSTER_CALL_TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Piece of a snapshot on the wire.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;

/// Largest snapshot that a node takes from another.
pub const SNAPSHOT_BYTES_MAX: u64 = 16 << 30;

/// Nodes of a cluster, learners included.
pub const CLUSTER_NODES_MAX: usize = 64;

/// Longest name or address of a node.
pub const MEMBER_TEXT_BYTES_MAX: usize = 256;

/// Time for the next part of a snapshot to arrive.
pub const SNAPSHOT_PART_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause before a cluster is asked again to create the predefined keys.
pub const PREDEFINED_KEYS_PAUSE: Duration = Duration::from_secs(1);

/// How often a node asks itself whether what it has is too old to be served.
pub const STALENESS_INTERVAL: Duration = Duration::from_millis(500);

/// Backups of the cluster that are made at the same time: each keeps the state of its beginning.
pub const BACKUPS_MAX: usize = 2;

/// How long the client may take nothing of a backup.
pub const BACKUP_STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Pieces of a backup that wait for the client, about a megabyte each.
pub const BACKUP_PIECES_WAITING: usize = 1;

/// Largest backup that is restored.
pub const RESTORE_BYTES_MAX: u64 = SNAPSHOT_BYTES_MAX;

/// Room on the disk that an uploaded backup leaves for what the node itself writes.
pub const RESTORE_FREE_BYTES_MIN: u64 = 256 << 20;

/// How long an upload is kept to which nothing is added.
pub const RESTORE_IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// How often a restore asks the cluster for the same change when it gives no answer.
pub const RESTORE_ATTEMPTS_MAX: usize = 6;

//! The replicated store as others see it: changes, proofs of absence, and what is known here.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::error::{CheckIsLeaderError, RaftError};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::actor::Proposer;
use super::error::{ClusterError, ProposeError};
use super::messages::Committed;
use super::peers::{Description, Peers};
use super::rounds::Rounds;
use super::settings::Settings;
use super::transport::dial::Dialer;
use super::view::{ClusterView, Contact, MemberView};
use crate::base::limits::{
    BARRIER_TIMEOUT, BATCH_PROPOSALS_MAX, DESCRIBE_TIMEOUT, FORWARD_RETRY_PAUSE, PROPOSE_TIMEOUT,
    READ_INDEX_TIMEOUT,
};
use crate::base::snapshot::Published;
use crate::crypto::at_rest::RootKeyId;
use crate::crypto::random;
use crate::machine::{Command, Op, Outcome, Proposal, Rejection, RequestId, State};
use crate::storage::{DbError, LogId, Member, NodeId, StorageHandle, TypeConfig};

pub(super) type Raft = openraft::Raft<TypeConfig>;

/// A node's part of the cluster. Clones share it.
#[derive(Clone)]
pub struct RaftHandle {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) raft: Raft,
    pub(super) storage: StorageHandle,
    pub(super) proposer: Proposer,
    pub(super) peers: Arc<dyn Peers>,
    pub(super) settings: Settings,
    /// Which root keys this node has, for others to ask.
    pub(super) root_keys: Published<Vec<RootKeyId>>,
    pub(super) view: watch::Receiver<Arc<ClusterView>>,
    pub(super) dialer: Dialer,
    pub(super) contact: Arc<Contact>,
    /// The leader's proofs that it still leads.
    pub(super) leadership: Rounds<Option<LogId>>,
    /// This node's proofs that it has applied all that was acknowledged anywhere.
    pub(super) barriers: Rounds<()>,
}

/// Where a proposal goes.
enum Leader {
    Here,
    There(NodeId, Member),
    Nowhere,
}

impl RaftHandle {
    /// The state as this node has applied it: for presence, and for what may be a little old.
    pub fn state(&self) -> State {
        self.shared.storage.applied().load().state.clone()
    }

    /// Which of the other members answer, asked now.
    pub async fn reachable_members(&self) -> Vec<NodeId> {
        let asked = self.ask_members().await.into_iter();
        let answering = asked.filter(|(_, answer)| answer.is_some());
        answering.map(|(member, _)| member.id).collect()
    }

    /// Asks all other members at once who they are. What another node says in the place of one is no
    /// answer.
    async fn ask_members(&self) -> Vec<(MemberView, Option<Description>)> {
        let view = self.view();
        let others = view
            .members
            .iter()
            .filter(|member| member.id != view.node_id);
        let asked = others.map(|member| async move {
            let address = &member.member.cluster_address;
            let answer = self.shared.peers.describe(address, DESCRIBE_TIMEOUT).await;
            let answer = answer.ok().filter(|answer| answer.id == member.id);
            (member.clone(), answer)
        });
        futures_util::future::join_all(asked).await
    }

    /// The members, this one apart, that do not answer or do not have the root key `id`.
    pub async fn members_without(&self, id: RootKeyId) -> Vec<String> {
        let asked = self.ask_members().await.into_iter();
        let without = asked.filter(|(_, answer)| {
            let has_it = |answer: &Description| answer.root_keys.contains(&id);
            !answer.as_ref().is_some_and(has_it)
        });
        without.map(|(member, _)| member.member.name).collect()
    }

    /// The last entry that this node has applied; 0 if there is none.
    pub fn applied_index(&self) -> u64 {
        let applied = self.shared.storage.applied().load();
        applied.last_applied.map_or(0, |log_id| log_id.index)
    }

    /// Waits until this node has applied the entry at `index`; false if it never will.
    pub async fn applied(&self, index: u64) -> bool {
        self.shared.storage.wait_applied(index).await.is_ok()
    }

    /// A new file in the data directory that vanishes when it is dropped; see
    /// [`StorageHandle::scratch_file`]. Blocks.
    ///
    /// # Errors
    ///
    /// [`DbError`] if it cannot be created.
    pub fn scratch_file(&self) -> Result<File, DbError> {
        self.shared.storage.scratch_file()
    }

    /// Runs `read` on the state as this node has applied it.
    pub fn with_state<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        read(&self.shared.storage.applied().load().state)
    }

    /// The state as this node has applied it, with its [`policies_revision`].
    ///
    /// [`policies_revision`]: crate::storage::Applied::policies_revision
    pub fn state_of_policies(&self) -> (State, u64) {
        let applied = self.shared.storage.applied().load();
        (applied.state.clone(), applied.policies_revision)
    }

    /// Tells the revision of policies and identities when this node has applied a change of them.
    pub fn watch_policies(&self) -> watch::Receiver<u64> {
        self.shared.storage.watch_policies()
    }

    /// The cluster as this node sees it.
    pub fn view(&self) -> Arc<ClusterView> {
        Arc::clone(&self.shared.view.borrow())
    }

    /// Tells when the view changes.
    pub fn watch_view(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.shared.view.clone()
    }

    /// What this node was told about itself.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// How long ago this node knew that it belongs to a quorum; `None`: never since its start.
    pub fn contact_age(&self) -> Option<Duration> {
        self.shared.contact.age()
    }

    /// Whether what this node has may be older than reads may be, so that each needs a barrier.
    pub fn is_stale(&self) -> bool {
        let age = self.contact_age();
        age.is_none_or(|age| age > self.shared.settings.stale_reads_max)
    }

    /// Waits until this node has applied every change that was acknowledged before, on any node.
    /// Afterwards what is not there does not exist.
    ///
    /// # Errors
    ///
    /// [`ClusterError`] if that cannot be known, within [`BARRIER_TIMEOUT`].
    pub async fn read_barrier(&self) -> Result<(), ClusterError> {
        match tokio::time::timeout(BARRIER_TIMEOUT, self.shared.barriers.next()).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(self.shared.why_late()),
        }
    }

    /// Makes a change, through whichever node leads, and waits until this node has applied it.
    /// A change whose answer is lost on the way is repeated and happens once.
    ///
    /// # Errors
    ///
    /// [`ProposeError::Rejected`] if the state does not allow it. [`ProposeError::Cluster`] if it is
    /// not known what became of it.
    pub async fn propose(&self, op: Op) -> Result<Outcome, ProposeError> {
        let request_id = request_id()?;
        self.propose_as(request_id, op).await
    }

    /// As [`Self::propose`], for a request that may have been made before.
    ///
    /// # Errors
    ///
    /// As [`Self::propose`].
    pub async fn propose_as(&self, request_id: RequestId, op: Op) -> Result<Outcome, ProposeError> {
        let is_delete = matches!(
            op,
            Op::DeleteKey { .. } | Op::DeletePolicy { .. } | Op::DeleteIdentity { .. }
        );
        let proposals = vec![Proposal { request_id, op }];
        let (mut outcomes, attempts) = self.propose_all(proposals).await?;
        match outcomes.pop() {
            // An earlier attempt, whose answer was lost, may have deleted it.
            Some(Outcome::Rejected(Rejection::NotFound)) if is_delete && attempts > 1 => {
                Ok(Outcome::Deleted)
            }
            Some(Outcome::Rejected(rejection)) => Err(ProposeError::Rejected(rejection)),
            Some(outcome) => Ok(outcome),
            None => Err(ProposeError::Garbled("an outcome is missing".to_owned())),
        }
    }

    /// Makes several changes, each with an outcome of its own, rejections included.
    ///
    /// # Errors
    ///
    /// [`ProposeError::Cluster`] if it is not known what became of them.
    pub async fn propose_batch(&self, ops: Vec<Op>) -> Result<Vec<Outcome>, ProposeError> {
        let mut outcomes = Vec::with_capacity(ops.len());
        let mut ops = ops.into_iter().peekable();
        while ops.peek().is_some() {
            let proposals = ops
                .by_ref()
                .take(BATCH_PROPOSALS_MAX)
                .map(|op| request_id().map(|request_id| Proposal { request_id, op }));
            let proposals = proposals.collect::<Result<Vec<_>, _>>()?;
            outcomes.extend(self.propose_all(proposals).await?.0);
        }
        Ok(outcomes)
    }

    /// Makes several changes, each with an outcome of its own. Also how often they were tried.
    pub(super) async fn propose_all(
        &self,
        proposals: Vec<Proposal>,
    ) -> Result<(Vec<Outcome>, usize), ProposeError> {
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        let command = Command { proposals };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.try_propose(&command, left).await {
                Ok(committed) => {
                    self.until_applied(committed.log_id.index, deadline).await?;
                    return Ok((committed.outcomes, attempts));
                }
                Err(ProposeError::Cluster(error)) => error,
                Err(other) => return Err(other),
            };
            if !is_worth_another_try(&error) || Instant::now() + FORWARD_RETRY_PAUSE > deadline {
                return Err(error.into());
            }
            self.until_view_changes(FORWARD_RETRY_PAUSE).await;
        }
    }

    async fn try_propose(
        &self,
        command: &Command,
        timeout: Duration,
    ) -> Result<Committed, ProposeError> {
        match self.leader() {
            Leader::Here => self.propose_here(command.proposals.clone(), timeout).await,
            Leader::There(id, member) => {
                let peers = &self.shared.peers;
                peers.propose(id, &member, command, timeout).await
            }
            Leader::Nowhere => Err(self.shared.why_no_leader().into()),
        }
    }

    /// Writes proposals if this node leads; for itself and for others. Never forwards.
    pub(super) async fn propose_here(
        &self,
        proposals: Vec<Proposal>,
        timeout: Duration,
    ) -> Result<Committed, ProposeError> {
        let replied = self.shared.proposer.propose(proposals)?;
        match tokio::time::timeout(timeout, replied).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_dropped)) => {
                Err(ClusterError::Stopped("it is shutting down".to_owned()).into())
            }
            Err(_elapsed) => Err(self.shared.why_late().into()),
        }
    }

    /// Up to where a node must have applied to miss nothing that was acknowledged until now, if this
    /// node leads.
    pub(super) async fn read_index_here(&self) -> Result<Option<LogId>, ClusterError> {
        self.shared.leadership.next().await
    }

    async fn until_applied(&self, index: u64, deadline: Instant) -> Result<(), ClusterError> {
        let applied = self.shared.storage.wait_applied(index);
        match tokio::time::timeout_at(deadline.into(), applied).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ClusterError::Stopped(error.to_string())),
            Err(_elapsed) => Err(ClusterError::TimedOut),
        }
    }

    pub(super) async fn until_view_changes(&self, at_most: Duration) {
        let mut view = self.shared.view.clone();
        view.mark_unchanged();
        // Whether it changed or not: another try is due.
        let _ = tokio::time::timeout(at_most, view.changed()).await;
    }

    fn leader(&self) -> Leader {
        let view = self.view();
        match &view.leader {
            Some((id, _)) if *id == view.node_id => Leader::Here,
            Some((id, member)) => Leader::There(*id, member.clone()),
            None => Leader::Nowhere,
        }
    }
}

impl Shared {
    /// What to say when an answer did not come in time.
    fn why_late(&self) -> ClusterError {
        let view = self.view.borrow();
        let heard = self.contact.age();
        let is_alone = heard.is_none_or(|age| age > self.settings.election_timeout_max());
        match (&view.leader, is_alone) {
            (None, _) => ClusterError::NoLeader,
            (Some(_), true) => ClusterError::NoQuorum,
            (Some(_), false) => ClusterError::TimedOut,
        }
    }

    fn why_no_leader(&self) -> ClusterError {
        let view = self.view.borrow();
        match (&view.failure, view.is_member()) {
            (Some(reason), _) => ClusterError::Stopped(reason.clone()),
            (None, false) => ClusterError::NotMember,
            (None, true) => ClusterError::NoLeader,
        }
    }
}

/// Whether the cluster may answer otherwise in a moment. A change that may have happened is tried
/// again, too: its request id makes that harmless.
fn is_worth_another_try(error: &ClusterError) -> bool {
    match error {
        ClusterError::NoLeader
        | ClusterError::NotLeader
        | ClusterError::LeaderUnreachable(_)
        | ClusterError::NoQuorum
        | ClusterError::TimedOut => true,
        ClusterError::Overloaded
        | ClusterError::NotMember
        | ClusterError::Restoring
        | ClusterError::Stopped(_) => false,
    }
}

/// Draws the id of a new request.
///
/// # Errors
///
/// If the system has no random numbers.
pub fn request_id() -> Result<RequestId, ProposeError> {
    let bytes = random::array::<16>().map_err(|error| ClusterError::Stopped(error.to_string()))?;
    Ok(RequestId::from_be_bytes(
        *bytes.first_chunk().unwrap_or(&[0; 16]),
    ))
}

/// Starts the rounds in which a leader proves that it leads: one heartbeat to a quorum each.
pub(super) fn leadership_rounds(runtime: &Handle, raft: Raft) -> Rounds<Option<LogId>> {
    Rounds::start(runtime, move || {
        let raft = raft.clone();
        async move {
            match tokio::time::timeout(READ_INDEX_TIMEOUT, raft.get_read_log_id()).await {
                Ok(Ok((read_log_id, _applied))) => Ok(read_log_id),
                Ok(Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_)))) => {
                    Err(ClusterError::NotLeader)
                }
                Ok(Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)))) | Err(_) => {
                    Err(ClusterError::NoQuorum)
                }
                Ok(Err(RaftError::Fatal(error))) => Err(ClusterError::Stopped(error.to_string())),
            }
        }
    })
}

/// What a barrier needs.
#[derive(Clone)]
pub(super) struct BarrierParts {
    pub(super) leadership: Rounds<Option<LogId>>,
    pub(super) peers: Arc<dyn Peers>,
    pub(super) view: watch::Receiver<Arc<ClusterView>>,
    pub(super) storage: StorageHandle,
}

/// Starts the rounds of this node's read barriers.
pub(super) fn barrier_rounds(runtime: &Handle, parts: BarrierParts) -> Rounds<()> {
    Rounds::start(runtime, move || {
        let parts = parts.clone();
        async move { parts.pass().await }
    })
}

impl BarrierParts {
    async fn pass(&self) -> Result<(), ClusterError> {
        let deadline = tokio::time::Instant::now() + BARRIER_TIMEOUT;
        let read_index = loop {
            let error = match self.read_index().await {
                Ok(read_index) => break read_index,
                Err(error) => error,
            };
            let pause = FORWARD_RETRY_PAUSE;
            if !is_worth_another_try(&error) || tokio::time::Instant::now() + pause > deadline {
                return Err(error);
            }
            let mut view = self.view.clone();
            view.mark_unchanged();
            let _ = tokio::time::timeout(pause, view.changed()).await;
        };
        let Some(log_id) = read_index else {
            return Ok(());
        };
        let applied = self.storage.wait_applied(log_id.index);
        match tokio::time::timeout_at(deadline, applied).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(ClusterError::Stopped(error.to_string())),
            Err(_elapsed) => Err(ClusterError::TimedOut),
        }
    }

    async fn read_index(&self) -> Result<Option<LogId>, ClusterError> {
        let view = Arc::clone(&self.view.borrow());
        match &view.leader {
            Some((id, _)) if *id == view.node_id => self.leadership.next().await,
            Some((id, member)) => self.peers.read_index(*id, member, READ_INDEX_TIMEOUT).await,
            None if view.is_member() => Err(ClusterError::NoLeader),
            None => Err(ClusterError::NotMember),
        }
    }
}

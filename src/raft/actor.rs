//! The actor of the replicated store: it is the group commit.
//!
//! While entries are on their way it collects what is proposed; when one is done the collection
//! becomes the next entry. One fsync on each node then serves many clients.

use std::collections::VecDeque;

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture,
};
use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::oneshot;

use super::error::{ClusterError, ProposeError};
use super::messages::{Committed, Propose, Stop};
use crate::base::exit::DeathWatch;
use crate::base::limits::{
    BATCH_BYTES_MAX, BATCH_PROPOSALS_MAX, ENTRIES_IN_FLIGHT_MAX, MAILBOX_CAPACITY,
    PROPOSALS_WAITING_MAX,
};
use crate::machine::{Command, Outcome, Proposal, Reply};
use crate::storage::TypeConfig;

type Raft = openraft::Raft<TypeConfig>;

/// What a caller of the actor holds.
#[derive(Clone)]
pub(super) struct Proposer(Addr<RaftStoreActor>);

impl Proposer {
    /// Hands proposals over; they are written whether or not the caller waits for the answer.
    pub(super) fn propose(
        &self,
        proposals: Vec<Proposal>,
    ) -> Result<oneshot::Receiver<Result<Committed, ProposeError>>, ClusterError> {
        let (reply, replied) = oneshot::channel();
        match self.0.try_send(Propose { proposals, reply }) {
            Ok(()) => Ok(replied),
            Err(actix::prelude::SendError::Full(_)) => Err(ClusterError::Overloaded),
            Err(actix::prelude::SendError::Closed(_)) => {
                Err(ClusterError::Stopped("it is shutting down".to_owned()))
            }
        }
    }

    /// Takes no more proposals, and waits for those under way.
    pub(super) async fn stop(&self) {
        let (reply, replied) = oneshot::channel();
        if self.0.try_send(Stop { reply }).is_ok() {
            // Without an answer the actor is gone, which is what was wanted.
            let _ = replied.await;
        }
    }
}

/// Who waits for how many outcomes of an entry.
struct Waiter {
    proposals: Vec<Proposal>,
    reply: oneshot::Sender<Result<Committed, ProposeError>>,
}

/// Owns the queue of proposals of one node.
pub(crate) struct RaftStoreActor {
    raft: Raft,
    waiting: VecDeque<Waiter>,
    /// Proposals of all `waiting`.
    proposals_waiting: usize,
    entries_in_flight: usize,
    stopping: Option<oneshot::Sender<()>>,
    watch: DeathWatch,
}

impl RaftStoreActor {
    /// Starts the actor in front of `raft`.
    pub(super) fn start_with(raft: Raft, watch: DeathWatch) -> Proposer {
        let actor = Self {
            raft,
            waiting: VecDeque::new(),
            proposals_waiting: 0,
            entries_in_flight: 0,
            stopping: None,
            watch,
        };
        Proposer(actor.start())
    }

    /// Sends what is waiting, as long as there may be another entry on its way.
    fn pump(&mut self, context: &mut Context<Self>) {
        while self.entries_in_flight < ENTRIES_IN_FLIGHT_MAX && !self.waiting.is_empty() {
            self.send(context);
        }
        if self.entries_in_flight == 0
            && self.waiting.is_empty()
            && let Some(reply) = self.stopping.take()
        {
            self.watch.disarm();
            let _ = reply.send(());
            context.stop();
        }
    }

    /// Makes an entry of the oldest waiters.
    fn send(&mut self, context: &mut Context<Self>) {
        let mut proposals = Vec::new();
        let mut replies = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.waiting.front() {
            let next_bytes: usize = next.proposals.iter().map(Proposal::size_hint).sum();
            let is_full = proposals.len() + next.proposals.len() > BATCH_PROPOSALS_MAX
                || bytes + next_bytes > BATCH_BYTES_MAX;
            if is_full && !replies.is_empty() {
                break;
            }
            let Some(waiter) = self.waiting.pop_front() else {
                break;
            };
            bytes += next_bytes;
            self.proposals_waiting -= waiter.proposals.len();
            replies.push((waiter.proposals.len(), waiter.reply));
            proposals.extend(waiter.proposals);
        }
        self.entries_in_flight += 1;
        let raft = self.raft.clone();
        let write = async move { write(&raft, Command { proposals }).await };
        let sent = write.into_actor(self);
        context.spawn(sent.map(move |written, actor, context| {
            distribute(written, replies);
            actor.entries_in_flight -= 1;
            actor.pump(context);
        }));
    }
}

async fn write(raft: &Raft, command: Command) -> Result<Committed, ClusterError> {
    match raft.client_write(command).await {
        Ok(response) => {
            let Reply(outcomes) = response.data;
            Ok(Committed {
                outcomes,
                log_id: response.log_id,
            })
        }
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
            Err(ClusterError::NotLeader)
        }
        Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) => {
            // Only changes of the membership are answered so.
            Err(ClusterError::Stopped(error.to_string()))
        }
        Err(RaftError::Fatal(error)) => Err(ClusterError::Stopped(error.to_string())),
    }
}

/// Gives each waiter its share of the outcomes.
fn distribute(
    written: Result<Committed, ClusterError>,
    replies: Vec<(usize, oneshot::Sender<Result<Committed, ProposeError>>)>,
) {
    let (mut outcomes, log_id) = match written {
        Ok(committed) => (committed.outcomes.into_iter(), committed.log_id),
        Err(error) => {
            for (_, reply) in replies {
                let _ = reply.send(Err(error.clone().into()));
            }
            return;
        }
    };
    for (count, reply) in replies {
        let share: Vec<Outcome> = outcomes.by_ref().take(count).collect();
        let answer = if share.len() == count {
            Ok(Committed {
                outcomes: share,
                log_id,
            })
        } else {
            Err(ProposeError::Garbled("an outcome is missing".to_owned()))
        };
        // Who has gone does not wait for the answer.
        let _ = reply.send(answer);
    }
}

impl Actor for RaftStoreActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX_CAPACITY);
    }
}

impl Handler<Propose> for RaftStoreActor {
    type Result = ();

    fn handle(&mut self, message: Propose, context: &mut Self::Context) {
        let Propose { proposals, reply } = message;
        let refusal = if self.stopping.is_some() {
            Some(ClusterError::Stopped("it is shutting down".to_owned()))
        } else if self.proposals_waiting + proposals.len() > PROPOSALS_WAITING_MAX {
            Some(ClusterError::Overloaded)
        } else {
            None
        };
        if let Some(error) = refusal {
            let _ = reply.send(Err(error.into()));
            return;
        }
        self.proposals_waiting += proposals.len();
        self.waiting.push_back(Waiter { proposals, reply });
        self.pump(context);
    }
}

impl Handler<Stop> for RaftStoreActor {
    type Result = ();

    fn handle(&mut self, message: Stop, context: &mut Self::Context) {
        self.stopping = Some(message.reply);
        self.pump(context);
    }
}

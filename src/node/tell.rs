//! Messages to actors that carry their own reply.

use std::time::Duration;

use actix::dev::{MessageResponse, ToEnvelope};
use actix::{Actor, Addr, Context, Handler, Message};
use tokio::sync::oneshot;

use super::error::NodeError;

/// Time for an actor to take over a new setting.
const ACTOR_REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// An answer that an actor owes.
pub(super) struct Reply {
    actor: &'static str,
    replied: oneshot::Receiver<()>,
}

impl Reply {
    /// Waits for it.
    pub(super) async fn arrived(self) -> Result<(), NodeError> {
        match tokio::time::timeout(ACTOR_REPLY_TIMEOUT, self.replied).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(NodeError::ActorUnresponsive(self.actor)),
        }
    }
}

/// Sends a message that carries its own reply.
pub(super) fn tell<A, M>(
    actor: &Addr<A>,
    name: &'static str,
    message: impl FnOnce(oneshot::Sender<()>) -> M,
) -> Result<Reply, NodeError>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    A::Context: ToEnvelope<A, M>,
    M: Message + Send + 'static,
    M::Result: Send + MessageResponse<A, M>,
{
    let (reply, replied) = oneshot::channel();
    actor
        .try_send(message(reply))
        .map_err(|_| NodeError::ActorUnresponsive(name))?;
    Ok(Reply {
        actor: name,
        replied,
    })
}

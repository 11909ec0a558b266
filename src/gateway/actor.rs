//! Replaces the store and asks for its status.
//!
//! Calls of the store do not come through here, and never wait for this actor.

use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};

use super::handle::{Gateway, StoreStatus};
use super::messages::{ReplaceStore, Stop};
use crate::base::exit::DeathWatch;
use crate::base::limits::{MAILBOX_CAPACITY, STORE_PROBE_INTERVAL};
use crate::keystore::StoreError;

/// The only writer of a [`Gateway`].
pub(crate) struct GatewayActor {
    gateway: Gateway,
    is_probing: bool,
    watch: DeathWatch,
}

impl GatewayActor {
    /// The actor of `gateway`, which must have no other.
    pub(crate) fn new(gateway: Gateway, watch: DeathWatch) -> Self {
        Self {
            gateway,
            is_probing: false,
            watch,
        }
    }

    /// Asks for the status, unless the answer to an earlier question is still due.
    fn probe(&mut self, context: &mut Context<Self>) {
        if self.is_probing {
            return;
        }
        self.is_probing = true;
        let gateway = self.gateway.clone();
        let probe = async move {
            let current = gateway.current();
            let generation = current.generation();
            (generation, gateway.ask_status(current).await)
        };
        let probe = probe.into_actor(self);
        context.spawn(
            probe.map(|(generation, result), actor: &mut Self, _context| {
                actor.is_probing = false;
                actor.conclude(generation, result);
            }),
        );
    }

    /// Publishes what the probe of the store of `generation` gave.
    fn conclude(&self, generation: u64, result: Result<Duration, StoreError>) {
        if generation != self.gateway.generation() {
            return;
        }
        match (self.gateway.status(), result) {
            (StoreStatus::Online, Err(error)) => {
                tracing::warn!(%error, "keystore is offline");
                self.gateway.publish_status(StoreStatus::Offline);
            }
            (StoreStatus::Offline, Ok(_latency)) => {
                tracing::info!("keystore is online again");
                self.gateway.publish_status(StoreStatus::Online);
            }
            (StoreStatus::Online, Ok(_)) | (StoreStatus::Offline, Err(_)) => {}
        }
    }
}

impl Actor for GatewayActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX_CAPACITY);
        context.run_interval(STORE_PROBE_INTERVAL, |actor, context| actor.probe(context));
    }
}

impl Handler<ReplaceStore> for GatewayActor {
    type Result = ();

    fn handle(&mut self, message: ReplaceStore, _context: &mut Self::Context) {
        self.gateway.replace(message.store);
        // The sender may have given up waiting.
        let _ = message.reply.send(());
    }
}

impl Handler<Stop> for GatewayActor {
    type Result = ();

    fn handle(&mut self, _message: Stop, context: &mut Self::Context) {
        self.watch.disarm();
        context.stop();
    }
}

#[cfg(test)]
mod tests;

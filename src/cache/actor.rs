//! Lets keys go when their time has come.
//!
//! Hits and loads do not come through here, and never wait for this actor. Its own work on the
//! keys, which may be many, is done on the blocking pool.

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, SpawnHandle, WrapFuture,
};

use super::Expiry;
use super::handle::KeyCache;
use super::messages::{Clear, ReplaceExpiry, Stop};
use super::sweep::{Sweep, Timer, decide};
use crate::base::exit::DeathWatch;
use crate::base::limits::{MAILBOX_CAPACITY, STORE_PROBE_INTERVAL};
use crate::gateway::StoreStatus;

/// The timers of a [`KeyCache`].
pub(crate) struct KeyCacheActor {
    cache: KeyCache,
    expiry: Expiry,
    tickers: Vec<SpawnHandle>,
    /// Two sweeps for unused keys at a time would find no key used.
    is_sweeping_unused: bool,
    /// The generation of the store at the last look.
    generation: u64,
    watch: DeathWatch,
}

impl KeyCacheActor {
    /// The actor of `cache`, which must have no other.
    pub(crate) fn new(cache: KeyCache, expiry: Expiry, watch: DeathWatch) -> Self {
        Self {
            generation: cache.gateway().generation(),
            cache,
            expiry,
            tickers: Vec::new(),
            is_sweeping_unused: false,
            watch,
        }
    }

    fn start_tickers(&mut self, context: &mut Context<Self>) {
        for ticker in self.tickers.drain(..) {
            context.cancel_future(ticker);
        }
        for timer in Timer::ALL {
            if let Some(interval) = timer.interval(&self.expiry) {
                let ticker = context.run_interval(interval, move |actor, context| {
                    actor.tick(timer, context);
                });
                self.tickers.push(ticker);
            }
        }
    }

    fn tick(&mut self, timer: Timer, context: &mut Context<Self>) {
        let offline = self.cache.gateway().status() == StoreStatus::Offline;
        match decide(&self.expiry, offline, timer) {
            Sweep::Nothing => {}
            Sweep::All => self.clear(context),
            Sweep::Unused => self.drop_unused(context),
        }
    }

    fn clear(&self, context: &mut Context<Self>) {
        let cache = self.cache.clone();
        let runtime = self.cache.gateway().runtime();
        let work = runtime.spawn_blocking(move || cache.clear());
        context.spawn(work.into_actor(self).map(|_done, _actor, _context| {}));
    }

    fn drop_unused(&mut self, context: &mut Context<Self>) {
        if self.is_sweeping_unused {
            return;
        }
        self.is_sweeping_unused = true;
        let cache = self.cache.clone();
        let runtime = self.cache.gateway().runtime();
        let work = runtime.spawn_blocking(move || cache.drop_unused());
        let work = work.into_actor(self);
        context.spawn(work.map(|_done, actor: &mut Self, _context| {
            actor.is_sweeping_unused = false;
        }));
    }

    /// Keys of a replaced store are not served any more; here their memory is freed.
    fn drop_stale(&mut self, context: &mut Context<Self>) {
        let generation = self.cache.gateway().generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let cache = self.cache.clone();
        let runtime = self.cache.gateway().runtime();
        let work = runtime.spawn_blocking(move || cache.drop_stale());
        context.spawn(work.into_actor(self).map(|_done, _actor, _context| {}));
    }
}

impl Actor for KeyCacheActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX_CAPACITY);
        self.start_tickers(context);
        context.run_interval(STORE_PROBE_INTERVAL, |actor, context| {
            actor.drop_stale(context);
        });
    }
}

impl Handler<ReplaceExpiry> for KeyCacheActor {
    type Result = ();

    fn handle(&mut self, message: ReplaceExpiry, context: &mut Self::Context) {
        self.expiry = message.expiry;
        self.start_tickers(context);
        // Answered before the keys are wiped, which may take long: those of a replaced store are not
        // served any more in any case. The sender may have given up waiting.
        let _ = message.reply.send(());
        self.clear(context);
    }
}

impl Handler<Clear> for KeyCacheActor {
    type Result = ();

    fn handle(&mut self, _message: Clear, context: &mut Self::Context) {
        self.clear(context);
    }
}

impl Handler<Stop> for KeyCacheActor {
    type Result = ();

    fn handle(&mut self, _message: Stop, context: &mut Self::Context) {
        self.watch.disarm();
        context.stop();
    }
}

#[cfg(test)]
mod tests;

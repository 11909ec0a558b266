//! The ingress actor: owns the listening server and the TLS settings.

use std::io;
use std::net::TcpListener;

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, WrapFuture};
use actix_server::{Server, ServerHandle};

use super::listener::server;
use super::messages::{Drain, ReplaceTls};
use super::tls::TlsState;
use crate::api::Api;
use crate::base::exit::DeathWatch;
use crate::base::limits::MAILBOX_CAPACITY;
use crate::base::snapshot::Published;

/// The one writer of the TLS settings.
pub(crate) struct IngressActor {
    server: Option<Server>,
    handle: ServerHandle,
    tls: Published<TlsState>,
    is_draining: bool,
    watch: DeathWatch,
}

impl IngressActor {
    /// Starts serving on a bound socket.
    ///
    /// # Errors
    ///
    /// The system's, if the socket cannot be used.
    pub(crate) fn start_with(
        listener: TcpListener,
        workers: usize,
        api: Api,
        tls: TlsState,
        watch: DeathWatch,
    ) -> io::Result<Addr<Self>> {
        let tls = Published::new(tls);
        let server = server(listener, workers, api, tls.clone())?;
        let handle = server.handle();
        Ok(Self {
            server: Some(server),
            handle,
            tls,
            is_draining: false,
            watch,
        }
        .start())
    }
}

impl Actor for IngressActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX_CAPACITY);
        if let Some(server) = self.server.take() {
            context.spawn(server.into_actor(self).map(|result, actor, context| {
                if !actor.is_draining {
                    tracing::error!(result = ?result, "the listening server has ended");
                    actix::ActorContext::stop(context);
                }
            }));
        }
    }
}

impl Handler<ReplaceTls> for IngressActor {
    type Result = ();

    fn handle(&mut self, message: ReplaceTls, _: &mut Self::Context) {
        self.tls.publish(message.tls);
        // Nobody waits any more: the settings hold all the same.
        let _ = message.reply.send(());
    }
}

impl Handler<Drain> for IngressActor {
    type Result = ();

    fn handle(&mut self, message: Drain, context: &mut Self::Context) {
        self.is_draining = true;
        self.watch.disarm();
        let stopped = self.handle.stop(true);
        context.spawn(stopped.into_actor(self).map(|(), _, _| {
            let _ = message.reply.send(());
        }));
    }
}

//! Takes connections to the cluster port, and lets in those whose handshake proves a node of the
//! cluster.
//!
//! Strangers can open as many connections as they like: they take none of the places of nodes, keep no
//! node from its handshake, and write little into the log.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::stream::NodeStream;
use super::tls::{ClusterTls, PeerError, handshake_failure, speaks_h2};
use crate::base::limits::{CLUSTER_CONNECTIONS_MAX, CLUSTER_HANDSHAKES_MAX, TLS_HANDSHAKE_TIMEOUT};

/// Pause after the system could give no connection, most likely for want of a file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often refused connections are told of: a stranger must not fill the log.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// Why a connection was not let in.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the handshake took too long")]
    Late,
    #[error("the handshake failed: {reason}", reason = handshake_failure(.0))]
    Handshake(io::Error),
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("the peer does not speak HTTP/2")]
    OtherProtocol,
    #[error("there are too many connections")]
    TooMany,
}

/// Yields the connections of other nodes.
pub(super) struct Acceptor {
    listener: TcpListener,
    parts: Parts,
    handshakes: JoinSet<(SocketAddr, Result<NodeStream, Refused>)>,
    /// The handshakes, oldest first, some of which may be done.
    order: VecDeque<AbortHandle>,
    told_at: Option<Instant>,
    untold: usize,
}

/// What a handshake needs.
#[derive(Clone)]
struct Parts {
    tls: ClusterTls,
    places: Arc<Semaphore>,
    is_cut: watch::Receiver<bool>,
}

impl Acceptor {
    pub(super) fn new(
        listener: TcpListener,
        tls: ClusterTls,
        is_cut: watch::Receiver<bool>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(CLUSTER_CONNECTIONS_MAX));
        Self {
            listener,
            parts: Parts {
                tls,
                places,
                is_cut,
            },
            handshakes: JoinSet::new(),
            order: VecDeque::new(),
            told_at: None,
            untold: 0,
        }
    }

    /// The connections as tonic wants them. It never ends.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<NodeStream, Infallible>> {
        futures_util::stream::unfold(self, |mut acceptor| async move {
            let stream = acceptor.next().await;
            Some((Ok(stream), acceptor))
        })
    }

    async fn next(&mut self) -> NodeStream {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((tcp, address)) => self.begin(tcp, address),
                    Err(error) => {
                        tracing::warn!("failed to accept a connection of a node: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(done) = self.handshakes.join_next() => match done {
                    Ok((_, Ok(stream))) => return stream,
                    Ok((address, Err(refused))) => self.tell(address, &refused),
                    // Cut because too many others came.
                    Err(_cut) => {}
                },
            }
        }
    }

    /// Begins a handshake. If there are too many the oldest must go.
    fn begin(&mut self, tcp: TcpStream, address: SocketAddr) {
        self.order.retain(|handshake| !handshake.is_finished());
        if self.order.len() >= CLUSTER_HANDSHAKES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        let parts = self.parts.clone();
        let handshake = async move { (address, parts.shake_hands(tcp).await) };
        self.order.push_back(self.handshakes.spawn(handshake));
    }

    fn tell(&mut self, address: SocketAddr, refused: &Refused) {
        let now = Instant::now();
        let is_due = self
            .told_at
            .is_none_or(|told_at| now - told_at >= TELL_INTERVAL);
        if !is_due {
            self.untold += 1;
            return;
        }
        let untold = std::mem::take(&mut self.untold);
        self.told_at = Some(now);
        tracing::warn!(%address, untold, "refused a connection to the cluster port: {refused}");
    }
}

impl Parts {
    async fn shake_hands(self, tcp: TcpStream) -> Result<NodeStream, Refused> {
        // Messages are small, and each is waited for.
        tcp.set_nodelay(true).map_err(Refused::Handshake)?;
        let accepting = TlsAcceptor::from(self.tls.server_config()).accept(tcp);
        let stream = match tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, accepting).await {
            Ok(accepted) => accepted.map_err(Refused::Handshake)?,
            Err(_elapsed) => return Err(Refused::Late),
        };
        let connection = stream.get_ref().1;
        if !speaks_h2(connection) {
            return Err(Refused::OtherProtocol);
        }
        let peer = self.tls.peer_of(connection, false)?;
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Refused::TooMany)?;
        Ok(NodeStream::new(stream, peer, place, self.is_cut))
    }
}

//! Opens a connection to a node: TCP, TLS in which both prove who they are, HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::DialMap;
use crate::base::limits::{
    CLUSTER_CONNECT_TIMEOUT, CLUSTER_CONNECTION_WINDOW_BYTES, CLUSTER_HEADER_LIST_BYTES_MAX,
    CLUSTER_PING_INTERVAL, CLUSTER_PING_TIMEOUT, CLUSTER_STREAM_WINDOW_BYTES,
};
use crate::raft::transport::tls::{
    ClusterTls, Peer, PeerError, TlsError, handshake_failure, no_server_name, speaks_h2,
};
use crate::storage::NodeId;

/// The authority of the requests. It means nothing: nodes are known by their certificates.
const ORIGIN: &str = "http://kes-node";

/// Calls that wait for their turn on a connection.
const BUFFERED_CALLS: usize = 256;

/// There is no connection to a node.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("failed to connect to {0}: {1}")]
    Tcp(String, #[source] io::Error),
    #[error("failed to shake hands with {0}: {reason}", reason = handshake_failure(.1))]
    Handshake(String, io::Error),
    #[error("no connection to {0} within {CLUSTER_CONNECT_TIMEOUT:?}")]
    Late(String),
    #[error("{0} does not speak HTTP/2")]
    OtherProtocol(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("failed to begin HTTP/2: {0}")]
    Http2(#[from] tonic::transport::Error),
    #[error("the attempt to connect was given up")]
    GivenUp,
}

/// Where to connect, and whom to expect there.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) tls: ClusterTls,
    pub(super) map: Arc<dyn DialMap>,
    /// `None`: any node of the cluster.
    pub(super) expected: Option<NodeId>,
    pub(super) address: String,
}

/// An open connection. Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) channel: Channel,
    /// Who is at the other end.
    pub(super) peer: Peer,
    is_open: Arc<AtomicBool>,
    /// Which state of the TLS settings it is of.
    generation: u64,
}

impl Connection {
    /// Whether it has neither broken nor gone out of date.
    pub(super) fn is_current(&self, tls: &ClusterTls) -> bool {
        self.is_open.load(Ordering::Acquire) && self.generation == tls.generation()
    }
}

impl Route {
    /// Opens a connection, within [`CLUSTER_CONNECT_TIMEOUT`].
    pub(super) async fn open(&self) -> Result<Connection, DialError> {
        let address = self.map.route(&self.address);
        match tokio::time::timeout(CLUSTER_CONNECT_TIMEOUT, self.open_at(&address)).await {
            Ok(opened) => opened,
            Err(_elapsed) => Err(DialError::Late(address)),
        }
    }

    async fn open_at(&self, address: &str) -> Result<Connection, DialError> {
        let failed = |error| DialError::Tcp(address.to_owned(), error);
        let tcp = TcpStream::connect(address).await.map_err(failed)?;
        // Messages are small, and each is waited for.
        tcp.set_nodelay(true).map_err(failed)?;
        let (config, generation) = self.tls.client_config(self.expected)?;
        let stream = TlsConnector::from(config)
            .connect(no_server_name(), tcp)
            .await
            .map_err(|error| DialError::Handshake(address.to_owned(), error))?;
        let connection = stream.get_ref().1;
        if !speaks_h2(connection) {
            return Err(DialError::OtherProtocol(address.to_owned()));
        }
        let peer = self.tls.peer_of(connection, true)?;
        let is_open = Arc::new(AtomicBool::new(true));
        let stream = DialedStream {
            tls: stream,
            is_open: Arc::clone(&is_open),
        };
        Ok(Connection {
            channel: channel_over(stream).await?,
            peer,
            is_open,
            generation,
        })
    }
}

/// A channel over this one connection: it is never opened anew, so that nobody but [`Route::open`]
/// decides when, and to whom.
async fn channel_over(stream: DialedStream) -> Result<Channel, tonic::transport::Error> {
    let mut stream = Some(TokioIo::new(stream));
    let once = tower::service_fn(move |_: http::Uri| {
        let stream = stream.take();
        std::future::ready(stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
    });
    Endpoint::from_static(ORIGIN)
        .buffer_size(BUFFERED_CALLS)
        .initial_stream_window_size(CLUSTER_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CLUSTER_CONNECTION_WINDOW_BYTES)
        .http2_max_header_list_size(CLUSTER_HEADER_LIST_BYTES_MAX)
        .http2_keep_alive_interval(CLUSTER_PING_INTERVAL)
        .keep_alive_timeout(CLUSTER_PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(once)
        .await
}

/// The bytes of a connection; tells when it is closed.
struct DialedStream {
    tls: TlsStream<TcpStream>,
    is_open: Arc<AtomicBool>,
}

impl Drop for DialedStream {
    fn drop(&mut self) {
        self.is_open.store(false, Ordering::Release);
    }
}

impl AsyncRead for DialedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(context, buffer)
    }
}

impl AsyncWrite for DialedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(context)
    }
}

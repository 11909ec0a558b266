//! A connection of another node, after its handshake.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::tls::Peer;

/// Tells that connections are to end.
type Cut = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection, and who is at its other end.
pub(super) struct NodeStream {
    tls: TlsStream<TcpStream>,
    peer: Peer,
    /// `None` once it is cut.
    cut: Option<Cut>,
    /// One of the connections that there may be.
    _place: OwnedSemaphorePermit,
}

impl NodeStream {
    /// A connection that breaks as soon as `is_cut` says so, or its sender is gone.
    pub(super) fn new(
        tls: TlsStream<TcpStream>,
        peer: Peer,
        place: OwnedSemaphorePermit,
        mut is_cut: watch::Receiver<bool>,
    ) -> Self {
        let cut: Cut = Box::pin(async move {
            let _ = is_cut.wait_for(|is_cut| *is_cut).await;
        });
        Self {
            tls,
            peer,
            cut: Some(cut),
            _place: place,
        }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(cut) = &mut self.cut {
            if cut.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            self.cut = None;
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl Connected for NodeStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for NodeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.tls).poll_read(context, buffer)
    }
}

impl AsyncWrite for NodeStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.tls).poll_shutdown(context)
    }
}

//! A TLS stream with what the handshake told about the peer, and the time-outs that the HTTP
//! libraries do not have: a peer that takes no answer, and a peer that begins a request head and
//! does not end it, lose the connection.
//!
//! Hot path: a timer is made only when there is something to wait for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tokio_rustls::server::TlsStream;

use super::exchange::Connection;
use crate::base::limits::{REQUEST_HEAD_TIMEOUT, WRITE_STALL_TIMEOUT};

/// A connection, with what the handshake told about it.
pub(super) struct IdentifiedStream {
    stream: TlsStream<TcpStream>,
    pub(super) connection: Rc<Connection>,
    /// Runs while the peer takes nothing of what we write.
    write_stall: Option<Pin<Box<Sleep>>>,
    /// When the first bytes after the last request came, as long as they make no request.
    head_began: Option<Instant>,
    head_timer: Option<Pin<Box<Sleep>>>,
    /// Whether slow heads are watched here: HTTP/1.1 only.
    watches_heads: bool,
}

impl IdentifiedStream {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        connection: Rc<Connection>,
        watches_heads: bool,
    ) -> Self {
        Self {
            stream,
            connection,
            write_stall: None,
            head_began: None,
            head_timer: None,
            watches_heads,
        }
    }

    /// Passes the result of a write on, unless nothing could be written for too long.
    fn watch_write<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_stall = None;
            return written;
        }
        let timer = self
            .write_stall
            .get_or_insert_with(|| Box::pin(sleep(WRITE_STALL_TIMEOUT)));
        match timer.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Notes bytes that came while no request was active: they begin a head.
    fn note_read(&mut self) {
        if self.watches_heads && !self.connection.is_active() && self.head_began.is_none() {
            self.head_began = Some(Instant::now());
        }
    }

    /// Whether a head has been coming for too long. Asked only when there is nothing to read.
    fn head_is_overdue(&mut self, context: &mut Context<'_>) -> bool {
        let Some(began) = self.head_began else {
            return false;
        };
        if self.connection.is_active() || self.connection.last_request() >= Some(began) {
            (self.head_began, self.head_timer) = (None, None);
            return false;
        }
        let left = REQUEST_HEAD_TIMEOUT.saturating_sub(began.elapsed());
        let timer = self
            .head_timer
            .get_or_insert_with(|| Box::pin(sleep(left.max(Duration::from_millis(1)))));
        timer.as_mut().poll(context).is_ready()
    }
}

impl AsyncRead for IdentifiedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.note_read();
        } else if read.is_pending() && self.head_is_overdue(context) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for IdentifiedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch_write(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch_write(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch_write(shut, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.watch_write(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

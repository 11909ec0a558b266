//! Listening: binds the address, and on every worker thread makes TLS of what is accepted.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_server::Server;
use actix_service::{Service, ServiceFactory};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::body::BodyMemory;
use super::connection::peer;
use super::exchange::{Connection, Exchange};
use super::stream::IdentifiedStream;
use super::tls::TlsState;
use super::{http1, http2};
use crate::api::Api;
use crate::api::deadline::within;
use crate::base::limits::{
    CONNECTIONS_PER_WORKER_MAX, KEEP_ALIVE, SHUTDOWN_GRACE, TLS_HANDSHAKE_TIMEOUT,
};
use crate::base::snapshot::Published;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 2048;

/// Binds `address`. An unspecified IPv6 address takes IPv4 connections too.
///
/// # Errors
///
/// The system's, if the address cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Prepares the server over a bound socket. It runs when it is polled, on `workers` threads of its own.
pub(super) fn server(
    listener: TcpListener,
    workers: usize,
    api: Api,
    tls: Published<TlsState>,
) -> io::Result<Server> {
    let memory = BodyMemory::new();
    let server = Server::build()
        .workers(workers)
        .max_concurrent_connections(CONNECTIONS_PER_WORKER_MAX)
        .shutdown_timeout(SHUTDOWN_GRACE.as_secs())
        .disable_signals()
        .listen("kes", listener, move || WorkerFactory {
            exchange: Exchange {
                api: api.clone(),
                tls: tls.clone(),
                memory: memory.clone(),
            },
        })?
        .run();
    Ok(server)
}

/// Makes the service of one worker thread.
struct WorkerFactory {
    exchange: Exchange,
}

/// One worker thread's service: a TCP connection in, nothing out.
struct Worker {
    shared: Rc<WorkerShared>,
}

struct WorkerShared {
    exchange: Rc<Exchange>,
    http1: http1::Connections,
}

pub(super) type LocalFuture<T> = Pin<Box<dyn Future<Output = T>>>;

impl ServiceFactory<TcpStream> for WorkerFactory {
    type Response = ();
    type Error = ();
    type Config = ();
    type Service = Worker;
    type InitError = ();
    type Future = LocalFuture<Result<Worker, ()>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let http1 = http1::Connections::new(self.exchange.clone());
        let exchange = Rc::new(self.exchange.clone());
        Box::pin(async move {
            let http1 = http1.await?;
            Ok(Worker {
                shared: Rc::new(WorkerShared { exchange, http1 }),
            })
        })
    }
}

impl Service<TcpStream> for Worker {
    type Response = ();
    type Error = ();
    type Future = LocalFuture<Result<(), ()>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, stream: TcpStream) -> Self::Future {
        let shared = Rc::clone(&self.shared);
        Box::pin(async move {
            serve_connection(shared, stream).await;
            Ok(())
        })
    }
}

async fn serve_connection(shared: Rc<WorkerShared>, stream: TcpStream) {
    configure(&stream);
    let address = stream.peer_addr().ok();
    let tls = shared.exchange.tls.load_full();
    let Some(stream) = handshake(&tls, stream, address).await else {
        return;
    };
    let (_, session) = stream.get_ref();
    let certificates = session.peer_certificates().unwrap_or_default();
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let connection = Rc::new(Connection::new(peer(address, certificates)));
    let stream = IdentifiedStream::new(stream, Rc::clone(&connection), !is_http2);
    if is_http2 {
        http2::serve(Rc::clone(&shared.exchange), connection, stream).await;
    } else {
        shared.http1.serve(stream, address).await;
    }
}

/// Answers leave at once, and peers that vanished are noticed.
fn configure(stream: &TcpStream) {
    // Both are a matter of speed and tidiness: a socket that refuses them still works.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEP_ALIVE));
}

async fn handshake(
    tls: &TlsState,
    stream: TcpStream,
    address: Option<SocketAddr>,
) -> Option<TlsStream<TcpStream>> {
    let accept = TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream);
    let accepted = within(TLS_HANDSHAKE_TIMEOUT, accept);
    let reason = match accepted.await {
        Some(Ok(stream)) => return Some(stream),
        Some(Err(error)) => handshake_error(&error),
        None => "i/o timeout".to_owned(),
    };
    let from = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    tracing::info!("http: TLS handshake error from {from}: {reason}");
    None
}

/// What went wrong in a handshake, in the words operators know.
fn handshake_error(error: &io::Error) -> String {
    let tls_error = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls_error {
        Some(rustls::Error::NoCertificatesPresented) => {
            "tls: client didn't provide a certificate".to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => format!("remote error: tls: {alert:?}"),
        Some(error) => format!("tls: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => crate::base::os_error::reason(error),
    }
}

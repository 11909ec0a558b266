//! HTTP/1.1, by actix-web.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use actix_http::{Extensions, HttpService, Protocol};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, fn_service, map_config};
use actix_web::dev::{AppConfig, Payload, ServiceRequest, ServiceResponse};
use actix_web::http::KeepAlive;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use actix_web::{App, HttpRequest, HttpResponse};
use bytes::Bytes;
use futures_util::StreamExt;

use super::body::{BodySource, Broken};
use super::exchange::{Answer, Connection, Exchange};
use super::listener::LocalFuture;
use super::proxy::Headers;
use super::stream::IdentifiedStream;
use crate::api::{ReplyBody, RequestHead};
use crate::base::limits::{KEEP_ALIVE, REQUEST_HEAD_TIMEOUT, SHUTDOWN_GRACE};

/// A connection, with what the handshake told about it.
pub(super) type Stream = IdentifiedStream;

/// Serves HTTP/1.1 connections; hides the type of the actix-web service.
pub(super) struct Connections(Box<ServeConnection>);

type ServeConnection = dyn Fn(Stream, Option<SocketAddr>) -> LocalFuture<()>;

impl Connections {
    /// The HTTP/1.1 side of a worker thread: an actix-web application with one service for all
    /// paths, because the API routes by its own table.
    pub(super) fn new(exchange: Exchange) -> LocalFuture<Result<Self, ()>> {
        let exchange = Rc::new(exchange);
        let app = App::new().default_service(fn_service(move |request: ServiceRequest| {
            let exchange = Rc::clone(&exchange);
            async move {
                let (request, payload) = request.into_parts();
                let response = answer(&exchange, &request, payload).await;
                Ok(ServiceResponse::new(request, response))
            }
        }));
        let service = HttpService::build()
            .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
            .client_request_timeout(REQUEST_HEAD_TIMEOUT)
            .client_disconnect_timeout(SHUTDOWN_GRACE)
            .h1_allow_half_closed(false)
            .on_connect_ext(|stream: &Stream, extensions: &mut Extensions| {
                extensions.insert(Rc::clone(&stream.connection));
            })
            .finish(map_config(app.into_factory(), |()| AppConfig::default()))
            .new_service(());
        Box::pin(async move {
            let service = service.await?;
            Ok(Self(Box::new(move |stream, address| {
                let served = service.call((stream, Protocol::Http1, address));
                Box::pin(async move {
                    // How a connection ends is the client's affair.
                    let _ = served.await;
                })
            })))
        })
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(&self, stream: Stream, address: Option<SocketAddr>) {
        let connection = Rc::clone(&stream.connection);
        tokio::select! {
            biased;
            () = (self.0)(stream, address) => {}
            // actix-web would wait for the rest of a chunked body without an end.
            () = after_last_answer(&connection) => {}
        }
    }
}

/// Waits until the connection has given its last answer, and the client had time to read it.
async fn after_last_answer(connection: &Connection) {
    connection.ending.notified().await;
    tokio::time::sleep(SHUTDOWN_GRACE).await;
}

async fn answer(exchange: &Exchange, request: &HttpRequest, payload: Payload) -> HttpResponse {
    let Some(connection) = request.conn_data::<Rc<Connection>>() else {
        // Every connection gets its data before its first request.
        return HttpResponse::InternalServerError().force_close().finish();
    };
    let head = RequestHead {
        method: request.method().as_str(),
        path: request.uri().path(),
        query: request.uri().query(),
        body_bytes: declared_length(request, &payload),
        received: Instant::now(),
    };
    let mut body = Http1Body(payload);
    let answer = exchange.answer(connection, head, request, &mut body).await;
    if !answer.body_is_finished {
        connection.ending.notify_one();
    }
    to_response(answer, exchange.api.draining.has_begun())
}

/// The body's length as the head declares it; `None` if it is chunked.
fn declared_length(request: &HttpRequest, payload: &Payload) -> Option<u64> {
    if request.headers().contains_key(TRANSFER_ENCODING) {
        return None;
    }
    match request.headers().get(CONTENT_LENGTH) {
        Some(length) => length.to_str().ok()?.trim().parse().ok(),
        None if matches!(payload, Payload::None) => Some(0),
        None => Some(0),
    }
}

fn to_response(answer: Answer, is_draining: bool) -> HttpResponse {
    let reply = answer.reply;
    let status = actix_web::http::StatusCode::from_u16(reply.status)
        .unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if reply.close || is_draining || !answer.body_is_finished {
        response.force_close();
    }
    if let Some(content_type) = reply.content_type {
        let value = actix_web::http::header::HeaderValue::from_static(content_type);
        response.insert_header((CONTENT_TYPE, value));
    }
    for (name, value) in reply.headers {
        response.insert_header((name, value));
    }
    match reply.body {
        ReplyBody::Empty => response.finish(),
        ReplyBody::Bytes(bytes) => response.body(bytes),
        // An error ends the connection without the last chunk.
        ReplyBody::Stream(stream) => response.streaming(stream),
    }
}

struct Http1Body(Payload);

impl BodySource for Http1Body {
    async fn next_chunk(&mut self) -> Option<Result<Bytes, Broken>> {
        match self.0.next().await? {
            Ok(chunk) => Some(Ok(chunk)),
            Err(_) => Some(Err(Broken)),
        }
    }
}

impl Headers for HttpRequest {
    fn values(&self, name: &str) -> [Option<&[u8]>; 2] {
        let mut values = self.headers().get_all(name).map(|value| value.as_bytes());
        [values.next(), values.next()]
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::api::{CutOff, Reply, StreamBody};

    /// What a client gets of an answer with these pieces, as bytes.
    async fn received(pieces: Vec<Result<Bytes, CutOff>>) -> String {
        let service = HttpService::build().finish(fn_service(move |_request| {
            let body = StreamBody::new(stream::iter(pieces.clone()));
            let reply = Reply {
                body: ReplyBody::Stream(body),
                ..Reply::empty()
            };
            let answer = Answer {
                reply,
                body_is_finished: true,
            };
            let response = to_response(answer, true);
            std::future::ready(Ok::<_, actix_web::Error>(response))
        }));
        let service = service.new_service(()).await.expect("a service");
        let (mut client, server) = duplex(1 << 16);
        let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        client.write_all(request).await.expect("written");
        let mut text = String::new();
        let served = service.call((server, Protocol::Http1, None));
        let (_, read) = tokio::join!(served, client.read_to_string(&mut text));
        read.expect("an answer");
        text
    }

    #[tokio::test]
    async fn a_stream_that_is_cut_off_has_no_end() {
        let part = || Ok(Bytes::from_static(b"part"));
        let local = tokio::task::LocalSet::new();
        let whole = local.run_until(received(vec![part(), part()])).await;
        assert!(whole.ends_with("4\r\npart\r\n0\r\n\r\n"), "{whole}");
        let pieces = vec![part(), part(), Err(CutOff)];
        let cut = local.run_until(received(pieces)).await;
        // Where nothing was sent yet there is not even a head.
        assert!(!cut.contains("\r\n0\r\n"), "{cut}");
    }
}

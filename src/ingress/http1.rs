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

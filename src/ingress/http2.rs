//! HTTP/2, by h2 directly: the HTTP/2 of actix-web builds on h2 0.3, which has a known hole
//! (RUSTSEC-2026-0258) and neither caps streams nor says goodbye. See the ADR on HTTP/2.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use h2::server::{Connection as H2Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tokio::time::{sleep_until, timeout};

use super::body::{BodySource, Broken};
use super::exchange::{Answer, Connection, Exchange};
use super::proxy::Headers;
use super::stream::IdentifiedStream;
use crate::api::deadline::within;
use crate::api::{CutOff, ReplyBody, RequestHead, StreamBody};
use crate::base::limits::{
    BODY_BYTES_MAX, H2_EMPTY_FRAMES_MAX, H2_HEADER_LIST_BYTES_MAX, H2_SEND_BUFFER_BYTES_MAX,
    H2_STREAMS_MAX, KEEP_ALIVE, REQUEST_BODY_TIMEOUT, REQUEST_HEAD_TIMEOUT, WRITE_STALL_TIMEOUT,
};

/// Bytes of one body that a client may send ahead.
const STREAM_WINDOW: u32 = 256 << 10;

/// Bytes of all bodies of a connection that a client may send ahead.
const CONNECTION_WINDOW: u32 = 2 << 20;

/// Reset streams that are remembered or waited for; a client that makes more is cut off.
const RESET_STREAMS_MAX: usize = 32;

/// Serves a connection until the client, an idle time-out or the node's shutdown ends it.
pub(super) async fn serve(
    exchange: Rc<Exchange>,
    connection: Rc<Connection>,
    stream: IdentifiedStream,
) {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(H2_HEADER_LIST_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(H2_SEND_BUFFER_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(Some(RESET_STREAMS_MAX));
    let Ok(Ok(h2)) = timeout(REQUEST_HEAD_TIMEOUT, builder.handshake(stream)).await else {
        return;
    };
    let activity = Rc::new(Activity::new());
    accept_requests(h2, &exchange, &connection, &activity).await;
}

async fn accept_requests(
    mut h2: H2Connection<IdentifiedStream, Bytes>,
    exchange: &Rc<Exchange>,
    connection: &Rc<Connection>,
    activity: &Rc<Activity>,
) {
    // Made once: a request arms no timer and takes no lock here.
    let mut draining = pin!(exchange.api.draining.clone().begun());
    let mut idle = pin!(activity.quiet_for(KEEP_ALIVE));
    loop {
        tokio::select! {
            accepted = h2.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    start(exchange, connection, activity, request, respond);
                }
                Some(Err(_)) | None => return,
            },
            () = &mut draining => break,
            () = &mut idle => break,
        }
    }
    h2.graceful_shutdown();
    activity.touch();
    loop {
        tokio::select! {
            accepted = h2.accept() => match accepted {
                // Sent before the client read our goodbye.
                Some(Ok((request, respond))) => {
                    start(exchange, connection, activity, request, respond);
                }
                Some(Err(_)) | None => return,
            },
            () = activity.quiet_for(WRITE_STALL_TIMEOUT) => return,
        }
    }
}

/// Starts answering a request, unless as many are under way as a connection may have. The library
/// counts a stream that was reset as gone, although its request may still be worked on.
fn start(
    exchange: &Rc<Exchange>,
    connection: &Rc<Connection>,
    activity: &Rc<Activity>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    if activity.streams.get() >= H2_STREAMS_MAX as usize {
        respond.send_reset(Reason::REFUSED_STREAM);
        return;
    }
    let exchange = Rc::clone(exchange);
    let connection = Rc::clone(connection);
    let active = ActiveStream::start(activity);
    tokio::task::spawn_local(async move {
        answer(&exchange, &connection, request, respond).await;
        drop(active);
    });
}

/// How many streams of a connection are active, and since when there is none.
struct Activity {
    streams: Cell<usize>,
    quiet_since: Cell<Instant>,
}

impl Activity {
    fn new() -> Self {
        Self {
            streams: Cell::new(0),
            quiet_since: Cell::new(Instant::now()),
        }
    }

    /// Lets the quiet time begin anew.
    fn touch(&self) {
        self.quiet_since.set(Instant::now());
    }

    /// Waits until there has been no active stream for `limit`.
    async fn quiet_for(&self, limit: Duration) {
        loop {
            let now = Instant::now();
            let since = match self.streams.get() {
                0 => self.quiet_since.get(),
                _ => now,
            };
            let due = since + limit;
            if due <= now {
                return;
            }
            sleep_until(due.into()).await;
        }
    }
}

struct ActiveStream(Rc<Activity>);

impl ActiveStream {
    fn start(activity: &Rc<Activity>) -> Self {
        activity.streams.set(activity.streams.get() + 1);
        Self(Rc::clone(activity))
    }
}

impl Drop for ActiveStream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.touch();
    }
}

async fn answer(
    exchange: &Exchange,
    connection: &Connection,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let received = Instant::now();
    let (parts, body) = request.into_parts();
    let head = RequestHead {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query(),
        body_bytes: declared_length(&parts.headers, &body),
        received,
    };
    let mut body = Http2Body {
        stream: body,
        empty_frames: 0,
    };
    let answer = tokio::select! {
        biased;
        answer = exchange.answer(connection, head, &parts.headers, &mut body) => answer,
        // The client has reset the stream: nobody waits for the answer. A change that has begun goes
        // on in a task of its own.
        _ = poll_fn(|context| respond.poll_reset(context)) => return,
    };
    let is_head = parts.method == Method::HEAD;
    // Where the client is still sending, h2 tells it to stop once the answer is out and all handles
    // of the stream are gone. A reset by hand would overtake the answer.
    drop(body);
    send(answer, is_head, &mut respond).await;
}

/// The body's length as the head declares it; `None` if it is not known.
fn declared_length(headers: &HeaderMap, body: &RecvStream) -> Option<u64> {
    if body.is_end_stream() {
        return Some(0);
    }
    headers
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

async fn send(answer: Answer, is_head: bool, respond: &mut SendResponse<Bytes>) {
    let reply = answer.reply;
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(content_type) = reply.content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    for (name, value) in reply.headers {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
    headers.insert(DATE, super::date::header_value());
    match reply.body {
        ReplyBody::Empty => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            let _ = respond.send_response(response, true);
        }
        ReplyBody::Bytes(bytes) => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            let is_end = is_head || bytes.is_empty();
            // A failure means that the client has reset the stream: nobody waits for the answer.
            let Ok(mut stream) = respond.send_response(response, is_end) else {
                return;
            };
            if !is_end {
                send_bytes(&mut stream, bytes).await;
            }
        }
        ReplyBody::Stream(body) => {
            let Ok(mut stream) = respond.send_response(response, false) else {
                return;
            };
            send_stream(&mut stream, body).await;
        }
    }
}

/// Sends a whole body at the client's pace, for a limited time, so that a client that opens no
/// window holds no memory. Where the window is open, nothing is waited for.
async fn send_bytes(stream: &mut SendStream<Bytes>, bytes: Bytes) {
    if within(REQUEST_BODY_TIMEOUT, send_paced(stream, bytes, true))
        .await
        .is_none()
    {
        stream.send_reset(Reason::CANCEL);
    }
}

/// Sends `bytes` as the window allows; false if the client is gone.
async fn send_paced(stream: &mut SendStream<Bytes>, mut bytes: Bytes, is_last: bool) -> bool {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let capacity = poll_fn(|context| stream.poll_capacity(context)).await;
        let Some(Ok(capacity)) = capacity else {
            return false;
        };
        let chunk = bytes.split_to(capacity.min(bytes.len()));
        let is_end = is_last && bytes.is_empty();
        if stream.send_data(chunk, is_end).is_err() {
            return false;
        }
    }
    true
}

/// Sends chunks until their end, or until the client goes. A stream that is cut off is reset.
async fn send_stream(stream: &mut SendStream<Bytes>, mut body: StreamBody) {
    loop {
        let chunk = tokio::select! {
            chunk = body.next() => chunk,
            _ = poll_fn(|context| stream.poll_reset(context)) => return,
        };
        match chunk {
            Some(Ok(chunk)) => {
                if !send_paced(stream, chunk, false).await {
                    return;
                }
            }
            Some(Err(CutOff)) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return;
            }
            None => {
                let _ = stream.send_data(Bytes::new(), true);
                return;
            }
        }
    }
}

struct Http2Body {
    stream: RecvStream,
    empty_frames: usize,
}

impl BodySource for Http2Body {
    async fn next_chunk(&mut self) -> Option<Result<Bytes, Broken>> {
        let Ok(chunk) = self.stream.data().await? else {
            return Some(Err(Broken));
        };
        if chunk.is_empty() {
            self.empty_frames += 1;
            if self.empty_frames > H2_EMPTY_FRAMES_MAX {
                return Some(Err(Broken));
            }
        }
        // Fails only if the stream is gone, which the next call tells.
        let _ = self.stream.flow_control().release_capacity(chunk.len());
        Some(Ok(chunk))
    }
}

impl Headers for HeaderMap {
    fn values(&self, name: &str) -> [Option<&[u8]>; 2] {
        let mut values = self.get_all(name).iter().map(HeaderValue::as_bytes);
        [values.next(), values.next()]
    }
}

/// Bodies up to the API's limit must fit into a connection's window.
const _: () = assert!(CONNECTION_WINDOW as usize >= BODY_BYTES_MAX);

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::io::duplex;

    use super::*;
    use crate::api::Reply;

    /// What a client gets of an answer with these pieces, and how it ends.
    async fn received(pieces: Vec<Result<Bytes, CutOff>>) -> (Vec<u8>, Option<Reason>) {
        let (client, server) = duplex(1 << 16);
        let served = async move {
            let mut connection = h2::server::handshake(server).await.expect("a handshake");
            let accepted = connection.accept().await.expect("a request");
            let mut respond = accepted.expect("a stream").1;
            let reply = Reply {
                body: ReplyBody::Stream(StreamBody::new(stream::iter(pieces))),
                ..Reply::empty()
            };
            let answer = Answer {
                reply,
                body_is_finished: true,
            };
            send(answer, false, &mut respond).await;
            while connection.accept().await.is_some() {}
        };
        let received = async move {
            let (mut send, connection) = h2::client::handshake(client).await.expect("HTTP/2");
            drop(tokio::spawn(connection));
            let (answer, _) = send.send_request(Request::new(()), true).expect("a stream");
            let mut content = Vec::new();
            let mut body = match answer.await {
                Ok(answer) => answer.into_body(),
                // The reset may overtake what was sent before.
                Err(error) => return (content, error.reason()),
            };
            while let Some(chunk) = body.data().await {
                match chunk {
                    Ok(chunk) => content.extend_from_slice(&chunk),
                    Err(error) => return (content, error.reason()),
                }
            }
            (content, None)
        };
        tokio::select! {
            received = received => received,
            () = served => panic!("the connection ended"),
        }
    }

    #[tokio::test]
    async fn a_stream_that_is_cut_off_is_reset() {
        let part = || Ok(Bytes::from_static(b"part"));
        let (whole, end) = received(vec![part(), part()]).await;
        assert_eq!((&whole[..], end), (&b"partpart"[..], None));
        let (_, end) = received(vec![part(), Err(CutOff)]).await;
        assert_eq!(end, Some(Reason::INTERNAL_ERROR));
    }
}

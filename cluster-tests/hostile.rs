//! Clients that mean harm: slow, malformed, oversized, flooding. The server stays small and goes on
//! serving good clients.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GO_AWAY, HEADERS, PING, RST_STREAM, RawH2,
    SETTINGS, frame, header_block, request_block,
};
use crate::harness::http::{Dial, End, Request};
use crate::harness::load::Witness;
use crate::harness::server::{Run, Server, recorded_config};
use crate::harness::wait::{pace, poll};

/// How much resident memory an attack may cost.
const GROWTH_LIMIT: u64 = 32 * 1024 * 1024;
/// A good client must be served within this, on a machine that the attack keeps busy.
const SERVED_WITHIN: Duration = Duration::from_secs(15);

fn witness(server: &Server) -> Witness {
    let request = Request::new("PUT", "/v1/key/generate/predefined-key").body("{}");
    Witness::start(Dial::named(server.port, "admin"), request)
}

/// Some traffic of every kind, so that what the server allocates once is there.
async fn warm_up(server: &Server) {
    let admin = Dial::named(server.port, "admin");
    let encrypt = Request::new("PUT", "/v1/key/encrypt/predefined-key").body("{}");
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let (admin, encrypt) = (admin.clone(), encrypt.clone());
        clients.spawn(async move {
            for _ in 0..4 {
                assert_eq!(admin.request(&encrypt).await.expect("warm up").status, 200);
                assert_eq!(
                    admin.h2_request(&encrypt).await.expect("warm up").status,
                    200
                );
            }
        });
    }
    clients.join_all().await;
}

/// Follows the resident memory of a server while `attack` runs, with a good client beside it.
async fn assert_withstands<T>(server: &Server, what: &str, attack: impl Future<Output = T>) -> T {
    let before = server.resident_bytes();
    let witness = witness(server);
    let mut highest = before;
    let mut attack = std::pin::pin!(attack);
    let outcome = loop {
        tokio::select! {
            outcome = &mut attack => break outcome,
            () = pace(Duration::from_millis(50)) => highest = highest.max(server.resident_bytes()),
        }
    };
    highest = highest.max(server.resident_bytes());
    witness.assert_served(what, SERVED_WITHIN).await;
    let growth = highest - before;
    eprintln!(
        "{what}: {} KiB before, {} KiB more at most",
        before / 1024,
        growth / 1024
    );
    assert!(
        growth < GROWTH_LIMIT,
        "{what}: grew by {} MiB",
        growth / 1024 / 1024
    );
    outcome
}

// ---------------------------------------------------------------------------- HTTP/1.1 and TLS

/// The test and the servers it starts hold many sockets.
fn allow_many_sockets() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("limit of open files");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_slow_header_connections_do_not_keep_a_good_client_out() {
    allow_many_sockets();
    let server = Server::recorded("http.yml");
    let dial = Dial::named(server.port, "unknown");
    let mut slow = JoinSet::new();
    for number in 0..500 {
        let dial = dial.clone();
        slow.spawn(async move {
            // Not all at once: 500 handshakes are work for the client as well.
            pace(Duration::from_millis(number * 4)).await;
            let mut connection = match dial.connect().await {
                Ok(connection) => connection,
                Err(End::Open) => return Err("no handshake".to_owned()),
                // A limit of connections per client is a defense, too.
                Err(_) => return Ok(()),
            };
            connection
                .send(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                .await;
            let (answers, end) = connection
                .read_all(Instant::now() + Duration::from_secs(25))
                .await;
            match (end, answers.iter().all(|answer| answer.status == 408)) {
                (End::Open, _) => Err("still open after 25 s".to_owned()),
                (_, true) => Ok(()),
                (end, false) => Err(format!("{end} {answers:?}")),
            }
        });
    }
    let witness = witness(&server);
    let ended = slow.join_all().await;
    witness
        .assert_served("500 slow clients", SERVED_WITHIN)
        .await;
    let wrong: Vec<String> = ended.into_iter().filter_map(Result::err).collect();
    assert!(
        wrong.is_empty(),
        "{} slow clients: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(5)]
    );
}

/// One header byte at a time is still slow: the time counts for the whole head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trickle_of_header_bytes_does_not_extend_the_time() {
    let server = Server::recorded("http.yml");
    let mut connection = Dial::named(server.port, "unknown")
        .connect()
        .await
        .expect("connect");
    let began = Instant::now();
    connection
        .send(b"GET /version HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        .await;
    let end = loop {
        connection.send(b"a").await;
        match connection
            .read_head(Instant::now() + Duration::from_millis(300))
            .await
        {
            Err(End::Open) if began.elapsed() < Duration::from_secs(20) => {}
            other => break other,
        }
    };
    let closed = match &end {
        Ok(answer) => answer.status == 408,
        Err(end) => *end != End::Open,
    };
    assert!(closed, "{end:?} after {:?}", began.elapsed());
}

/// Connects without TLS, sends `bytes`; whether the server closed the connection in time.
fn closes_after(address: SocketAddr, bytes: &[u8], limit: Duration) -> Result<(), String> {
    let mut socket = TcpStream::connect(address).map_err(|error| error.to_string())?;
    socket
        .set_read_timeout(Some(limit))
        .map_err(|error| error.to_string())?;
    let _ = socket.write_all(bytes);
    let mut sink = [0u8; 1024];
    loop {
        match socket.read(&mut sink) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(format!("{error} after {limit:?}")),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_instead_of_a_handshake_is_closed() {
    allow_many_sockets();
    let server = Server::recorded("http.yml");
    let inputs: [&[u8]; 6] = [
        b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0xff; 4096],
        // A TLS record that announces more than it may hold.
        &[22, 3, 1, 0xff, 0xff, 1, 0, 0, 0],
        // A ClientHello that is cut.
        &[22, 3, 1, 0, 5, 1, 0, 0, 1, 3],
        // An alert, and a record of an unknown type.
        &[21, 3, 3, 0, 2, 2, 40],
        &[99, 3, 3, 0, 1, 0],
    ];
    let address = server.address();
    let witness = witness(&server);
    let mut clients = JoinSet::new();
    for number in 0..120 {
        let input = inputs[number % inputs.len()].to_vec();
        clients.spawn_blocking(move || closes_after(address, &input, Duration::from_secs(25)));
    }
    // Connections that never say anything.
    for _ in 0..60 {
        clients.spawn_blocking(move || closes_after(address, &[], Duration::from_secs(25)));
    }
    let ended = clients.join_all().await;
    witness
        .assert_served("garbage handshakes", SERVED_WITHIN)
        .await;
    let wrong: Vec<String> = ended.into_iter().filter_map(Result::err).collect();
    assert!(
        wrong.is_empty(),
        "{} not closed: {:?}",
        wrong.len(),
        wrong.first()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_heads_are_refused() {
    let server = Server::recorded("http.yml");
    warm_up(&server).await;
    let dial = Dial::named(server.port, "unknown");
    let filler = "a".repeat(4 * 1024 * 1024);
    let heads = [
        (
            "one long header",
            format!("GET /version HTTP/1.1\r\nHost: x\r\nX-A: {filler}\r\n\r\n"),
        ),
        (
            "a long target",
            format!("GET /{filler} HTTP/1.1\r\nHost: x\r\n\r\n"),
        ),
        (
            "many headers",
            format!(
                "GET /version HTTP/1.1\r\nHost: x\r\n{}\r\n",
                "X-A: b\r\n".repeat(400_000)
            ),
        ),
    ];
    let attack = async {
        for (what, head) in heads {
            let mut connection = dial.connect().await.expect("connect");
            let deadline = Instant::now() + Duration::from_secs(20);
            let sent = tokio::time::timeout_at(deadline, connection.send(head.as_bytes())).await;
            match connection.read_head(deadline).await {
                Ok(answer) => assert!((400..500).contains(&answer.status), "{what}: {answer:?}"),
                Err(end) => assert_ne!(end, End::Open, "{what}: neither answer nor end, {sent:?}"),
            }
        }
    };
    assert_withstands(&server, "oversized heads", attack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_ends_with_the_time_of_the_route() {
    let route = "api:\n  /v1/key/encrypt/:\n    timeout: 2s\npolicy:\n";
    let config = recorded_config("http.yml").replace("policy:\n", route);
    let server = Server::with_config(&Run::new(), "server.yml", &config);
    let heads = [
        "Content-Length: 1000\r\n\r\n{\"plaintext\":",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"pla\r\n",
    ];
    let dial = Dial::named(server.port, "admin");
    for head in heads {
        let mut connection = dial.connect().await.expect("connect");
        let began = Instant::now();
        let text = format!("PUT /v1/key/encrypt/predefined-key HTTP/1.1\r\nHost: x\r\n{head}");
        connection.send(text.as_bytes()).await;
        let (answers, end) = connection.read_all(began + Duration::from_secs(12)).await;
        let refused = answers.iter().all(|answer| answer.status >= 400);
        let waited = began.elapsed();
        assert!(
            refused && end != End::Open,
            "{head:?}: {answers:?} {end} after {waited:?}"
        );
        assert!(
            waited >= Duration::from_millis(1500),
            "{head:?}: given up after {waited:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_bodies_are_cut_at_the_limit() {
    let server = Server::recorded("http.yml");
    warm_up(&server).await;
    let attack = async {
        let mut clients = JoinSet::new();
        for number in 0..16 {
            let name = if number % 2 == 0 { "admin" } else { "unknown" };
            let dial = Dial::named(server.port, name);
            clients.spawn(async move {
                let mut request = Request::new("PUT", "/v1/key/encrypt/predefined-key")
                    .body(vec![b'a'; 16 * 1024 * 1024]);
                request.chunked = number % 4 < 2;
                match dial.request(&request).await {
                    Ok(answer) => assert!((400..500).contains(&answer.status), "{answer:?}"),
                    Err(end) => assert_ne!(end, End::Open, "neither answer nor end"),
                }
            });
        }
        clients.join_all().await;
    };
    assert_withstands(&server, "endless bodies", attack).await;
}

// ------------------------------------------------------------------------------------- HTTP/2

/// Routes for a flood: one that reads a body, both log streams, one without authentication, and
/// one that does not exist.
const ROUTES: [(&str, &str); 5] = [
    ("PUT", "/v1/key/encrypt/predefined-key"),
    ("GET", "/v1/log/audit"),
    ("GET", "/v1/log/error"),
    ("GET", "/version"),
    ("PUT", "/v1/nowhere"),
];

/// What a flood amounted to: without it, surviving would mean nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Poured {
    connections: usize,
    bytes: usize,
}

impl Poured {
    /// A flood must have been sent for real, or refused often enough.
    fn assert_was_a_flood(self, what: &str) {
        eprintln!("{what}: {self:?}");
        assert!(
            self.bytes > 1_000_000 || self.connections > 20,
            "{what}: {self:?}"
        );
    }
}

impl std::iter::Sum for Poured {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            connections: sum.connections + one.connections,
            bytes: sum.bytes + one.bytes,
        })
    }
}

/// Opens `streams` requests whose bodies never end, then sends empty DATA frames on them; again on
/// a new connection if the server has had enough.
async fn flood_with_empty_data(
    dial: Dial,
    routes: Vec<(&str, &str)>,
    streams: u32,
    until: Instant,
) -> Poured {
    let mut poured = Poured::default();
    while Instant::now() < until {
        let Ok(mut raw) = RawH2::connect(&dial).await else {
            continue;
        };
        poured.connections += 1;
        let mut opening = frame(SETTINGS, 1, 0, &[]);
        let mut block = Vec::new();
        for number in 0..streams {
            let stream = 1 + 2 * number;
            let (method, path) = routes[usize::try_from(number).expect("fits") % routes.len()];
            let head = request_block(method, path);
            opening.extend(frame(HEADERS, END_HEADERS, stream, &head));
        }
        for number in 0..1600 {
            block.extend(frame(DATA, 0, 1 + 2 * (number % streams), &[]));
        }
        if raw.send(&opening).await.is_ok() {
            poured.bytes += raw.flood(|| Some(block.clone()), until).await;
        }
    }
    poured
}

/// All shapes of the flood by one kind of client.
async fn assert_withstands_floods(config: &str, who: &str, dial: impl Fn(&Server) -> Dial) {
    let server = Server::recorded(config);
    warm_up(&server).await;
    for (method, path) in ROUTES {
        let what = format!("empty DATA as {who}: {method} {path}, one connection, one stream");
        let until = Instant::now() + Duration::from_secs(4);
        let attack = flood_with_empty_data(dial(&server), vec![(method, path)], 1, until);
        let poured = assert_withstands(&server, &what, attack).await;
        poured.assert_was_a_flood(&what);
    }
    for (connections, streams) in [(1, 32), (8, 1), (8, 16)] {
        let what = format!("empty DATA as {who}: {connections} connections, {streams} streams");
        let until = Instant::now() + Duration::from_secs(5);
        let attack = async {
            let mut clients = JoinSet::new();
            for number in 0..connections {
                let mut routes = ROUTES.to_vec();
                routes.rotate_left(number % ROUTES.len());
                clients.spawn(flood_with_empty_data(dial(&server), routes, streams, until));
            }
            clients.join_all().await.into_iter().sum::<Poured>()
        };
        assert_withstands(&server, &what, attack)
            .await
            .assert_was_a_flood(&what);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_frames_of_an_admin() {
    assert_withstands_floods("http.yml", "admin", |server| {
        Dial::named(server.port, "admin")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_frames_of_an_unknown_identity() {
    let dial = |server: &Server| Dial::named(server.port, "unknown");
    assert_withstands_floods("http.yml", "unknown", dial).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_frames_without_certificate() {
    let dial = |server: &Server| Dial::anonymous(server.port);
    assert_withstands_floods("http-skip.yml", "nobody", dial).await;
}

/// Frames of one abuse: what the next block on a connection is, by its number.
type Abuse = fn(u32) -> Option<Vec<u8>>;

/// Stream numbers of a block of 200 requests; none are left after some millions.
fn streams(block: u32) -> Option<impl Iterator<Item = u32>> {
    let first = block.checked_mul(400)?.checked_add(1)?;
    (first < 0x7fff_f000).then(|| (0..200).map(move |number| first + 2 * number))
}

fn open(stream: u32, flags: u8) -> Vec<u8> {
    let block = request_block("PUT", "/v1/key/encrypt/predefined-key");
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}

const ABUSES: [(&str, Abuse); 7] = [
    ("rapid reset", |block| {
        let cancel = 8u32.to_be_bytes();
        let pair = |stream| [open(stream, 0), frame(RST_STREAM, 0, stream, &cancel)].concat();
        Some(streams(block)?.flat_map(pair).collect())
    }),
    ("streams that stay open", |block| {
        Some(streams(block)?.flat_map(|s| open(s, 0)).collect())
    }),
    ("requests without reading", |block| {
        Some(
            streams(block)?
                .flat_map(|stream| open(stream, END_STREAM))
                .collect(),
        )
    }),
    ("endless CONTINUATION", |block| {
        let filler = header_block(&[("x-filler", &"a".repeat(8000))]);
        match block {
            0 => Some(frame(HEADERS, 0, 1, &request_block("GET", "/version"))),
            _ => Some(frame(CONTINUATION, 0, 1, &filler)),
        }
    }),
    ("empty CONTINUATION", |block| match block {
        0 => Some(frame(HEADERS, 0, 1, &request_block("GET", "/version"))),
        _ => Some(frame(CONTINUATION, 0, 1, &[]).repeat(500)),
    }),
    ("PING", |_| Some(frame(PING, 0, 0, &[1; 8]).repeat(500))),
    ("SETTINGS", |_| Some(frame(SETTINGS, 0, 0, &[]).repeat(500))),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_floods_of_frames() {
    let server = Server::recorded("http.yml");
    warm_up(&server).await;
    let dial = Dial::named(server.port, "unknown");
    for (name, abuse) in ABUSES {
        let until = Instant::now() + Duration::from_secs(4);
        let attack = async {
            let mut poured = Poured::default();
            while Instant::now() < until {
                let Ok(mut raw) = RawH2::connect(&dial).await else {
                    continue;
                };
                poured.connections += 1;
                let mut number = 0;
                let next = || {
                    number += 1;
                    abuse(number - 1)
                };
                poured.bytes += raw.flood(next, until).await;
            }
            poured
        };
        let what = format!("flood: {name}");
        assert_withstands(&server, &what, attack)
            .await
            .assert_was_a_flood(&what);
    }
}

/// Reads until the server ends the connection; the last frame of the wanted kind.
async fn until_closed(raw: &mut RawH2, kind: u8, limit: Duration) -> (Option<Frame>, End) {
    let deadline = Instant::now() + limit;
    let mut seen = None;
    loop {
        match raw.next(deadline).await {
            Ok(frame) if frame.kind == kind => seen = Some(frame),
            Ok(_) => {}
            Err(end) => return (seen, end),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_end_the_connection() {
    let server = Server::recorded("http.yml");
    let dial = Dial::named(server.port, "admin");
    let broken = [
        ("DATA on stream 0", frame(DATA, 0, 0, b"x")),
        ("HEADERS on an even stream", open_on(2)),
        (
            "a frame that is too large",
            frame(DATA, 0, 1, &vec![0; 100_000]),
        ),
        (
            "a header block that is none",
            frame(HEADERS, END_HEADERS, 1, &[0xff; 40]),
        ),
        (
            "CONTINUATION without HEADERS",
            frame(CONTINUATION, END_HEADERS, 1, &[]),
        ),
    ];
    for (what, bytes) in broken {
        let mut raw = RawH2::connect(&dial).await.expect("connect");
        let _ = raw.send(&bytes).await;
        let (go_away, end) = until_closed(&mut raw, GO_AWAY, Duration::from_secs(10)).await;
        let told = go_away.is_some_and(|frame| frame.stream == 0 && frame.flags == 0);
        assert!(told || end != End::Open, "{what}: {end}");
    }
    assert_eq!(dial.get("/v1/status").await.expect("status").status, 200);
}

fn open_on(stream: u32) -> Vec<u8> {
    frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        stream,
        &request_block("GET", "/version"),
    )
}

/// After all that, an HTTP/2 request on a healthy connection is answered frame by frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_hand_made_frames_is_answered() {
    let server = Server::recorded("http.yml");
    let mut raw = RawH2::connect(&Dial::named(server.port, "admin"))
        .await
        .expect("connect");
    raw.send(&[frame(SETTINGS, 1, 0, &[]), open_on(1)].concat())
        .await
        .expect("send");
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut body = Vec::new();
    loop {
        let frame = raw.next(deadline).await.expect("frame");
        if frame.stream == 1 && frame.kind == DATA {
            body.extend_from_slice(&frame.payload);
        }
        if frame.stream == 1 && frame.flags & END_STREAM != 0 {
            break;
        }
    }
    let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert!(json["version"].is_string(), "{json}");
    assert!(
        poll(Duration::from_secs(1), || server
            .stderr()
            .contains("panicked")
            .then_some(()))
        .is_none()
    );
}

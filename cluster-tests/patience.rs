//! Bounds that the HTTP libraries do not have by themselves: how long a client may say nothing,
//! take nothing, or stay half gone, and what a reload takes from connections that are open.

use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::harness::certs::client_pem;
use crate::harness::frames::{
    END_HEADERS, END_STREAM, Frame, HEADERS, RST_STREAM, RawH2, SETTINGS, frame, request_block,
};
use crate::harness::http::{Connection, Dial, End, Request};
use crate::harness::load::Witness;
use crate::harness::server::{Run, Server, recorded_config};
use crate::harness::wait::{pace, wait_for};

const LIMIT: Duration = Duration::from_secs(20);

/// More sockets than a worker shakes hands with at a time (256 in actix-tls): they must not take
/// the turns of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_sockets_take_no_turns_of_handshakes() {
    let server = Server::recorded("http.yml");
    let silent: Vec<TcpStream> = (0..700)
        .map(|_| TcpStream::connect(server.address()).expect("connect"))
        .collect();
    let admin = Dial::named(server.port, "admin");
    let began = Instant::now();
    assert_eq!(admin.get("/v1/status").await.expect("status").status, 200);
    let took = began.elapsed();
    // Well under the time for a handshake, after which the silent ones go by themselves.
    assert!(took < Duration::from_secs(3), "{took:?}");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_head_has_its_time_too() {
    let server = Server::recorded("http.yml");
    let mut connection = Dial::named(server.port, "admin")
        .connect()
        .await
        .expect("connect");
    let first = connection
        .exchange(&Request::new("GET", "/v1/status"))
        .await;
    assert_eq!(first.expect("status").status, 200);
    connection
        .send(b"GET /v1/status HTTP/1.1\r\nX-Slow: ")
        .await;
    let (_, end) = connection.read_all(Instant::now() + LIMIT).await;
    assert_ne!(end, End::Open, "still open after {LIMIT:?}");
}

/// A client that sends requests and never reads: what is written to it fills its socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_no_answers_is_cut_off() {
    let server = Server::recorded("http.yml");
    let mut deaf = Dial::named(server.port, "admin")
        .connect()
        .await
        .expect("connect");
    let sent = deaf.stream.get_ref().0.local_addr().expect("address");
    let requests = "GET /v1/metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(5_000);
    let pour = async {
        // Blocks as soon as the server takes no more, and fails once it has hung up.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut deaf.stream, requests.as_bytes()).await;
        std::future::pending::<()>().await;
    };
    let gone = async {
        let deadline = Instant::now() + Duration::from_secs(45);
        while is_established(sent.port(), server.port) {
            assert!(Instant::now() < deadline, "still open");
            pace(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = pour => {}
        () = gone => {}
    }
}

/// Whether the server's side of a connection is open, by the kernel's table.
fn is_established(client: u16, server: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("table");
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ends = |address: &str, port: u16| address.ends_with(&format!(":{port:04X}"));
        matches!(fields[..], [_, local, remote, "01", ..] if ends(local, server) && ends(remote, client))
    })
}

/// A window that stays closed holds an answer back; the stream is given up in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_never_opens_ends_the_stream() {
    let server = Server::recorded("http.yml");
    let mut raw = RawH2::connect(&Dial::named(server.port, "admin"))
        .await
        .expect("connect");
    // SETTINGS_INITIAL_WINDOW_SIZE (4) of zero.
    let closed = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let request = request_block("GET", "/v1/metrics");
    let open = frame(HEADERS, END_HEADERS | END_STREAM, 1, &request);
    raw.send(&[closed, frame(SETTINGS, 1, 0, &[]), open].concat())
        .await
        .expect("send");
    let deadline = Instant::now() + LIMIT;
    let ended = loop {
        match raw.next(deadline).await {
            Ok(Frame {
                kind: RST_STREAM,
                stream: 1,
                ..
            }) => break Ok(()),
            Ok(_) => {}
            Err(end) => break Err(end),
        }
    };
    assert_eq!(ended, Ok(()), "no reset of the stream within {LIMIT:?}");
}

async fn subscribe(dial: &Dial) -> (Connection, u16) {
    let mut stream = dial.connect().await.expect("connect");
    stream
        .send(b"GET /v1/log/error HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    let head = stream
        .read_head(Instant::now() + LIMIT)
        .await
        .expect("head");
    (stream, head.status)
}

/// Subscribers that are gone, or have closed their half, keep no place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_that_left_keep_no_place() {
    let server = Server::recorded("http.yml");
    let admin = Dial::named(server.port, "admin");
    let mut half_closed = Vec::new();
    for number in 0..300 {
        let (stream, status) = subscribe(&admin).await;
        assert_eq!(status, 200, "subscriber {number}");
        if number % 2 == 0 {
            let socket = stream.stream.into_inner().0.into_std().expect("socket");
            socket.shutdown(Shutdown::Write).expect("half close");
            half_closed.push(socket);
        }
        if number % 100 == 99 {
            until_subscribers_are_gone(&admin).await;
        }
    }
    assert_eq!(subscribe(&admin).await.1, 200);
}

/// Waits until as many as may subscribe at once can do so again.
async fn until_subscribers_are_gone(admin: &Dial) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut all = Vec::new();
        let is_free = loop {
            if all.len() == 200 {
                break true;
            }
            let (stream, status) = subscribe(admin).await;
            if status != 200 {
                break false;
            }
            all.push(stream);
        };
        if is_free {
            return;
        }
        assert!(Instant::now() < deadline, "places stay taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_files_may_be_open_as_the_system_allows() {
    let server = Server::recorded("http.yml");
    let limits = server.limits();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let fields: Vec<&str> = line.expect("a limit").split_whitespace().collect();
    assert_eq!(fields[3], fields[4], "soft and hard limit: {fields:?}");
}

/// Who was a proxy when it connected is none any more after a reload that says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_loses_its_right_on_open_connections_too() {
    let run = Run::new();
    let config = recorded_config("extra-proxy.yml");
    let server = Server::with_config(&run, "server.yml", config);
    let (certificate, _) = client_pem("admin");
    let header = utf8_percent_encode(&certificate, NON_ALPHANUMERIC).to_string();
    let as_admin = Request::new("GET", "/v1/metrics").header("X-Tls-Client-Cert", &header);
    let mut connection = Dial::named(server.port, "unknown")
        .connect()
        .await
        .expect("connect");
    let before = connection.exchange(&as_admin).await.expect("as admin");
    assert_eq!(before.status, 200, "{}", before.text());

    let begin = config.find("  proxy:").expect("a proxy");
    let end = config.find("\npolicy:").expect("policies");
    let without = format!("{}{}", &config[..begin], &config[end..]);
    run.write("server.yml", run.fill(&without, server.port));
    server.signal(Signal::HUP);
    wait_for("the reload", LIMIT, || {
        server
            .stdout()
            .contains("SIGHUP signal completed")
            .then_some(())
    });
    let after = connection.exchange(&as_admin).await.expect("an answer");
    assert_eq!(after.status, 403, "{}", after.text());
}

/// A configuration on a file system that hangs must not keep the server from stopping.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_hangs_does_not_hold_the_server() {
    let run = Run::new();
    let mut server = Server::with_config(&run, "server.yml", recorded_config("http.yml"));
    std::fs::remove_file(run.path("server.yml")).expect("remove");
    // Whoever opens a pipe for reading waits for a writer.
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        run.path("server.yml"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .expect("a pipe");
    server.signal(Signal::HUP);
    wait_for("the reload to begin", LIMIT, || {
        server
            .stderr()
            .contains("Reloading configuration")
            .then_some(())
    });
    let witness = Witness::start(
        Dial::named(server.port, "admin"),
        Request::new("GET", "/v1/status"),
    );
    witness
        .assert_served("beside a reload that hangs", LIMIT)
        .await;
    server.signal(Signal::TERM);
    let status = server.wait_end(Duration::from_secs(8));
    assert_eq!(status.code(), Some(0), "{status:?}\n{}", server.stderr());
}

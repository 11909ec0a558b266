//! Start and stop.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::harness::http::{Dial, End, Request};
use crate::harness::server::{Run, Server, output_within, recorded_config};

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_is_finished_before_the_server_stops() {
    let mut server = Server::recorded("http.yml");
    let dial = Dial::named(server.port, "admin");
    let mut busy = dial.connect().await.expect("connect");
    // The interim answer says that the server has begun with the request.
    busy.send(
        b"PUT /v1/key/generate/predefined-key HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\
          Expect: 100-continue\r\n\r\n",
    )
    .await;
    let interim = busy
        .read_head(Instant::now() + Duration::from_secs(5))
        .await
        .expect("100");
    assert_eq!(interim.status, 100);
    let mut idle = dial.connect().await.expect("connect");
    let ready = idle
        .exchange(&Request::new("GET", "/v1/ready"))
        .await
        .expect("ready");
    assert_eq!(ready.status, 200);

    server.signal(Signal::TERM);
    // Once nobody can connect any more, the server is stopping.
    let deadline = Instant::now() + LIMIT;
    while std::net::TcpStream::connect(server.address()).is_ok() {
        assert!(Instant::now() < deadline, "still accepting after SIGTERM");
        tokio::task::yield_now().await;
    }
    busy.send(b"{}").await;
    let head = busy
        .read_head(Instant::now() + LIMIT)
        .await
        .expect("answer while stopping");
    let answer = busy
        .read_body(head, false, Instant::now() + LIMIT)
        .await
        .expect("body");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let status = server.wait_end(LIMIT);
    assert_eq!(status.code(), Some(0), "{status:?}\n{}", server.stderr());
    assert!(
        server
            .stdout()
            .ends_with("=> Stopping server... Goodbye.\n"),
        "{}",
        server.stdout()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_and_stalled_requests_do_not_hold_the_server() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::recorded("http.yml");
        let dial = Dial::named(server.port, "admin");
        let mut stream = dial.connect().await.expect("connect");
        stream
            .send(b"GET /v1/log/audit HTTP/1.1\r\nHost: x\r\n\r\n")
            .await;
        let head = stream
            .read_head(Instant::now() + LIMIT)
            .await
            .expect("head of the stream");
        assert_eq!(head.status, 200);
        let mut stalled = dial.connect().await.expect("connect");
        stalled
            .send(b"PUT /v1/key/encrypt/predefined-key HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
            .await;
        let idle = dial.connect().await.expect("connect");
        let began = Instant::now();
        server.signal(signal);
        let status = server.wait_end(Duration::from_secs(8));
        assert_eq!(
            status.code(),
            Some(0),
            "{signal:?}: {status:?}\n{}",
            server.stderr()
        );
        eprintln!("{signal:?}: stopped after {:?}", began.elapsed());
        drop(idle);
        let (_, end) = stalled.read_all(Instant::now() + LIMIT).await;
        assert_ne!(end, End::Open);
    }
}

#[test]
fn a_port_in_use_is_an_error_before_any_banner() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = taken.local_addr().expect("address").port();
    let run = Run::new();
    run.write("server.yml", run.fill(recorded_config("http.yml"), port));
    let address = format!("127.0.0.1:{port}");
    for args in [
        vec!["server", "--config", "server.yml"],
        vec!["server", "--config", "server.yml", "--addr", &address],
        vec!["server", "--dev", "--addr", &address],
    ] {
        let output = output_within(&mut run.command(&args), LIMIT);
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert_eq!(
            output.status.code(),
            Some(1),
            "{args:?}: {stdout}\n{stderr}"
        );
        assert!(!stdout.contains("up and running"), "{args:?}: {stdout}");
        let said = stderr.lines().any(|line| line.starts_with("Error: "));
        assert!(
            said && stderr.to_lowercase().contains("in use"),
            "{args:?}: {stderr}"
        );
    }
}

#[test]
fn configuration_errors_end_the_start_without_banner() {
    let run = Run::new();
    let config = run.fill(recorded_config("http.yml"), 1);
    let cases = [
        (
            "missing certificate",
            config.replace("server.crt", "nothing.crt"),
        ),
        (
            "no admin",
            config.replace("identity: fd110d", "nobody: fd110d"),
        ),
        (
            "two key stores",
            config.replace("  fs:\n", "  vault:\n    endpoint: https://x\n  fs:\n"),
        ),
        (
            "bad policy name",
            config.replace("  my-app:\n", "  my.app:\n"),
        ),
    ];
    for (what, text) in cases {
        assert_ne!(text, config, "{what}: nothing was changed");
        run.write("bad.yml", text);
        let args = ["server", "--config", "bad.yml"];
        let output = output_within(&mut run.command(&args), LIMIT);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{what}: {stdout}\n{stderr}");
        assert!(
            stderr.starts_with("Error: ") && stderr.lines().count() == 1,
            "{what}: {stderr}"
        );
        assert!(!stdout.contains("up and running"), "{what}: {stdout}");
    }
}

#[test]
fn a_development_server_ends_at_sighup() {
    let mut server = Server::dev(&Run::new());
    server.signal(Signal::HUP);
    let status = server.wait_end(LIMIT);
    let hangup = status.signal() == Some(1) || status.code() == Some(129);
    assert!(hangup, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_starts_quickly_and_is_small_when_idle() {
    let mut best = Duration::MAX;
    let mut resident = u64::MAX;
    for _ in 0..5 {
        let server = Server::recorded("http.yml");
        let began = Instant::now();
        let ready = Dial::named(server.port, "admin")
            .get("/v1/ready")
            .await
            .expect("ready");
        assert_eq!(ready.status, 200);
        best = best.min(server.started_in + began.elapsed());
        resident = resident.min(server.resident_bytes());
    }
    eprintln!(
        "ready after {best:?}, {} KiB resident when idle",
        resident / 1024
    );
    assert!(
        best < Duration::from_millis(1500),
        "ready only after {best:?}"
    );
    if !cfg!(debug_assertions) {
        assert!(
            resident < 20 * 1024 * 1024,
            "{resident} bytes resident when idle"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_that_were_there_are_there_after_a_restart() {
    let run = Run::new();
    let mut server = Server::with_config(&run, "server.yml", recorded_config("http.yml"));
    let dial = Dial::named(server.port, "admin");
    let create = Request::new("PUT", "/v1/key/create/kept");
    assert_eq!(dial.request(&create).await.expect("create").status, 200);
    let encrypt = Request::new("PUT", "/v1/key/encrypt/kept").body(r#"{"plaintext":"aGk="}"#);
    let sealed = dial.request(&encrypt).await.expect("encrypt").json();
    server.signal(Signal::TERM);
    assert_eq!(server.wait_end(LIMIT).code(), Some(0));
    let mut server = Server::with_config(&run, "server.yml", recorded_config("http.yml"));
    assert!(server.ended().is_none());
    let decrypt = Request::new("PUT", "/v1/key/decrypt/kept").body(sealed.to_string());
    let opened = Dial::named(server.port, "admin")
        .request(&decrypt)
        .await
        .expect("decrypt");
    assert_eq!(opened.json()["plaintext"], "aGk=", "{}", opened.text());
}

/// Every answer carries Date, none says who serves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_dated_and_anonymous() {
    let server = Server::recorded("http.yml");
    let dial = Dial::named(server.port, "unknown");
    for path in ["/version", "/v1/status", "/v1/nowhere", "/v1/key/list"] {
        let request = Request::new("GET", path);
        for answer in [
            dial.request(&request).await,
            dial.h2_request(&request).await,
        ] {
            let answer = answer.expect("answer");
            assert!(answer.header("date").is_some(), "{path}: {answer:?}");
            assert_eq!(answer.header("server"), None, "{path}: {answer:?}");
        }
    }
}

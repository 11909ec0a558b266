//! The log streams: their head comes at once, then one line per event.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::harness::certs::identity;
use crate::harness::http::{Connection, Dial, Lines, Request};
use crate::harness::load::Witness;
use crate::harness::server::Server;

const LIMIT: Duration = Duration::from_secs(10);

/// Subscribes to a log stream; its head must come before any event.
async fn subscribe(dial: &Dial, path: &str) -> Connection {
    let mut stream = dial.connect().await.expect("connect");
    stream
        .send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
        .await;
    let head = stream
        .read_head(Instant::now() + Duration::from_secs(3))
        .await;
    let head = head.unwrap_or_else(|end| panic!("{path}: no head without an event: {end}"));
    assert_eq!(head.status, 200, "{path}");
    assert_eq!(
        head.header("content-type"),
        Some("application/x-ndjson"),
        "{path}"
    );
    stream
}

async fn next_json(stream: &mut Connection, lines: &mut Lines) -> Value {
    let line = stream
        .next_line(lines, Instant::now() + LIMIT)
        .await
        .expect("line");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

async fn change(dial: &Dial, method: &str, path: &str) {
    let answer = dial
        .request(&Request::new(method, path))
        .await
        .expect("answer");
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_events_name_who_did_what() {
    let server = Server::recorded("http.yml");
    let admin = Dial::named(server.port, "admin");
    let app = Dial::named(server.port, "app");
    // The second subscriber has no other right than to read logs.
    let mut streams = [
        (subscribe(&admin, "/v1/log/audit").await, Lines::default()),
        (
            subscribe(&Dial::named(server.port, "ops"), "/v1/log/audit").await,
            Lines::default(),
        ),
    ];
    change(&admin, "PUT", "/v1/key/create/first").await;
    change(&app, "POST", "/v1/key/create/my-app-second").await;
    change(&admin, "DELETE", "/v1/key/delete/first").await;
    let expected = [
        ("/v1/key/create/first", "admin"),
        ("/v1/key/create/my-app-second", "app"),
        ("/v1/key/delete/first", "admin"),
    ];
    for (stream, lines) in &mut streams {
        for (path, who) in expected {
            let event = next_json(stream, lines).await;
            let request = &event["request"];
            assert_eq!(request["path"], path, "{event}");
            assert_eq!(request["identity"], identity(who), "{event}");
            assert_eq!(request["ip"], "127.0.0.1", "{event}");
            assert_eq!(event["response"]["code"], 200, "{event}");
            let time = event["response"]["time"].as_u64();
            // Nanoseconds: more than a microsecond, less than a minute.
            assert!(
                time.is_some_and(|time| (1_000..60_000_000_000).contains(&time)),
                "{event}"
            );
            let clock = event["time"].as_str().unwrap_or("");
            assert!(clock.len() >= 20 && clock.contains('T'), "{event}");
        }
    }
    let stdout = server.stdout();
    assert!(
        stdout.contains("msg=\"secret key 'first' created\""),
        "{stdout}"
    );
    assert!(
        stdout.contains(&format!("req.identity={}", identity("app"))),
        "{stdout}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_handshakes_and_refused_bodies_are_error_events() {
    let server = Server::recorded("http.yml");
    let admin = Dial::named(server.port, "admin");
    let mut stream = subscribe(&admin, "/v1/log/error").await;
    let mut lines = Lines::default();
    let nobody = Dial::anonymous(server.port).get("/version").await;
    assert!(nobody.is_err(), "{nobody:?}");
    let event = next_json(&mut stream, &mut lines).await;
    let message = event["message"].as_str().unwrap_or("");
    assert!(
        message.contains("TLS handshake error from 127.0.0.1:"),
        "{event}"
    );
    assert!(
        message.contains("level=INFO") && message.starts_with("time="),
        "{event}"
    );

    let broken = Request::new("PUT", "/v1/key/encrypt/predefined-key").body("{bad");
    assert_eq!(admin.request(&broken).await.expect("answer").status, 400);
    let event = next_json(&mut stream, &mut lines).await;
    let message = event["message"].as_str().unwrap_or("");
    assert!(message.contains("level=ERROR"), "{event}");
    assert!(
        message.contains("req.path=/v1/key/encrypt/predefined-key"),
        "{event}"
    );
    assert!(
        message.contains(&format!("req.identity={}", identity("admin"))),
        "{event}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_over_http2_begins_at_once_and_carries_events() {
    let server = Server::recorded("http.yml");
    let admin = Dial::named(server.port, "admin");
    let connection = admin
        .clone()
        .alpn(&["h2"])
        .connect()
        .await
        .expect("connect");
    let (client, driver) = h2::client::handshake(connection.stream)
        .await
        .expect("handshake");
    let driver = tokio::spawn(driver);
    let mut client = client.ready().await.expect("ready");
    let request = http::Request::get("https://127.0.0.1/v1/log/audit")
        .body(())
        .expect("request");
    let (answer, _) = client.send_request(request, true).expect("send");
    let answer = timeout(Duration::from_secs(3), answer)
        .await
        .expect("head at once")
        .expect("head");
    assert_eq!(answer.status(), 200);
    let mut body = answer.into_body();
    change(&admin, "PUT", "/v1/key/create/over-h2").await;
    let data = timeout(LIMIT, body.data())
        .await
        .expect("event in time")
        .expect("open")
        .expect("data");
    let event: Value = serde_json::from_slice(&data).expect("one event");
    assert_eq!(event["request"]["path"], "/v1/key/create/over-h2");
    assert!(data.ends_with(b"\n"));
    driver.abort();
}

/// A subscriber that does not read must not slow the requests that make the events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_does_not_read_holds_nobody_up() {
    let server = Server::recorded("http.yml");
    let admin = Dial::named(server.port, "admin");
    let deaf = subscribe(&admin, "/v1/log/audit").await;
    let before = server.resident_bytes();
    let request = Request::new("GET", "/v1/key/describe/predefined-key");
    let witness = Witness::start(admin.clone(), request);
    let mut connection = admin.connect().await.expect("connect");
    for number in 0..1500 {
        let (verb, method) = if number % 2 == 0 {
            ("create", "PUT")
        } else {
            ("delete", "DELETE")
        };
        let request = Request::new(method, &format!("/v1/key/{verb}/noise"));
        let answer = connection.exchange(&request).await.expect("answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    witness
        .assert_served("beside a deaf subscriber", LIMIT)
        .await;
    let growth = server.resident_bytes().saturating_sub(before);
    assert!(growth < 32 * 1024 * 1024, "grew by {growth} bytes");
    drop(deaf);
}

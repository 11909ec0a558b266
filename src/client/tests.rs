//! The client against servers of canned answers, over real sockets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::wire::error::{self, error_body};
use server::{Server, answer, json, redirect};

mod cluster;
mod policies;
pub(crate) mod server;

/// A pause that does not wait, and counts.
fn counted() -> (Pause, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let pause: Pause = Arc::new(move |time| {
        assert!((200..1000).contains(&time.as_millis()));
        counter.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {})
    });
    (pause, count)
}

fn client_with(
    endpoints: Vec<String>,
    credentials: Credentials,
    trust: Trust,
    pause: Pause,
) -> Client {
    let config = ClientConfig {
        endpoints,
        credentials,
        trust,
    };
    Client::with_pause(config, pause).expect("a client")
}

/// A client of `servers` that trusts them.
fn client(servers: &[&Server]) -> (Client, Arc<AtomicUsize>) {
    let (pause, count) = counted();
    let endpoints = servers
        .iter()
        .map(|server| server.address.to_string())
        .collect();
    let pins = servers
        .iter()
        .map(|server| server.certificate.clone())
        .collect();
    (
        client_with(endpoints, Credentials::None, Trust::Pinned(pins), pause),
        count,
    )
}

fn refusal(status: u16, message: &str) -> Vec<u8> {
    json(
        status,
        &String::from_utf8(error_body(message)).expect("UTF-8"),
    )
}

#[tokio::test]
async fn calls_are_sent_as_the_official_client_sends_them() {
    let server = Server::start(|_, _| json(200, "{}")).await;
    let (client, _) = client(&[&server]);
    client.version().await.expect("version");
    client.ready().await.expect("ready");
    client.create_key("my-key").await.expect("create");
    client
        .import_key("k", b"a", "AES256")
        .await
        .expect("import");
    client.describe_key("k").await.expect("describe");
    client.generate_key("k", b"").await.expect("generate");
    client.generate_key("k", b"c").await.expect("generate");
    client.encrypt("k", b"p", b"c").await.expect("encrypt");
    client.decrypt("k", b"x", b"").await.expect("decrypt");
    client.hmac("k", b"m").await.expect("hmac");
    client.delete_key("k").await.expect("delete");
    client.list_keys("my*").await.expect("list");
    client.get_policy("p").await.expect("policy");
    client.describe_policy("p").await.expect("policy");
    client.describe_identity("i").await.expect("identity");
    client.describe_self().await.expect("self");
    client.metrics().await.expect("metrics");
    let sent: Vec<(String, String)> = server
        .requests()
        .into_iter()
        .map(|request| (request.line, request.body))
        .collect();
    let expected = [
        ("GET /version", ""),
        ("GET /v1/ready", ""),
        ("POST /v1/key/create/my-key", ""),
        (
            "POST /v1/key/import/k",
            "{\"key\":\"YQ==\",\"cipher\":\"AES256\"}\n",
        ),
        ("GET /v1/key/describe/k", ""),
        ("POST /v1/key/generate/k", "{}\n"),
        ("POST /v1/key/generate/k", "{\"context\":\"Yw==\"}\n"),
        (
            "POST /v1/key/encrypt/k",
            "{\"plaintext\":\"cA==\",\"context\":\"Yw==\"}\n",
        ),
        ("POST /v1/key/decrypt/k", "{\"ciphertext\":\"eA==\"}\n"),
        ("PUT /v1/key/hmac/k", "{\"message\":\"bQ==\"}\n"),
        ("DELETE /v1/key/delete/k", ""),
        ("GET /v1/key/list/my%2A", ""),
        ("GET /v1/policy/read/p", ""),
        ("GET /v1/policy/describe/p", ""),
        ("GET /v1/identity/describe/i", ""),
        ("GET /v1/identity/self/describe", ""),
        ("GET /v1/metrics", ""),
    ];
    let expected: Vec<(String, String)> = expected
        .map(|(line, body)| (line.to_owned(), body.to_owned()))
        .to_vec();
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn answers_are_understood() {
    let server = Server::start(|_, request| {
        json(
            200,
            match request.line.as_str() {
                "POST /v1/key/generate/k" => "{\"plaintext\":\"cA==\",\"ciphertext\":\"Yw==\"}\n",
                "POST /v1/key/decrypt/k" => "{\"plaintext\":\"cA==\"}\n",
                "PUT /v1/key/hmac/k" => "{\"hmac\":\"aA==\"}\n",
                "GET /v1/status" => "{\"version\":\"v\",\"uptime\":3}\n",
                "GET /v1/api" => "[{\"method\":\"GET\",\"path\":\"/version\"}]\n",
                other => panic!("unexpected {other}"),
            },
        )
    })
    .await;
    let (client, _) = client(&[&server]);
    let key = client.generate_key("k", b"").await.expect("generate");
    assert_eq!(
        (key.plaintext.expose(), &*key.ciphertext),
        (&b"p"[..], &b"c"[..])
    );
    assert_eq!(
        client
            .decrypt("k", b"", b"")
            .await
            .expect("decrypt")
            .expose(),
        b"p"
    );
    assert_eq!(client.hmac("k", b"").await.expect("hmac"), b"h");
    let (status, round_trip) = client.status().await.expect("status");
    assert_eq!((&*status.version, status.uptime), ("v", 3));
    assert!(round_trip > Duration::ZERO);
    assert_eq!(client.apis().await.expect("apis")[0].path, "/version");
}

#[tokio::test]
async fn refusals_carry_the_text_of_the_server() {
    let server = Server::start(|count, _| match count {
        0 => refusal(404, error::KEY_NOT_FOUND),
        1 => answer(404, "text/plain; charset=utf-8", "404 page not found\n"),
        2 => refusal(500, "failed to encrypt plaintext"),
        3 => json(200, ""),
        _ => json(200, "{\"version\":7}"),
    })
    .await;
    let (client, pauses) = client(&[&server]);
    let refused = client.describe_key("k").await.expect_err("404");
    assert!(refused.is_api(404, error::KEY_NOT_FOUND));
    assert_eq!(refused.to_string(), "key does not exist");
    let refused = client.version().await.expect_err("404");
    assert_eq!(
        (refused.status(), &*refused.to_string()),
        (Some(404), "404 page not found\n")
    );
    let refused = client.encrypt("k", b"", b"").await.expect_err("500");
    assert_eq!(refused.status(), Some(500));
    assert_eq!(
        client.version().await.expect_err("empty").to_string(),
        "EOF"
    );
    let invalid = client.version().await.expect_err("a number");
    assert!(matches!(invalid, ClientError::InvalidResponse(_)));
    assert_eq!(
        pauses.load(Ordering::Relaxed),
        0,
        "nothing here is worth another try"
    );
}

#[tokio::test]
async fn names_cannot_change_the_route() {
    let server = Server::start(|_, _| refusal(400, "key name '' is wrong")).await;
    let (client, _) = client(&[&server]);
    for name in ["", "a/b", "../x", "a?b", "a#b", "é", "a b", "*", "%2e"] {
        client.create_key(name).await.expect_err(name);
    }
    assert_eq!(
        server.lines(),
        [
            "POST /v1/key/create/",
            "POST /v1/key/create/a%2Fb",
            "POST /v1/key/create/..%2Fx",
            "POST /v1/key/create/a%3Fb",
            "POST /v1/key/create/a%23b",
            "POST /v1/key/create/%C3%A9",
            "POST /v1/key/create/a%20b",
            "POST /v1/key/create/%2A",
            "POST /v1/key/create/%252e",
        ]
    );
    for name in [".", ".."] {
        let refused = client.delete_key(name).await.expect_err(name);
        let text = format!("key name '{name}' is empty, too long or contains invalid characters");
        assert!(refused.is_api(400, &text));
        let refused = client.list_policies(name).await.expect_err(name);
        let text = format!("listing pattern '{name}' is empty, too long or is invalid");
        assert!(refused.is_api(400, &text));
    }
    assert_eq!(server.lines().len(), 9, "no request for dots");
}

#[tokio::test]
async fn a_server_that_is_not_ready_is_asked_three_times() {
    let server = Server::start(|count, _| match count {
        0 | 1 => refusal(503, "change committed but not replicated"),
        _ => json(200, "{\"ciphertext\":\"eA==\"}\n"),
    })
    .await;
    let (client, pauses) = client(&[&server]);
    assert_eq!(
        client.encrypt("k", b"p", b"").await.expect("the third try"),
        b"x"
    );
    assert_eq!(pauses.load(Ordering::Relaxed), 2);
    let bodies: Vec<String> = server
        .requests()
        .into_iter()
        .map(|request| request.body)
        .collect();
    assert_eq!(bodies, ["{\"plaintext\":\"cA==\"}\n"; 3]);

    let never = Server::start(|_, _| refusal(503, "not ready")).await;
    let (client, pauses) = self::client(&[&never]);
    let refused = client.create_key("k").await.expect_err("503");
    assert!(refused.is_api(503, "not ready"));
    assert_eq!(
        (never.lines().len(), pauses.load(Ordering::Relaxed)),
        (3, 2)
    );
}

#[tokio::test]
async fn a_broken_connection_is_tried_again() {
    let server = Server::start(|count, _| match count {
        0 => Vec::new(),
        _ => json(200, "{\"version\":\"v\"}"),
    })
    .await;
    let (client, pauses) = client(&[&server]);
    assert_eq!(client.version().await.expect("the second try").version, "v");
    assert_eq!(pauses.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_failing_server_is_replaced_and_the_next_gets_the_whole_body() {
    let bad = Server::start(|_, _| refusal(500, "broken")).await;
    let good = Server::start(|_, _| json(200, "{\"plaintext\":\"cA==\"}\n")).await;
    let (client, pauses) = client(&[&bad, &good]);
    for _ in 0..3 {
        let key = client
            .generate_key("k", b"c")
            .await
            .expect("from the good one");
        assert_eq!(key.plaintext.expose(), b"p");
    }
    assert_eq!(bad.lines().len(), 1, "left out after its failure");
    let bodies: Vec<String> = good
        .requests()
        .into_iter()
        .map(|request| request.body)
        .collect();
    assert_eq!(bodies, ["{\"context\":\"Yw==\"}\n"; 3]);
    assert_eq!(pauses.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn when_all_servers_fail_all_are_asked_again() {
    let first = Server::start(|_, _| refusal(500, "first")).await;
    let second = Server::start(|_, _| refusal(502, "second")).await;
    let (client, _) = client(&[&first, &second]);
    client.ready().await.expect_err("both fail");
    assert_eq!((first.lines().len(), second.lines().len()), (1, 1));
    client.ready().await.expect_err("both fail again");
    assert_eq!((first.lines().len(), second.lines().len()), (2, 2));
}

#[tokio::test]
async fn a_refusal_is_final_for_all_servers() {
    let first = Server::start(|_, _| refusal(404, error::KEY_NOT_FOUND)).await;
    let second = Server::start(|_, _| refusal(501, "not implemented")).await;
    let (client, _) = client(&[&first, &second]);
    client.ready().await.expect_err("refused");
    assert_eq!(first.lines().len() + second.lines().len(), 1);
}

#[tokio::test]
async fn listings_follow_the_redirect_and_the_pages() {
    let server = Server::start(|_, request| match request.line.as_str() {
        "GET /v1/key/list" => redirect(307, "/v1/key/list/"),
        "GET /v1/key/list/" => json(200, "{\"names\":[\"a\",\"b\"],\"continue_at\":\"*c\"}\n"),
        "GET /v1/key/list/%2Ac" => json(200, "{\"names\":[\"c\"]}\n"),
        "GET /v1/identity/list" => redirect(301, "/v1/identity/list/"),
        "GET /v1/identity/list/" => json(200, "{\"identities\":[\"i\"],\"continue_at\":\"\"}\n"),
        "GET /v1/policy/list/p" => answer(200, "application/x-ndjson", "{\"name\":\"p\"}\n"),
        other => panic!("unexpected {other}"),
    })
    .await;
    let (client, _) = client(&[&server]);
    assert_eq!(client.list_keys("").await.expect("keys"), ["a", "b", "c"]);
    assert_eq!(client.list_identities("").await.expect("identities"), ["i"]);
    assert_eq!(client.list_policies("p").await.expect("policies"), ["p"]);
    let page = client.list_keys_page("").await.expect("a page");
    assert_eq!((page.names.len(), &*page.continue_at), (2, "*c"));
}

#[tokio::test]
async fn an_endless_listing_is_given_up() {
    let server =
        Server::start(|_, _| json(200, "{\"names\":[\"a\"],\"continue_at\":\"a\"}\n")).await;
    let (client, _) = client(&[&server]);
    let endless = client.list_keys("").await.expect_err("endless");
    assert!(matches!(endless, ClientError::EndlessListing(at) if at == "a"));
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn redirects_go_nowhere_else_and_change_nothing() {
    let server = Server::start(|count, _| match count {
        0 => redirect(307, "https://attacker.example/v1/key/list/"),
        1 => redirect(307, "http://127.0.0.1/"),
        2 => redirect(301, "/v1/key/create/"),
        _ => redirect(307, "/v1/key/list/"),
    })
    .await;
    let (client, _) = client(&[&server]);
    for location in ["https://attacker.example/v1/key/list/", "http://127.0.0.1/"] {
        let refused = client.list_keys("").await.expect_err("another server");
        let text = format!(
            "Get \"{}\": refused to follow a redirect to \"{location}\"",
            server.url("/v1/key/list")
        );
        assert_eq!(refused.to_string(), text);
    }
    let refused = client
        .create_key("k")
        .await
        .expect_err("a POST must not become a GET");
    assert_eq!(refused.status(), Some(301));
    assert_eq!(server.lines().len(), 3);
    client.list_keys("").await.expect_err("a loop");
    assert_eq!(server.lines().len(), 3 + 11);
}

#[tokio::test]
async fn answers_have_a_largest_size() {
    let server = Server::start(|_, request| match request.line.as_str() {
        "GET /version" => json(200, &format!("{{\"version\":\"{}\"}}", "v".repeat(1024))),
        _ => json(200, &format!("{{\"names\":[\"{}\"]}}", "n".repeat(1 << 20))),
    })
    .await;
    let (client, _) = client(&[&server]);
    let limit_of = |error| match error {
        ClientError::ResponseTooLarge { limit } => limit,
        other => panic!("{other}"),
    };
    assert_eq!(
        limit_of(client.version().await.expect_err("too large")),
        1024
    );
    assert_eq!(
        limit_of(client.list_keys("x").await.expect_err("too large")),
        1 << 20
    );
}

#[tokio::test]
async fn logs_are_read_event_by_event() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let audit = [
        HEAD.to_owned(),
        chunk("{\"time\":\"t\",\"request\":{\"path\":\"/a\"},\"resp"),
        chunk("onse\":{\"code\":200,\"time\":7}}\n{\"time\":\"u\"}\n\n{\"ti"),
        chunk("me\":\"v\"}\n"),
        "0\r\n\r\n".to_owned(),
    ]
    .concat();
    let cut = [
        HEAD.to_owned(),
        chunk("{\"message\":\"m\"}\n{\"mess"),
        "0\r\n\r\n".to_owned(),
    ]
    .concat();
    let server = Server::start(move |_, request| match request.line.as_str() {
        "GET /v1/log/audit" => audit.clone().into_bytes(),
        _ => cut.clone().into_bytes(),
    })
    .await;
    let (client, _) = client(&[&server]);
    let mut log = client.audit_log().await.expect("a log");
    let first = log.next().await.expect("an event").expect("valid");
    assert_eq!(
        (
            &*first.request.path,
            first.response.code,
            first.response.time
        ),
        ("/a", 200, 7)
    );
    assert_eq!(
        log.next().await.expect("an event").expect("valid").time,
        "u"
    );
    assert_eq!(
        log.next().await.expect("an event").expect("valid").time,
        "v"
    );
    assert!(log.next().await.is_none() && log.next().await.is_none());

    let mut log = client.error_log().await.expect("a log");
    assert_eq!(
        log.next().await.expect("an event").expect("valid").message,
        "m"
    );
    let error = log.next().await.expect("an error").expect_err("cut off");
    assert_eq!(error.to_string(), "unexpected EOF");
    assert!(log.next().await.is_none());
}

#[tokio::test]
async fn a_refused_log_is_an_error() {
    let server = Server::start(|_, _| refusal(403, error::NOT_ALLOWED)).await;
    let (client, _) = client(&[&server]);
    let refused = client.audit_log().await.err().expect("refused");
    assert!(refused.is_api(403, error::NOT_ALLOWED));
}

#[tokio::test]
async fn the_certificate_is_presented_whatever_the_server_asks_for() {
    let server = Server::start(|_, _| json(200, "")).await;
    for _ in 0..2 {
        let key = ApiKey::generate().expect("a key");
        let identity = key.identity();
        let client = client_with(
            vec![server.address.to_string()],
            Credentials::ApiKey(key),
            Trust::Pinned(vec![server.certificate.clone()]),
            counted().0,
        );
        client.ready().await.expect("ready");
        let last = server.requests().pop().expect("a request");
        assert_eq!(last.identity, identity);
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_refused_unless_all_are_trusted() {
    let server = Server::start(|_, _| json(200, "{\"version\":\"v\"}")).await;
    let with_trust = |trust| {
        let endpoints = vec![format!("localhost:{}", server.address.port())];
        let (pause, pauses) = counted();
        (
            client_with(endpoints, Credentials::None, trust, pause),
            pauses,
        )
    };
    let (client, pauses) = with_trust(Trust::System);
    let refused = client.create_key("my-key").await.expect_err("unknown");
    assert_eq!(
        refused.to_string(),
        format!(
            "Post \"https://localhost:{}/v1/key/create/my-key\": tls: failed to verify certificate: \
             x509: certificate signed by unknown authority",
            server.address.port()
        )
    );
    assert_eq!(
        (server.lines().len(), pauses.load(Ordering::Relaxed)),
        (0, 0)
    );
    let (client, _) = with_trust(Trust::Insecure);
    assert_eq!(client.version().await.expect("any server").version, "v");
    let (client, _) = with_trust(Trust::Pinned(vec![server.certificate.clone()]));
    assert_eq!(
        client.version().await.expect("the pinned server").version,
        "v"
    );
}

#[tokio::test]
async fn pins_count_on_this_host_only() {
    let server = Server::start(|_, _| json(200, "{\"version\":\"v\"}")).await;
    let (mut client, _) = client(&[&server]);
    client.version().await.expect("on this host");
    let trust = Trust::Pinned(vec![server.certificate.clone()]);
    let tls = TlsConfigs::new(Credentials::None, trust).expect("settings");
    // From here on the server is treated as one that is elsewhere.
    let elsewhere = TlsConfigs {
        loopback: tls.remote.clone(),
        remote: tls.remote,
    };
    client.transport = Transport::new(elsewhere).expect("a transport");
    let refused = client.version().await.expect_err("pins do not count there");
    assert!(
        refused
            .to_string()
            .ends_with("x509: certificate signed by unknown authority")
    );
}

#[tokio::test]
async fn a_closed_port_is_reported_as_go_reports_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let (pause, pauses) = counted();
    let client = client_with(
        vec![address.to_string()],
        Credentials::None,
        Trust::Insecure,
        pause,
    );
    let refused = client.status().await.expect_err("closed");
    assert_eq!(
        refused.to_string(),
        format!(
            "kes: connection error: Get \"https://{address}/v1/status\": dial tcp {address}: connect: \
             connection refused"
        )
    );
    assert!(refused.is_connection());
    assert_eq!(pauses.load(Ordering::Relaxed), 2);
    assert_eq!(client.endpoints(), [format!("https://{address}")]);
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_is_down() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let clear = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("a client");
        let reply = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut tcp, reply)
            .await
            .expect("written");
        tcp // Open until the client has read.
    });
    let client = client_with(
        vec![address.to_string()],
        Credentials::None,
        Trust::Insecure,
        counted().0,
    );
    let refused = client.ready().await.expect_err("no TLS");
    assert_eq!(
        refused.to_string(),
        format!(
            "Get \"https://{address}/v1/ready\": tls: first record does not look like a TLS handshake"
        )
    );
    drop(clear.await.expect("the server"));
}

#[tokio::test]
async fn waits_between_tries_are_not_all_the_same() {
    let server = Server::start(|_, _| refusal(503, "not ready")).await;
    let times = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&times);
    let pause: Pause = Arc::new(move |time| {
        seen.lock().expect("no panic").push(time);
        Box::pin(async {})
    });
    let trust = Trust::Pinned(vec![server.certificate.clone()]);
    let client = client_with(
        vec![server.address.to_string()],
        Credentials::None,
        trust,
        pause,
    );
    for _ in 0..10 {
        client.ready().await.expect_err("503");
    }
    let times = times.lock().expect("no panic");
    assert_eq!(times.len(), 20);
    assert!(times.iter().any(|time| *time != times[0]));
}

//! SIGHUP under load: a good file takes effect, a bad or half-bad one changes nothing, and no
//! request fails meanwhile.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use crate::harness::certs::{identity, server_pem};
use crate::harness::http::{Dial, Lines, Request};
use crate::harness::load::Witness;
use crate::harness::server::{Run, Server, recorded_config};
use crate::harness::wait::{pace, poll};

const LIMIT: Duration = Duration::from_secs(20);

/// Policies under which the identity `unknown` may read the status.
fn with_unknown_allowed(config: &str) -> String {
    let policy = format!(
        "policy:\n  newcomer:\n    allow: [ /v1/status ]\n    identities: [ {} ]\n",
        identity("unknown")
    );
    config.replace("policy:\n", &policy)
}

async fn status_as(server: &Server, name: &str) -> u16 {
    Dial::named(server.port, name)
        .get("/v1/status")
        .await
        .expect("status")
        .status
}

/// Polls until `/v1/status` answers `name` with `wanted`.
async fn wait_for_status(server: &Server, name: &str, wanted: u16) {
    let deadline = Instant::now() + LIMIT;
    while status_as(server, name).await != wanted {
        assert!(
            Instant::now() < deadline,
            "{name} never got {wanted}:\n{}",
            server.stderr()
        );
        pace(Duration::from_millis(50)).await;
    }
}

/// Sends SIGHUP and waits until the server says that it refused the file.
fn reload_refused(server: &Server) -> String {
    let before = server.stderr().matches("Failed to ").count();
    server.signal(Signal::HUP);
    let refused = || {
        let text = server.stderr();
        (text.matches("Failed to ").count() > before).then_some(text)
    };
    poll(LIMIT, refused).unwrap_or_else(|| panic!("no refusal on stderr:\n{}", server.stderr()))
}

fn load(server: &Server) -> Vec<Witness> {
    (0..4)
        .map(|number| {
            let request = match number % 2 {
                0 => Request::new("PUT", "/v1/key/generate/predefined-key").body("{}"),
                _ => Request::new("GET", "/v1/key/describe/predefined-key"),
            };
            Witness::start(Dial::named(server.port, "admin"), request)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_bad_and_half_bad_files_under_load() {
    let run = Run::new();
    let config = recorded_config("http.yml");
    let server = Server::with_config(&run, "server.yml", config);
    let rewrite = |text: &str| run.write("server.yml", run.fill(text, server.port));
    let describe = Dial::named(server.port, "admin");
    let created_at = || async {
        describe
            .get("/v1/policy/describe/my-app")
            .await
            .expect("policy")
            .json()["created_at"]
            .clone()
    };
    let created_before = created_at().await;
    assert_eq!(status_as(&server, "unknown").await, 403);
    let load = load(&server);

    // Bad: not a configuration at all.
    rewrite("version: v1\naddress: [");
    reload_refused(&server);
    assert_eq!(status_as(&server, "unknown").await, 403);
    assert_eq!(status_as(&server, "app").await, 200);

    // Half-bad: a good new policy, and an identity in two policies.
    let twice = with_unknown_allowed(config).replace(&identity("ops"), &identity("app"));
    rewrite(&twice);
    let refusal = reload_refused(&server);
    assert!(refusal.contains("already has a policy"), "{refusal}");
    assert_eq!(
        status_as(&server, "unknown").await,
        403,
        "half of a bad file took effect"
    );

    // Half-bad: a good new policy, and a certificate that does not belong to the key.
    rewrite(&with_unknown_allowed(config).replace("{RUN}/server.key", "{RUN}/admin.key"));
    reload_refused(&server);
    assert_eq!(
        status_as(&server, "unknown").await,
        403,
        "half of a bad file took effect"
    );

    // Half-bad: a good new policy, and a key store that cannot be opened.
    run.write("a-file", "x");
    rewrite(&with_unknown_allowed(config).replace("{RUN}/hkeys", "{RUN}/a-file"));
    reload_refused(&server);
    assert_eq!(
        status_as(&server, "unknown").await,
        403,
        "half of a bad file took effect"
    );

    // Good, and back again.
    rewrite(&with_unknown_allowed(config));
    server.signal(Signal::HUP);
    wait_for_status(&server, "unknown", 200).await;
    rewrite(config);
    server.signal(Signal::HUP);
    wait_for_status(&server, "unknown", 403).await;
    assert_eq!(
        created_at().await,
        created_before,
        "reload must keep the start time"
    );

    for witness in load {
        witness
            .assert_served("load during reloads", Duration::from_secs(15))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_server_certificate_is_used_for_new_connections_only() {
    let run = Run::new();
    let server = Server::with_config(&run, "server.yml", recorded_config("http.yml"));
    let dial = Dial::named(server.port, "admin");
    let peer = |connection: &crate::harness::http::Connection| {
        let certificates = connection.stream.get_ref().1.peer_certificates();
        certificates
            .and_then(|list| list.first())
            .map(|first| first.to_vec())
            .expect("certificate")
    };
    let mut old = dial.connect().await.expect("connect");
    let before = peer(&old);
    let (certificate, key) = server_pem();
    run.write("server.crt", certificate);
    run.write("server.key", key);
    server.signal(Signal::HUP);
    let deadline = Instant::now() + LIMIT;
    while peer(&dial.connect().await.expect("connect")) == before {
        assert!(
            Instant::now() < deadline,
            "the old certificate is still served"
        );
        pace(Duration::from_millis(50)).await;
    }
    let answer = old
        .exchange(&Request::new("GET", "/v1/status"))
        .await
        .expect("old connection");
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_subscribers_stay_and_missing_predefined_keys_are_created() {
    let run = Run::new();
    let config = recorded_config("http.yml");
    let server = Server::with_config(&run, "server.yml", config);
    let dial = Dial::named(server.port, "admin");
    let mut stream = dial.connect().await.expect("connect");
    stream
        .send(b"GET /v1/log/audit HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    let head = stream
        .read_head(Instant::now() + LIMIT)
        .await
        .expect("head");
    assert_eq!(head.status, 200);

    let more = config.replace(
        "- name: predefined-key",
        "- name: predefined-key\n  - name: late",
    );
    run.write("server.yml", run.fill(&more, server.port));
    server.signal(Signal::HUP);
    let deadline = Instant::now() + LIMIT;
    while dial
        .get("/v1/key/describe/late")
        .await
        .expect("describe")
        .status
        != 200
    {
        assert!(
            Instant::now() < deadline,
            "the new predefined key was not created"
        );
        pace(Duration::from_millis(50)).await;
    }
    let create = Request::new("PUT", "/v1/key/create/after-reload");
    assert_eq!(dial.request(&create).await.expect("create").status, 200);
    let mut lines = Lines::default();
    let line = stream
        .next_line(&mut lines, Instant::now() + LIMIT)
        .await
        .expect("event");
    assert!(line.contains("/v1/key/create/after-reload"), "{line}");
}

//! A cluster of one node: a durable key management server of its own.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::certs::{api_key, decode_base64};
use crate::harness::http::{Dial, Request};
use crate::harness::load::Witness;
use crate::harness::lone::{draw_root_key, lone_cluster};
use crate::harness::server::{Run, Server, free_port, output_within};
use crate::harness::wait::wait_for;

const LIMIT: Duration = Duration::from_secs(20);

/// The key that is imported, to be looked for afterwards.
const CANARY: &str = "Q2FuYXJ5IGtleSBieXRlcywgZWFzeSB0byBmaW5kISE=";

async fn import_canary(dial: &Dial) {
    let body = json!({"key": CANARY, "cipher": "AES256"}).to_string();
    let request = Request::new("PUT", "/v1/key/import/canary").body(body);
    let answer = dial.request(&request).await.expect("import");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Every file below `directory` with its content.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("directory");
            open.extend(entries.map(|entry| entry.expect("entry").path()));
        } else {
            let content = std::fs::read(&path).expect("file");
            found.push((path.display().to_string(), content));
        }
    }
    found
}

fn holds(content: &[u8], part: &[u8]) -> bool {
    content.windows(part.len()).any(|window| window == part)
}

/// No byte of a key is in the data directory, in the logs or in the configuration's directory, and
/// the root key only in its own file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_nowhere_in_the_clear() {
    let run = Run::new();
    let config = lone_cluster(&run);
    let mut server = Server::with_config(&run, "server.yml", &config);
    let dial = Dial::named(server.port, "admin");
    import_canary(&dial).await;
    let describe = dial.get("/v1/key/describe/canary").await.expect("describe");
    assert_eq!(describe.status, 200);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_end(LIMIT).code(), Some(0));

    let raw = decode_base64(CANARY);
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let root = run.read("root.key");
    let root = root.trim();
    let secret = root.rsplit(':').next().expect("the key");
    let needles: [&[u8]; 5] = [
        &raw[..16],
        &raw[16..],
        &CANARY.as_bytes()[..20],
        hex.as_bytes(),
        secret.as_bytes(),
    ];
    let files = contents(run.dir());
    assert!(files.iter().any(|(_, content)| holds(content, b"canary")));
    for (path, content) in &files {
        for (number, needle) in needles.iter().enumerate() {
            let is_root_file = number == 4 && path.ends_with("root.key");
            assert!(
                is_root_file || !holds(content, needle),
                "{path}: needle {number}"
            );
        }
    }
}

/// What `kes server` says when it does not start.
fn refused(run: &Arc<Run>, config: &str) -> String {
    let port = free_port();
    run.write("refused.yml", run.fill(config, port));
    let address = format!("127.0.0.1:{port}");
    let args = ["server", "--config", "refused.yml", "--addr", &address];
    let output = output_within(&mut run.command(&args), LIMIT);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "a banner: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_root_key_is_refused_and_changes_nothing() {
    let run = Run::new();
    let config = lone_cluster(&run);
    let mut server = Server::with_config(&run, "server.yml", &config);
    import_canary(&Dial::named(server.port, "admin")).await;

    // Another one at a reload: the old one stays in use.
    draw_root_key(&run, "other.key");
    let other = config.replace("root.key", "other.key");
    run.write("server.yml", run.fill(&other, server.port));
    server.signal(Signal::HUP);
    wait_for("the refusal", LIMIT, || {
        server
            .stderr()
            .contains("Failed to update server configuration")
            .then_some(())
    });
    assert!(
        server.stderr().contains("which this node was not given"),
        "{}",
        server.stderr()
    );
    let dial = Dial::named(server.port, "admin");
    let request = Request::new("PUT", "/v1/key/generate/canary").body("{}");
    assert_eq!(dial.request(&request).await.expect("generate").status, 200);
    server.signal(Signal::TERM);
    assert_eq!(server.wait_end(LIMIT).code(), Some(0));

    // And at a start.
    let output = refused(&run, &other);
    assert!(output.contains("which this node was not given"), "{output}");
    let server = Server::with_config(&run, "server.yml", &config);
    let dial = Dial::named(server.port, "admin");
    assert_eq!(dial.request(&request).await.expect("generate").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_has_one_server() {
    let run = Run::new();
    let config = lone_cluster(&run);
    let _server = Server::with_config(&run, "server.yml", &config);
    // Its cluster port is another one: what is in the way is the directory.
    let (_, address) = config
        .split_once("address: 127.0.0.1:")
        .expect("an address");
    let (_, address) = address
        .split_once("address: 127.0.0.1:")
        .expect("the cluster's");
    let port: String = address.chars().take_while(char::is_ascii_digit).collect();
    let elsewhere = config.replace(&port, &free_port().to_string());
    let output = refused(&run, &elsewhere);
    assert!(output.contains("Error: cluster: "), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_yet_is_refused() {
    let run = Run::new();
    let config = lone_cluster(&run);
    let both = format!("{config}keystore:\n  fs:\n    path: {{RUN}}/keys\n");
    let output = refused(&run, &both);
    assert!(
        output.contains("use either `cluster` or `keystore`"),
        "{output}"
    );
}

/// A reload keeps the cluster, and what is in it; keys can be deleted and made again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_the_cluster() {
    let run = Run::new();
    let config = lone_cluster(&run);
    let server = Server::with_config(&run, "server.yml", &config);
    let dial = Dial::named(server.port, "admin");
    import_canary(&dial).await;
    let more = config.replace(
        "- name: predefined-key",
        "- name: predefined-key\n  - name: late",
    );
    run.write("server.yml", run.fill(&more, server.port));
    server.signal(Signal::HUP);
    wait_for("the reload", LIMIT, || {
        server
            .stdout()
            .contains("SIGHUP signal completed")
            .then_some(())
    });
    for name in ["canary", "late"] {
        // Predefined keys follow the reload.
        let path = format!("/v1/key/describe/{name}");
        let deadline = Instant::now() + LIMIT;
        while dial.get(&path).await.expect("describe").status != 200 {
            assert!(Instant::now() < deadline, "no key {name}");
        }
    }
    let delete = Request::new("DELETE", "/v1/key/delete/canary");
    assert_eq!(dial.request(&delete).await.expect("delete").status, 200);
    assert_eq!(dial.request(&delete).await.expect("again").status, 404);
    let generate = Request::new("PUT", "/v1/key/generate/canary").body("{}");
    assert_eq!(dial.request(&generate).await.expect("generate").status, 404);
    import_canary(&dial).await;
    assert_eq!(dial.request(&generate).await.expect("generate").status, 200);
}

/// What a client on the command line says, and gets told.
fn kes(server: &Server, args: &[&str]) -> Output {
    server.run.kes(server.port, &api_key("admin"), args)
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The root key is replaced while the server serves; afterwards nobody needs the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_root_key_can_be_rotated_and_then_deleted() {
    let run = Run::new();
    let config = lone_cluster(&run);
    let mut server = Server::with_config(&run, "server.yml", &config);
    let dial = Dial::named(server.port, "admin");
    import_canary(&dial).await;
    let mut connection = dial.connect().await.expect("connect");
    for number in 0..200 {
        let create = Request::new("PUT", &format!("/v1/key/create/many-{number}"));
        assert_eq!(
            connection.exchange(&create).await.expect("create").status,
            200
        );
    }
    let hmac = Request::new("PUT", "/v1/key/hmac/many-7").body("{}");
    let before = dial.request(&hmac).await.expect("hmac").json()["hmac"].clone();

    // There is nothing to rotate to yet.
    let nothing = kes(&server, &["cluster", "root-key", "rotate", "-k"]);
    assert!(!nothing.status.success());
    let complaint = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(complaint.contains("is in use already"), "{complaint}");

    // The new one first, the old one beside it.
    draw_root_key(&run, "new.key");
    let both = format!("{}{}", run.read("new.key"), run.read("root.key"));
    run.write("root.key", &both);
    server.signal(Signal::HUP);
    wait_for("the reload", LIMIT, || {
        server
            .stdout()
            .contains("SIGHUP signal completed")
            .then_some(())
    });
    let load = Witness::start(dial.clone(), hmac.clone());
    let rotated = json_of(&kes(&server, &["cluster", "root-key", "rotate", "-k"]));
    load.assert_served("during the rotation", LIMIT).await;
    assert_eq!(rotated["epoch"], 2, "{rotated}");
    // The 200, the canary, the predefined one.
    assert_eq!(rotated["resealed"], 202, "{rotated}");

    // Without the old one, from the disk.
    server.signal(Signal::TERM);
    assert_eq!(server.wait_end(LIMIT).code(), Some(0));
    run.write("root.key", run.read("new.key"));
    let server = Server::with_config(&run, "server.yml", &config);
    let dial = Dial::named(server.port, "admin");
    let mut connection = dial.connect().await.expect("connect");
    for number in 0..200 {
        let request = Request::new("PUT", &format!("/v1/key/generate/many-{number}")).body("{}");
        let answer = connection.exchange(&request).await.expect("generate");
        assert_eq!(answer.status, 200, "{number}: {}", answer.text());
    }
    let after = dial.request(&hmac).await.expect("hmac").json()["hmac"].clone();
    assert_eq!(before, after, "another key than before the rotation");
    let status = json_of(&kes(&server, &["cluster", "status", "--json", "-k"]));
    assert_eq!(status["root_key"]["epoch"], 2, "{status}");
    assert_eq!(status["root_key"]["rotating"], false, "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_shows_the_one_member() {
    let run = Run::new();
    let server = Server::with_config(&run, "server.yml", &lone_cluster(&run));
    let status = json_of(&kes(&server, &["cluster", "status", "--json", "-k"]));
    assert_eq!(status["health"], "healthy", "{status}");
    assert_eq!(status["leader"], "node1", "{status}");
    assert_eq!(status["keys"], 1, "{status}");
    assert_eq!(status["members"][0]["role"], "leader", "{status}");
    assert_eq!(status["members"][0]["voter"], true, "{status}");
    // For the admin alone, whatever a policy says; and a server without a cluster has no such route.
    let allowed_all = Dial::named(server.port, "allowall");
    let denied = allowed_all
        .get("/v1/cluster/status")
        .await
        .expect("an answer");
    assert_eq!(denied.status, 403, "{}", denied.text());
    let plain = Server::recorded("http.yml");
    let admin = Dial::named(plain.port, "admin");
    let none = admin.get("/v1/cluster/status").await.expect("an answer");
    assert_eq!(
        (none.status, none.text().as_str()),
        (404, "404 page not found\n")
    );
    let routes = admin.get("/v1/api").await.expect("routes");
    assert!(!routes.text().contains("/v1/cluster"), "{}", routes.text());
}

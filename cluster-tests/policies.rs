//! Policies and identities that are changed while a cluster serves.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{KeyPair, PKCS_ED25519};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::certs::{Credentials, api_key, identity, identity_of_key};
use crate::harness::cluster::Cluster;
use crate::harness::http::{Connection, Dial, Request, Response};
use crate::harness::lone::lone_cluster;
use crate::harness::server::{Run, Server};
use crate::harness::wait::{pace, wait_for};

const LIMIT: Duration = Duration::from_secs(20);

/// A client that the configuration does not know.
struct Stranger {
    credentials: Arc<Credentials>,
    identity: String,
}

impl Stranger {
    fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        Self {
            credentials: Credentials::of_key(&key),
            identity: identity_of_key(&key),
        }
    }

    fn dial(&self, port: u16) -> Dial {
        Dial::with(port, Arc::clone(&self.credentials))
    }

    async fn connect(&self, server: &Server) -> Connection {
        self.dial(server.port).connect().await.expect("connect")
    }

    /// Asks for a key that does not exist; the status.
    async fn describe(&self, port: u16) -> u16 {
        let answer = self.dial(port).get("/v1/key/describe/absent").await;
        answer.expect("an answer").status
    }
}

async fn admin(server: &Server) -> Connection {
    let dial = Dial::named(server.port, "admin");
    dial.connect().await.expect("connect")
}

async fn send(client: &mut Connection, request: &Request) -> Response {
    client.exchange(request).await.expect("an answer")
}

async fn get(client: &mut Connection, path: &str) -> Response {
    send(client, &Request::new("GET", path)).await
}

fn write(name: &str, body: impl ToString) -> Request {
    Request::new("POST", &format!("/v1/policy/write/{name}")).body(body.to_string())
}

fn assign(policy: &str, identity: &str) -> Request {
    let body = json!({ "identity": identity }).to_string();
    Request::new("POST", &format!("/v1/policy/assign/{policy}")).body(body)
}

fn delete_policy(name: &str) -> Request {
    Request::new("DELETE", &format!("/v1/policy/delete/{name}"))
}

fn delete_identity(identity: &str) -> Request {
    Request::new("DELETE", &format!("/v1/identity/delete/{identity}"))
}

#[track_caller]
fn assert_done(answer: &Response) {
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, ""),
        "{answer:?}"
    );
}

#[track_caller]
fn assert_refused(answer: &Response, status: u16, message: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.json()["message"], message);
}

/// Creates a key as `client`; the status.
async fn create(client: &mut Connection, name: &str) -> u16 {
    let request = Request::new("PUT", &format!("/v1/key/create/{name}"));
    send(client, &request).await.status
}

/// Every change holds for the next request, on connections that were open before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_holds_at_once() {
    let run = Run::new();
    let server = Server::with_config(&run, "server.yml", &lone_cluster(&run));
    let (mut admin, stranger) = (admin(&server).await, Stranger::new());
    let mut client = stranger.connect(&server).await;
    assert_eq!(create(&mut client, "a1").await, 403);

    let rules = json!({"allow": ["/v1/key/create/a*"], "deny": ["/v1/key/create/ab*"]});
    assert_done(&send(&mut admin, &write("creators", rules)).await);
    assert_eq!(create(&mut client, "a1").await, 403, "not assigned yet");
    assert_done(&send(&mut admin, &assign("creators", &stranger.identity)).await);
    assert_eq!(create(&mut client, "a1").await, 200);
    assert_eq!(create(&mut client, "ab").await, 403);
    assert_eq!(create(&mut client, "b1").await, 403);

    // As an older client writes it, over what was there.
    let older = json!({
        "Allow": ["/v1/key/create/b*"],
        "Deny": null,
        "Info": {"name": "", "created_at": "0001-01-01T00:00:00Z"},
    });
    assert_done(&send(&mut admin, &write("creators", older)).await);
    assert_eq!(create(&mut client, "a2").await, 403);
    assert_eq!(create(&mut client, "b1").await, 200);

    // Under another policy, as newer clients write it, and then under none.
    let newer = json!({"allow": {"/v1/key/create/c*": {}}});
    assert_done(&send(&mut admin, &write("others", newer)).await);
    assert_done(&send(&mut admin, &assign("others", &stranger.identity)).await);
    assert_eq!(create(&mut client, "b2").await, 403);
    assert_eq!(create(&mut client, "c1").await, 200);
    assert_done(&send(&mut admin, &delete_policy("creators")).await);
    assert_eq!(create(&mut client, "c2").await, 200);
    assert_done(&send(&mut admin, &delete_identity(&stranger.identity)).await);
    assert_eq!(create(&mut client, "c3").await, 403);

    // What deletes a policy takes it from everybody.
    assert_done(&send(&mut admin, &assign("others", &stranger.identity)).await);
    assert_eq!(create(&mut client, "c3").await, 200);
    assert_done(&send(&mut admin, &delete_policy("others")).await);
    assert_eq!(create(&mut client, "c4").await, 403);
    let gone = delete_identity(&stranger.identity);
    assert_refused(
        &send(&mut admin, &gone).await,
        404,
        "identity does not exist",
    );
}

async fn listed(client: &mut Connection, path: &str, member: &str) -> Vec<String> {
    let answer = get(client, path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let names = answer.json()[member].as_array().expect("a list").clone();
    let text = |name: Value| name.as_str().expect("a name").to_owned();
    names.into_iter().map(text).collect()
}

/// Descriptions and listings show both kinds, and who made what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_kinds_are_shown() {
    let run = Run::new();
    let server = Server::with_config(&run, "server.yml", &lone_cluster(&run));
    let (mut admin, stranger) = (admin(&server).await, Stranger::new());
    // By somebody whom a policy of the configuration allows it: it is not for the admin alone.
    let dial = Dial::named(server.port, "allowall");
    let mut allowed = dial.connect().await.expect("connect");
    let rules = json!({"allow": ["/v1/status", "/v1/a<b"]});
    assert_done(&send(&mut allowed, &write("late", rules)).await);
    assert_done(&send(&mut allowed, &assign("late", &stranger.identity)).await);
    let dial = Dial::named(server.port, "app");
    let denied = dial.request(&write("mine", "{}")).await.expect("an answer");
    assert_eq!(denied.status, 403, "{}", denied.text());

    let names = listed(&mut admin, "/v1/policy/list/*", "names").await;
    let expected = ["all", "late", "my-app", "my-ops", "no-rules", "unassigned"];
    assert_eq!(names, expected);
    let identities = listed(&mut admin, "/v1/identity/list/*", "identities").await;
    assert!(identities.contains(&stranger.identity), "{identities:?}");
    assert!(identities.contains(&identity("app")), "{identities:?}");

    let read = get(&mut admin, "/v1/policy/read/late").await.json();
    assert_eq!(read["allow"], json!({"/v1/status": {}, "/v1/a<b": {}}));
    assert_eq!(read["created_by"], identity("allowall"), "{read}");
    let configured = get(&mut admin, "/v1/policy/read/my-app").await.json();
    assert_eq!(configured["created_by"], identity("admin"), "{configured}");
    let path = format!("/v1/identity/describe/{}", stranger.identity);
    let described = get(&mut admin, &path).await.json();
    assert_eq!(described["policy"], "late", "{described}");
    assert_eq!(described["created_by"], identity("allowall"), "{described}");
    let mut client = stranger.connect(&server).await;
    let own = get(&mut client, "/v1/identity/self/describe").await.json();
    assert_eq!(own["allow"], read["allow"], "{own}");

    let status = get(&mut admin, "/v1/cluster/status").await.json();
    assert_eq!(
        (&status["policies"], &status["identities"]),
        (&json!(1), &json!(1)),
        "{status}"
    );
    let stdout = server.stdout();
    for message in [
        "policy 'late' written".to_owned(),
        format!("policy 'late' assigned to identity '{}'", stranger.identity),
    ] {
        assert!(stdout.contains(&message), "{message}\n{stdout}");
    }
}

/// What was answered survives a kill, and holds from the first request on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_nothing() {
    let run = Run::new();
    let config = lone_cluster(&run);
    let mut server = Server::with_config(&run, "server.yml", &config);
    let mut connection = admin(&server).await;
    let (kept, dropped) = (Stranger::new(), Stranger::new());
    let rules = json!({"allow": ["/v1/key/create/a*"]});
    assert_done(&send(&mut connection, &write("creators", rules)).await);
    for stranger in [&kept, &dropped] {
        assert_done(&send(&mut connection, &assign("creators", &stranger.identity)).await);
    }
    assert_done(&send(&mut connection, &delete_identity(&dropped.identity)).await);
    server.kill();

    let server = Server::with_config(&run, "server.yml", &config);
    let mut client = dropped.connect(&server).await;
    assert_eq!(create(&mut client, "a1").await, 403);
    let mut client = kept.connect(&server).await;
    assert_eq!(create(&mut client, "a1").await, 200);
}

/// What the configuration says is changed there alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_is_protected() {
    let run = Run::new();
    let server = Server::with_config(&run, "server.yml", &lone_cluster(&run));
    let (mut admin, stranger) = (admin(&server).await, Stranger::new());
    let policy =
        "policy 'my-app' is defined in the configuration file and can be changed only there";
    for request in [
        write("my-app", "{}"),
        assign("my-app", &stranger.identity),
        delete_policy("my-app"),
    ] {
        assert_refused(&send(&mut admin, &request).await, 409, policy);
    }
    assert_done(&send(&mut admin, &write("late", "{}")).await);
    let app = identity("app");
    let assigned = format!(
        "identity '{app}' is assigned in the configuration file and can be changed only there"
    );
    for request in [assign("late", &app), delete_identity(&app)] {
        assert_refused(&send(&mut admin, &request).await, 409, &assigned);
    }
    let dial = Dial::named(server.port, "allowall");
    let mut allowed = dial.connect().await.expect("connect");
    let root = identity("admin");
    assert_refused(
        &send(&mut allowed, &assign("late", &root)).await,
        400,
        "cannot assign policy to system admin",
    );
    assert_refused(
        &send(&mut admin, &assign("late", &root)).await,
        403,
        "identity cannot assign policy to itself",
    );
    assert_refused(
        &send(&mut admin, &delete_identity(&root)).await,
        400,
        "cannot delete system admin",
    );
    let mut client = Dial::named(server.port, "app")
        .connect()
        .await
        .expect("connect");
    assert_eq!(create(&mut client, "my-app-key").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_requests_change_nothing() {
    let run = Run::new();
    let server = Server::with_config(&run, "server.yml", &lone_cluster(&run));
    let (mut admin, stranger) = (admin(&server).await, Stranger::new());
    let id = &stranger.identity;
    let path = |name| format!("/v1/policy/assign/{name}");
    let to_nobody = |body: &str| Request::new("POST", &path("late")).body(body);
    let invalid = "invalid request body";
    let bad_name = "policy name 'a.b' is empty, too long or contains invalid characters";
    let bad_identity = "identity 'a.b' is empty, too long or contains invalid characters";
    let rules = json!({"allow": ["/v1/x".repeat(4000)]});
    for (request, status, message) in [
        (write("late", ""), 400, invalid),
        (write("late", "[]"), 400, invalid),
        (write("late", "{\"allow\":[1]}"), 400, invalid),
        (write("late", "{\"allow\":\"/v1/x\"}"), 400, invalid),
        (write("late", rules), 413, "policy is too large"),
        (write("a.b", "{}"), 400, bad_name),
        (assign("a.b", id), 400, bad_name),
        (assign("none", id), 404, "policy does not exist"),
        (assign("late", "a.b"), 400, bad_identity),
        (to_nobody("{}"), 400, "identity is unknown"),
        (to_nobody("{\"identity\":null}"), 400, "identity is unknown"),
        (to_nobody(""), 400, invalid),
        (to_nobody("{\"identity\":7}"), 400, invalid),
        (delete_policy("late"), 404, "policy does not exist"),
        (delete_policy("a.b"), 400, bad_name),
        (delete_identity(id), 404, "identity does not exist"),
        (delete_identity("a.b"), 400, bad_identity),
        (
            Request::new("PUT", "/v1/policy/write/late").body("{}"),
            405,
            "received method 'PUT' expected 'POST'",
        ),
    ] {
        assert_refused(&send(&mut admin, &request).await, status, message);
    }
    // What is over a limit is not read to its end, and ends the connection.
    for request in [
        write("late", " ".repeat((1 << 20) + 1)),
        to_nobody(&" ".repeat((1 << 10) + 1)),
    ] {
        let dial = Dial::named(server.port, "admin");
        let answer = dial.request(&request).await.expect("an answer");
        assert_refused(&answer, 400, invalid);
    }
    let names = listed(&mut admin, "/v1/policy/list/late*", "names").await;
    assert!(names.is_empty(), "{names:?}");
}

fn reload(server: &Server, config: &str) {
    let run = &server.run;
    run.write("server.yml", run.fill(config, server.port));
    let completed = "SIGHUP signal completed";
    let before = server.stdout().matches(completed).count();
    server.signal(Signal::HUP);
    wait_for("the reload", LIMIT, || {
        (server.stdout().matches(completed).count() > before).then_some(())
    });
}

/// A reload changes the policies of the configuration and no other; where both have a name, the
/// configuration's is in force, for its own identities only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_the_policies_of_the_cluster() {
    let run = Run::new();
    let config = lone_cluster(&run);
    let server = Server::with_config(&run, "server.yml", &config);
    let (mut admin, stranger) = (admin(&server).await, Stranger::new());
    let rules = json!({"allow": ["/v1/key/create/a*"]});
    assert_done(&send(&mut admin, &write("late", rules)).await);
    assert_done(&send(&mut admin, &assign("late", &stranger.identity)).await);
    let mut client = stranger.connect(&server).await;
    assert_eq!(create(&mut client, "a1").await, 200);

    let more = config.replace(
        "  unassigned:",
        "  early:\n    allow: [/v1/x]\n  unassigned:",
    );
    reload(&server, &more);
    let names = listed(&mut admin, "/v1/policy/list/*", "names").await;
    assert!(names.contains(&"early".to_owned()), "{names:?}");
    assert_eq!(create(&mut client, "a2").await, 200);

    let same = config.replace(
        "  unassigned:",
        "  late:\n    allow: [/v1/key/*]\n  unassigned:",
    );
    reload(&server, &same);
    assert_eq!(create(&mut client, "a3").await, 403);
    assert!(
        server
            .stderr()
            .contains("policies or identities of the cluster are not in force"),
        "{}",
        server.stderr()
    );
    reload(&server, &config);
    assert_eq!(create(&mut client, "a3").await, 200);
}

/// On several nodes: at once where it was asked for, soon everywhere, and on a node that was away
/// from its first answer on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_follow() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    let (near, far) = ((leader + 1) % 3, (leader + 2) % 3);
    let (kept, dropped) = (Stranger::new(), Stranger::new());
    let rules = json!({"allow": ["/v1/key/describe/*"]});
    let mut admin = cluster.nodes[near].dial().connect().await.expect("connect");
    assert_done(&send(&mut admin, &write("readers", rules)).await);
    for stranger in [&kept, &dropped] {
        assert_done(&send(&mut admin, &assign("readers", &stranger.identity)).await);
        let port = cluster.nodes[near].port;
        assert_eq!(stranger.describe(port).await, 404, "allowed at once");
    }
    for index in [leader, far] {
        until_describe(&kept, cluster.nodes[index].port, 404).await;
    }

    // Without the node that led.
    cluster.nodes[leader].kill();
    let path = format!("/v1/identity/delete/{}", dropped.identity);
    let deleted = cluster.nodes[near].call("DELETE", &path).await;
    assert_done(&deleted);
    assert_eq!(dropped.describe(cluster.nodes[near].port).await, 403);
    until_describe(&dropped, cluster.nodes[far].port, 403).await;
    cluster.nodes[leader].start();
    let port = cluster.nodes[leader].port;
    assert_eq!(dropped.describe(port).await, 403, "it caught up first");
    until_describe(&kept, port, 404).await;
}

/// Waits until `stranger` gets that status when it asks for a key that does not exist.
async fn until_describe(stranger: &Stranger, port: u16, status: u16) {
    let deadline = Instant::now() + LIMIT;
    while stranger.describe(port).await != status {
        assert!(Instant::now() < deadline, "not {status} on {port}");
        pace(Duration::from_millis(20)).await;
    }
}

/// The same on the command line, from a file and from standard input.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_changed_on_the_command_line() {
    let run = Run::new();
    let server = Server::with_config(&run, "server.yml", &lone_cluster(&run));
    let (one, other) = (Stranger::new(), Stranger::new());
    let kes = |args: &[&str]| {
        let output = run.kes(server.port, &api_key("admin"), args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        (output.status.code(), stdout, stderr)
    };
    let done = (Some(0), String::new(), String::new());
    run.write("late.json", r#"{"allow": ["/v1/key/create/a*"]}"#);
    assert_eq!(kes(&["policy", "create", "-k", "late", "late.json"]), done);
    let assigned = kes(&[
        "policy",
        "assign",
        "-k",
        "late",
        &one.identity,
        &other.identity,
    ]);
    assert_eq!(assigned, done);
    let mut client = other.connect(&server).await;
    assert_eq!(create(&mut client, "a1").await, 200);

    let (_, shown, _) = kes(&["policy", "show", "-k", "late"]);
    run.write("shown.json", &shown);
    let copied = run
        .command(&["policy", "create", "-k", "copy", "-"])
        .env("MINIO_KES_SERVER", format!("127.0.0.1:{}", server.port))
        .env("MINIO_KES_API_KEY", api_key("admin"))
        .stdin(std::fs::File::open(run.path("shown.json")).expect("a file"))
        .stdout(Stdio::null())
        .status();
    assert!(copied.expect("a client").success());
    let read = get(&mut admin(&server).await, "/v1/policy/read/copy").await;
    assert_eq!(read.json()["allow"], json!({"/v1/key/create/a*": {}}));

    assert_eq!(kes(&["identity", "rm", "-k", &one.identity]), done);
    assert_eq!(kes(&["policy", "rm", "-k", "late", "copy"]), done);
    assert_eq!(create(&mut client, "a2").await, 403);
    let refusal = |message: &str| (Some(1), String::new(), format!("Error: {message}\n"));
    assert_eq!(
        kes(&["policy", "rm", "-k", "late"]),
        refusal("failed to remove policy \"late\": policy does not exist")
    );
    assert_eq!(
        kes(&["identity", "rm", "-k", &other.identity]),
        refusal(&format!(
            "failed to remove identity \"{}\": identity does not exist",
            other.identity
        ))
    );
    run.write("wrong.json", r#"{"allow": [], "denny": []}"#);
    assert_eq!(
        kes(&["policy", "create", "-k", "late", "wrong.json"]),
        refusal("failed to read policy from \"wrong.json\": unknown member \"denny\"")
    );
}

/// A server without a cluster has no such routes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_are_routes_of_a_cluster() {
    let plain = Server::recorded("http.yml");
    let mut connection = admin(&plain).await;
    for request in [
        write("late", "{}"),
        assign("late", "ab"),
        delete_policy("late"),
        delete_identity("ab"),
        Request::new("POST", "/v1/policy/write"),
    ] {
        let answer = send(&mut connection, &request).await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (404, "404 page not found\n")
        );
    }
    let paths = [
        "/v1/policy/write/",
        "/v1/policy/assign/",
        "/v1/policy/delete/",
        "/v1/identity/delete/",
    ];
    let routes = get(&mut connection, "/v1/api").await.text();
    assert!(!paths.iter().any(|path| routes.contains(path)), "{routes}");

    let run = Run::new();
    let server = Server::with_config(&run, "server.yml", &lone_cluster(&run));
    let routes = get(&mut admin(&server).await, "/v1/api").await.text();
    assert!(paths.iter().all(|path| routes.contains(path)), "{routes}");
}

//! Backups of a cluster, and what becomes of them.

use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::certs::{api_key, decode_base64};
use crate::harness::cluster::Cluster;
use crate::harness::http::{Connection, Dial, Request, Response};
use crate::harness::lone::{draw_root_key, lone_cluster};
use crate::harness::server::{Run, Server};
use crate::harness::wait::{pace, wait_for};

const LIMIT: Duration = Duration::from_secs(30);

/// The key that is imported, to be looked for afterwards.
const CANARY: &str = "Q2FuYXJ5IGtleSBieXRlcywgZWFzeSB0byBmaW5kISE=";

/// What a piece of an upload has at most.
const PIECE: usize = 512 << 10;

/// A running cluster of one node, its root key included.
struct Lone {
    run: Arc<Run>,
    config: String,
    server: Server,
}

impl Lone {
    /// A new one without keys, under the root key `root`, or one of its own.
    fn new(root: Option<&str>) -> Self {
        let run = Run::new();
        let config = lone_cluster(&run).replace("keys:\n  - name: predefined-key\n", "");
        assert!(!config.contains("predefined-key"));
        if let Some(root) = root {
            run.write("root.key", root);
        }
        let server = Server::with_config(&run, "server.yml", &config);
        Self {
            run,
            config,
            server,
        }
    }

    fn root_key(&self) -> String {
        self.run.read("root.key")
    }

    fn dial(&self) -> Dial {
        Dial::named(self.server.port, "admin")
    }

    async fn connect(&self) -> Connection {
        self.dial().connect().await.expect("connect")
    }

    fn kes(&self, args: &[&str]) -> Output {
        self.run.kes(self.server.port, &api_key("admin"), args)
    }

    /// Saves a backup with the command line.
    fn save(&self) -> (PathBuf, Vec<u8>) {
        let path = self.run.path("cluster.backup");
        let saved = self.kes(&["cluster", "snapshot", "save", text(&path), "-k"]);
        assert!(saved.status.success(), "{saved:?}");
        let content = std::fs::read(&path).expect("backup");
        (path, content)
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> Response {
        let request = match body {
            "" => Request::new(method, path),
            body => Request::new(method, path).body(body),
        };
        self.dial().request(&request).await.expect("an answer")
    }

    async fn status(&self) -> Value {
        self.dial()
            .get("/v1/cluster/status")
            .await
            .expect("status")
            .json()
    }

    async fn import_canary(&self) {
        let body = json!({"key": CANARY, "cipher": "AES256"}).to_string();
        let answer = self.call("PUT", "/v1/key/import/canary", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    async fn hmac(&self, name: &str) -> Value {
        let answer = self
            .call("PUT", &format!("/v1/key/hmac/{name}"), "{}")
            .await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        answer.json()["hmac"].clone()
    }

    /// Creates `PREFIX-0`, `PREFIX-1` and so on, several at a time.
    async fn create_many(&self, prefix: &str, count: usize) {
        const CONNECTIONS: usize = 16;
        let creators = (0..CONNECTIONS).map(|first| {
            let (dial, prefix) = (self.dial(), prefix.to_owned());
            tokio::spawn(async move {
                let mut connection = dial.connect().await.expect("connect");
                for number in (first..count).step_by(CONNECTIONS) {
                    let path = format!("/v1/key/create/{prefix}-{number}");
                    let answer = connection.exchange(&Request::new("PUT", &path)).await;
                    assert_eq!(answer.expect("create").status, 200, "{path}");
                }
            })
        });
        for creator in creators.collect::<Vec<_>>() {
            creator.await.expect("creator");
        }
    }

    /// Stops it, and starts it again on the same disk with `config`.
    fn restart(self, config: &str) -> Self {
        let Self {
            run, mut server, ..
        } = self;
        if server.ended().is_none() {
            server.signal(Signal::TERM);
            assert_eq!(server.wait_end(LIMIT).code(), Some(0));
        }
        let config = config.to_owned();
        let server = Server::with_config(&run, "server.yml", &config);
        Self {
            run,
            config,
            server,
        }
    }
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("a path")
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn holds(content: &[u8], part: &[u8]) -> bool {
    content.windows(part.len()).any(|window| window == part)
}

async fn begin(connection: &mut Connection) -> Response {
    let begin = Request::new("POST", "/v1/cluster/restore/begin");
    connection.exchange(&begin).await.expect("begin")
}

async fn send_piece(
    connection: &mut Connection,
    id: &str,
    offset: usize,
    piece: &[u8],
) -> Response {
    let path = format!("/v1/cluster/restore/data/{id}/{offset}");
    let put = Request::new("PUT", &path).body(piece);
    connection
        .exchange(&put)
        .await
        .expect("an answer to a piece")
}

/// Begins a restore and sends all of `backup`.
async fn upload(connection: &mut Connection, backup: &[u8]) -> String {
    let begun = begin(connection).await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    let id = begun.json()["id"].as_str().expect("an id").to_owned();
    for (number, piece) in backup.chunks(PIECE).enumerate() {
        let answer = send_piece(connection, &id, number * PIECE, piece).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    id
}

fn commit(id: &str) -> Request {
    Request::new("POST", &format!("/v1/cluster/restore/commit/{id}"))
}

/// Uploads and commits.
async fn restore(connection: &mut Connection, backup: &[u8]) -> Response {
    let id = upload(connection, backup).await;
    connection.exchange(&commit(&id)).await.expect("commit")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_brings_everything_to_another_disk() {
    let old = Lone::new(None);
    old.import_canary().await;
    old.create_many("many", 400).await;
    let plaintext = json!({"plaintext": "aGVsbG8="}).to_string();
    let encrypted = old.call("PUT", "/v1/key/encrypt/many-7", &plaintext).await;
    let ciphertext = encrypted.json()["ciphertext"].clone();
    let names = ["canary", "many-0", "many-7", "many-399"];
    let mut hmacs = Vec::new();
    for name in names {
        hmacs.push(old.hmac(name).await);
    }
    let (_, content) = old.save();
    let raw = decode_base64(CANARY);
    for needle in [b"many-", b"canary".as_slice(), &raw[..12], &raw[20..]] {
        assert!(!holds(&content, needle), "{needle:?}");
    }

    // Another directory, the same root key; the old cluster is gone.
    let (root, cluster_id) = (old.root_key(), old.status().await["cluster_id"].clone());
    drop(old);
    let mut new = Lone::new(Some(&root));
    new.run.write("old.backup", &content);
    assert_ne!(new.status().await["cluster_id"], cluster_id);
    let command = ["cluster", "snapshot", "restore", "old.backup", "-k"];
    let restored = new.kes(&command);
    let expected = json!({"keys": 401, "policies": 0, "identities": 0});
    assert_eq!(json_of(&restored), expected);
    wait_for("the audit record", LIMIT, || {
        let log = new.server.stdout();
        log.contains("backup restored: 401 keys, 0 policies, 0 identities")
            .then_some(())
    });

    let config = new.config.clone();
    for restarted in [false, true] {
        if restarted {
            new = new.restart(&config);
        }
        assert_eq!(new.status().await["cluster_id"], cluster_id);
        assert_eq!(new.status().await["keys"], 401);
        for (name, hmac) in names.iter().zip(&hmacs) {
            assert_eq!(new.hmac(name).await, *hmac, "{name}, {restarted}");
        }
        let body = json!({"ciphertext": ciphertext}).to_string();
        let decrypted = new.call("PUT", "/v1/key/decrypt/many-7", &body).await;
        assert_eq!(
            decrypted.json()["plaintext"],
            "aGVsbG8=",
            "{}",
            decrypted.text()
        );
    }
    // It is a cluster as any other.
    new.create_many("later", 3).await;
    let again = new.kes(&command);
    assert!(!again.status.success());
    let complaint = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        complaint.contains("the cluster is not empty (keys: 404"),
        "{complaint}"
    );
    assert_eq!(new.status().await["keys"], 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_the_whole_backup_is_refused() {
    let old = Lone::new(None);
    old.import_canary().await;
    old.create_many("few", 20).await;
    let hmac = old.hmac("canary").await;
    let (_, backup) = old.save();

    let new = Lone::new(Some(&old.root_key()));
    let before = new.status().await;
    let mut connection = new.connect().await;
    let mut bad: Vec<(String, Vec<u8>)> = Vec::new();
    for length in [0, 1, 30, 60, 61, backup.len() / 2, backup.len() - 1] {
        bad.push((format!("cut at {length}"), backup[..length].to_vec()));
    }
    for place in [
        0,
        8,
        10,
        18,
        25,
        40,
        57,
        60,
        backup.len() / 2,
        backup.len() - 1,
    ] {
        let mut flipped = backup.clone();
        flipped[place] ^= 1;
        bad.push((format!("flipped at {place}"), flipped));
    }
    bad.push(("more".to_owned(), [&backup[..], b"x"].concat()));
    bad.push(("twice".to_owned(), [&backup[..], &backup[..]].concat()));
    for (what, content) in &bad {
        let answer = restore(&mut connection, content).await;
        assert!(
            (400..500).contains(&answer.status),
            "{what}: {}",
            answer.text()
        );
        assert!(
            answer.text().contains("backup"),
            "{what}: {}",
            answer.text()
        );
        let after = new.status().await;
        for same in ["cluster_id", "keys", "health", "applied"] {
            assert_eq!(before[same], after[same], "{what}: {same}");
        }
    }

    // Under another root key: it is named.
    let other = Lone::new(None);
    let answer = restore(&mut other.connect().await, &backup).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    let root_key = &old.status().await["root_key"]["key_id"];
    let named = root_key.as_str().expect("an id");
    assert!(answer.text().contains(named), "{named}: {}", answer.text());
    assert_eq!(other.status().await["keys"], 0);

    let answer = restore(&mut connection, &backup).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["keys"], 21);
    assert_eq!(new.hmac("canary").await, hmac);
}

/// The calls of an upload, one by one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_has_an_order() {
    let old = Lone::new(None);
    old.create_many("few", 5).await;
    let (_, backup) = old.save();
    let (first, rest) = backup.split_at(100);
    let new = Lone::new(Some(&old.root_key()));
    let mut connection = new.connect().await;

    let nobody = Dial::named(new.server.port, "allowall");
    let calls = [
        Request::new("GET", "/v1/cluster/snapshot"),
        Request::new("POST", "/v1/cluster/restore/begin"),
        commit("0"),
    ];
    for call in calls {
        let denied = nobody.request(&call).await.expect("an answer");
        assert_eq!(denied.status, 403, "{call:?}");
    }

    let replaced = upload(&mut connection, first).await;
    let id = upload(&mut connection, first).await;
    let zero = "0".repeat(32);
    for unknown in [&replaced, &zero, "x"] {
        assert_eq!(
            send_piece(&mut connection, unknown, 100, rest).await.status,
            404
        );
        let answer = connection.exchange(&commit(unknown)).await.expect("commit");
        assert_eq!(answer.status, 404, "{}", answer.text());
    }
    for (offset, piece, status) in [
        (0, first, 200),
        (200, rest, 409),
        (50, rest, 409),
        (0, &rest[..50], 409),
        (100, rest, 200),
        (100, rest, 200),
    ] {
        let answer = send_piece(&mut connection, &id, offset, piece).await;
        assert_eq!(answer.status, status, "{offset}: {}", answer.text());
    }
    let large = vec![0; PIECE + 1];
    let mut another = new.connect().await;
    assert_eq!(
        send_piece(&mut another, &id, backup.len(), &large)
            .await
            .status,
        400
    );
    let place = format!("/v1/cluster/restore/data/{id}/x");
    assert_eq!(new.call("PUT", &place, "x").await.status, 400);

    // What was uploaded has no name on the disk.
    let listed = std::fs::read_dir(new.run.path("data")).expect("a directory");
    for entry in listed {
        let name = entry.expect("entry").file_name();
        assert!(!name.to_string_lossy().contains("scratch"), "{name:?}");
    }
    let answer = connection.exchange(&commit(&id)).await.expect("commit");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let again = connection.exchange(&commit(&id)).await.expect("commit");
    assert_eq!(again.status, 404, "{}", again.text());
    let refused = begin(&mut connection).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
}

/// Commits, and kills the server as soon as the restore has begun. Whether it was still under way.
async fn killed_in_the_middle(new: &mut Lone, backup: &[u8]) -> bool {
    let mut connection = new.connect().await;
    let id = upload(&mut connection, backup).await;
    let mut watching = new.connect().await;
    let committed = tokio::spawn(async move { connection.exchange(&commit(&id)).await });
    loop {
        let status = Request::new("GET", "/v1/cluster/status");
        let status = watching.exchange(&status).await.expect("status").json();
        if status["health"] == "restoring" && status["keys"] != 0 {
            new.server.kill();
            return !committed
                .await
                .expect("commit")
                .is_ok_and(|answer| answer.status == 200);
        }
        if committed.is_finished() {
            return false;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_that_was_killed_is_repeated() {
    let old = Lone::new(None);
    old.import_canary().await;
    old.create_many("many", 2000).await;
    let hmac = old.hmac("canary").await;
    let (_, backup) = old.save();
    let root = old.root_key();

    let mut new = Lone::new(Some(&root));
    let mut attempts = 1;
    while !killed_in_the_middle(&mut new, &backup).await {
        assert!(
            attempts < 5,
            "each restore was over before it could be killed"
        );
        attempts += 1;
        new = Lone::new(Some(&root));
    }
    // With keys in the configuration: they have to wait.
    let config = new
        .config
        .replace("log:\n", "keys:\n  - name: predefined\nlog:\n");
    let new = new.restart(&config);
    let status = new.status().await;
    assert_eq!(status["health"], "restoring", "{status}");
    for (method, path, body) in [
        ("GET", "/v1/ready", ""),
        ("PUT", "/v1/key/generate/many-0", "{}"),
        ("PUT", "/v1/key/create/new", ""),
        ("DELETE", "/v1/key/delete/many-0", ""),
        ("GET", "/v1/key/list/*", ""),
        ("GET", "/v1/key/describe/nothing", ""),
        ("GET", "/v1/cluster/snapshot", ""),
    ] {
        let answer = new.call(method, path, body).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
    }

    let answer = restore(&mut new.connect().await, &backup).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["keys"], 2001);
    assert_eq!(new.hmac("canary").await, hmac);
    assert_eq!(new.call("GET", "/v1/ready", "").await.status, 200);
    let dial = new.dial();
    tokio::time::timeout(LIMIT, async {
        let path = "/v1/key/describe/predefined";
        while dial.get(path).await.expect("describe").status != 200 {
            pace(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("the predefined key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_writes_is_of_one_moment() {
    const WRITERS: usize = 4;
    let old = Lone::new(None);
    old.create_many("first", 300).await;
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged: Arc<[AtomicUsize; WRITERS]> = Arc::default();
    let writers = (0..WRITERS).map(|writer| {
        let (dial, stop) = (old.dial(), Arc::clone(&stop));
        let acknowledged = Arc::clone(&acknowledged);
        tokio::spawn(async move {
            let mut connection = dial.connect().await.expect("connect");
            while !stop.load(Ordering::Relaxed) {
                let number = acknowledged[writer].load(Ordering::SeqCst);
                let path = format!("/v1/key/create/w{writer}-{number}");
                let answer = connection.exchange(&Request::new("PUT", &path)).await;
                assert_eq!(answer.expect("create").status, 200, "{path}");
                acknowledged[writer].fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let seen = || [0, 1, 2, 3].map(|writer| acknowledged[writer].load(Ordering::SeqCst));
    wait_for("some writes", LIMIT, || {
        seen().iter().all(|count| *count > 3).then_some(())
    });
    let before = seen();
    let (_, backup) = old.save();
    let after = seen();
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.expect("a writer");
    }

    let new = Lone::new(Some(&old.root_key()));
    let answer = restore(&mut new.connect().await, &backup).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut total = 300;
    for writer in 0..WRITERS {
        let listed = new
            .call("GET", &format!("/v1/key/list/w{writer}-*"), "")
            .await;
        let names = listed.json()["names"].as_array().expect("names").len();
        // One more may have been made than was acknowledged.
        assert!(
            (before[writer]..=after[writer] + 1).contains(&names),
            "{names}: {before:?}, {after:?}"
        );
        for number in 0..names {
            new.hmac(&format!("w{writer}-{number}")).await;
        }
        total += names;
    }
    assert_eq!(answer.json()["keys"], total);
}

/// The root key that is current when a backup is made is the one that it needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_after_a_rotation_needs_the_new_root_key() {
    let old = Lone::new(None);
    old.import_canary().await;
    let hmac = old.hmac("canary").await;
    let first = old.root_key();
    draw_root_key(&old.run, "new.key");
    let second = old.run.read("new.key");
    old.run.write("root.key", format!("{second}{first}"));
    old.server.signal(Signal::HUP);
    wait_for("the reload", LIMIT, || {
        let log = old.server.stdout();
        log.contains("SIGHUP signal completed").then_some(())
    });
    let rotated = old.kes(&["cluster", "root-key", "rotate", "-k"]);
    assert_eq!(json_of(&rotated)["epoch"], 2);
    let (_, backup) = old.save();

    let without = Lone::new(Some(&first));
    let answer = restore(&mut without.connect().await, &backup).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    let new = Lone::new(Some(&format!("{first}{second}")));
    let answer = restore(&mut new.connect().await, &backup).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(new.hmac("canary").await, hmac);
    assert_eq!(new.status().await["root_key"]["epoch"], 2);
}

/// Through a node that does not lead; all have it then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_restored_into_several_nodes() {
    let mut cluster = Cluster::prepare(3);
    cluster.remove_predefined_keys();
    for node in &mut cluster.nodes {
        node.start();
    }
    for node in &cluster.nodes {
        node.until_ready().await;
    }
    let old = Lone::new(Some(&cluster.root_key));
    old.import_canary().await;
    old.create_many("many", 300).await;
    let hmac = old.hmac("canary").await;
    let (path, _) = old.save();

    let leader = cluster.leader().await;
    let follower = &cluster.nodes[(leader + 1) % 3];
    let restored = follower.kes(&["cluster", "snapshot", "restore", text(&path), "-k"]);
    assert_eq!(json_of(&restored)["keys"], 301);
    for node in &cluster.nodes {
        let list = node.call("GET", "/v1/key/list/many-29*").await;
        assert_eq!(list.json()["names"].as_array().map(Vec::len), Some(11));
        let answer = node.call("PUT", "/v1/key/hmac/canary").await;
        assert_eq!(answer.json()["hmac"], hmac, "{}", node.name);
    }
    // And saved again, through any of them.
    let again = follower.run.path("again.backup");
    let saved = follower.kes(&["cluster", "snapshot", "save", text(&again), "-k"]);
    assert!(saved.status.success(), "{saved:?}");
}

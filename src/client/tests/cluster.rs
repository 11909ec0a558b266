//! Calls about the cluster: what is sent, how often, to whom, and what becomes of files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::server::{Request, Server, answer, json};
use super::*;
use crate::wire::cluster::{ClusterHealth, JoinRequest, RESTORE_CHUNK_BYTES_MAX};

const SNAPSHOT: &str = "application/octet-stream";

/// What a server says that takes everything.
fn obliging(_: usize, request: &Request) -> Vec<u8> {
    match request.line.as_str() {
        "GET /v1/cluster/status" => json(200, "{\"node\":\"n1\",\"health\":\"degraded\"}\n"),
        "POST /v1/cluster/root-key/rotate" => {
            json(200, "{\"epoch\":2,\"key_id\":\"ab\",\"resealed\":9}\n")
        }
        "GET /v1/cluster/snapshot" => answer(200, SNAPSHOT, "sealed"),
        "POST /v1/cluster/restore/begin" => json(200, "{\"id\":\"a/7\"}\n"),
        "POST /v1/cluster/restore/commit/a%2F7" => {
            json(200, "{\"keys\":3,\"policies\":2,\"identities\":1}\n")
        }
        _ => answer(200, "text/plain", ""),
    }
}

/// An empty directory, and the names in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        std::fs::read_dir(self.0.path())
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

fn content(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file")
}

#[tokio::test]
async fn calls_are_sent_as_documented() {
    let server = Server::start(obliging).await;
    let (client, _) = client(&[&server]);
    let status = client.cluster_status().await.expect("status");
    assert_eq!(
        (&*status.node, status.health),
        ("n1", ClusterHealth::Degraded)
    );
    let request = JoinRequest {
        name: "n4".to_owned(),
        address: "h:7374".to_owned(),
        learner: false,
    };
    client.join_member(&request).await.expect("join");
    client.promote_member("n4").await.expect("promote");
    client.remove_member("a/b").await.expect("remove");
    client.leave_cluster().await.expect("leave");
    let rotation = client.rotate_root_key().await.expect("rotate");
    assert_eq!((rotation.epoch, rotation.resealed), (2, 9));
    assert_eq!(
        server.lines(),
        [
            "GET /v1/cluster/status",
            "POST /v1/cluster/join",
            "POST /v1/cluster/promote/n4",
            "POST /v1/cluster/remove/a%2Fb",
            "POST /v1/cluster/leave",
            "POST /v1/cluster/root-key/rotate",
        ]
    );
    let join = &server.requests()[1];
    assert!(join.head.contains("content-type: application/json"));
    assert_eq!(
        join.body,
        "{\"name\":\"n4\",\"address\":\"h:7374\",\"learner\":false}\n"
    );
    let refused = client.remove_member("..").await.expect_err("dots");
    assert!(refused.is_api(
        400,
        "member name '..' is empty, too long or contains invalid characters"
    ));
}

#[tokio::test]
async fn what_must_not_be_done_twice_is_asked_for_once() {
    let server = Server::start(|_, request| match request.line.as_str() {
        "POST /v1/cluster/leave" => refusal(503, "no leader"),
        _ => Vec::new(), // The connection breaks before there is an answer.
    })
    .await;
    let (client, pauses) = client(&[&server]);
    let refused = client.leave_cluster().await.expect_err("503");
    assert!(refused.is_api(503, "no leader"));
    let broken = client.rotate_root_key().await.expect_err("broken");
    assert!(broken.is_connection());
    assert_eq!(server.lines().len(), 2);
    assert_eq!(pauses.load(Ordering::Relaxed), 0);
    client.promote_member("n4").await.expect_err("broken");
    assert_eq!(server.lines().len(), 2 + 3, "this can be repeated");
}

#[tokio::test]
async fn of_several_servers_none_leaves_by_chance() {
    let first = Server::start(obliging).await;
    let second = Server::start(obliging).await;
    let (client, _) = client(&[&first, &second]);
    let refused = client.leave_cluster().await.expect_err("which one?");
    assert_eq!(
        refused.to_string(),
        "kes: this is for one server, but 2 are configured"
    );
    assert_eq!(first.lines().len() + second.lines().len(), 0);
}

#[tokio::test]
async fn of_several_servers_one_that_answers_rotates() {
    let down = Server::start(|_, _| refusal(500, "broken")).await;
    let up = Server::start(obliging).await;
    let (client, _) = client(&[&down, &up]);
    client.rotate_root_key().await.expect("rotate");
    assert!(
        !down
            .lines()
            .contains(&"POST /v1/cluster/root-key/rotate".to_owned())
    );
    assert_eq!(
        up.lines().last().map(String::as_str),
        Some("POST /v1/cluster/root-key/rotate")
    );
}

#[tokio::test]
async fn a_snapshot_becomes_a_file_of_its_owner() {
    let server = Server::start(obliging).await;
    let (client, _) = client(&[&server]);
    let place = Place::new();
    let path = place.file("backup");
    std::fs::write(&path, "older").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("changed");
    assert_eq!(client.save_snapshot(&path).await.expect("saved"), 6);
    assert_eq!(content(&path), "sealed");
    let mode = std::fs::metadata(&path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(place.names(), ["backup"]);
}

#[tokio::test]
async fn a_snapshot_that_is_none_leaves_the_older_file() {
    let server = Server::start(|count, _| match count {
        0 => b"HTTP/1.1 200 X\r\nContent-Type: application/octet-stream\r\n\
               Content-Length: 99\r\nConnection: close\r\n\r\nsea"
            .to_vec(),
        1 => answer(200, "text/html", "<html>"),
        2 => answer(200, SNAPSHOT, ""),
        _ => refusal(403, error::NOT_ALLOWED),
    })
    .await;
    let (client, _) = client(&[&server]);
    let place = Place::new();
    let path = place.file("backup");
    std::fs::write(&path, "older").expect("written");
    let mut problems = Vec::new();
    for _ in 0..4 {
        let failed = client.save_snapshot(&path).await.expect_err("no snapshot");
        problems.push(failed.to_string());
    }
    assert!(
        problems[0].starts_with("kes: connection error: Get "),
        "{problems:?}"
    );
    assert_eq!(
        problems[1..],
        [
            "kes: invalid server response: expected a snapshot, not 'text/html'",
            "EOF",
            "not authorized: insufficient permissions",
        ]
    );
    assert_eq!(content(&path), "older");
    assert_eq!(place.names(), ["backup"]);
}

#[tokio::test]
async fn a_snapshot_replaces_nothing_but_files() {
    let server = Server::start(obliging).await;
    let (client, _) = client(&[&server]);
    let place = Place::new();
    for (path, problem) in [
        (place.0.path().to_owned(), "not a regular file"),
        (PathBuf::from("/dev/null"), "not a regular file"),
        (place.file("no/backup"), "no such file or directory"),
    ] {
        let refused = client.save_snapshot(&path).await.expect_err(problem);
        let expected = format!("open {}: {problem}", path.display());
        assert_eq!(refused.to_string(), expected);
    }
    assert!(place.names().is_empty());
}

#[tokio::test]
async fn a_restore_sends_the_pieces_in_order() {
    let server = Server::start(obliging).await;
    let (client, _) = client(&[&server]);
    let place = Place::new();
    let path = place.file("backup");
    let text = "s".repeat(RESTORE_CHUNK_BYTES_MAX) + "rest";
    std::fs::write(&path, &text).expect("written");
    let summary = client.restore_snapshot(&path).await.expect("restored");
    assert_eq!(
        (summary.keys, summary.policies, summary.identities),
        (3, 2, 1)
    );
    assert_eq!(
        server.lines(),
        [
            "POST /v1/cluster/restore/begin",
            "PUT /v1/cluster/restore/data/a%2F7/0",
            "PUT /v1/cluster/restore/data/a%2F7/524288",
            "POST /v1/cluster/restore/commit/a%2F7",
        ]
    );
    let sent: String = server
        .requests()
        .into_iter()
        .map(|request| request.body)
        .collect();
    assert_eq!(sent, text);
}

#[tokio::test]
async fn a_restore_stays_with_the_server_that_began() {
    let down = Server::start(|_, _| refusal(500, "broken")).await;
    let up = Server::start(|count, request| match request.line.as_str() {
        // The first try of a piece fails; so does the commit, which is not tried again.
        "PUT /v1/cluster/restore/data/a%2F7/0" if count == 1 => Vec::new(),
        "POST /v1/cluster/restore/commit/a%2F7" => refusal(503, "no quorum"),
        _ => obliging(count, request),
    })
    .await;
    let (client, pauses) = client(&[&down, &up]);
    let place = Place::new();
    let path = place.file("backup");
    std::fs::write(&path, "sealed").expect("written");
    let failed = client.restore_snapshot(&path).await.expect_err("503");
    assert!(failed.is_api(503, "no quorum"));
    assert!(down.lines().len() <= 1);
    assert_eq!(up.lines().len(), 4);
    assert_eq!(pauses.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_cannot_be_a_backup_is_not_sent() {
    let server = Server::start(obliging).await;
    let (client, _) = client(&[&server]);
    let place = Place::new();
    std::fs::write(place.file("empty"), "").expect("written");
    for (path, expected) in [
        (place.file("none"), "open {}: no such file or directory"),
        (place.0.path().to_owned(), "read {}: not a regular file"),
        (place.file("empty"), "read {}: file is empty"),
    ] {
        let refused = client.restore_snapshot(&path).await.expect_err(expected);
        let expected = expected.replace("{}", &path.display().to_string());
        assert_eq!(refused.to_string(), expected);
    }
    assert!(server.lines().is_empty());
}

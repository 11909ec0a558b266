//! kill -9 in the middle of creates: what was acknowledged is there, and nothing half-written is
//! ever served.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use crate::harness::http::{Connection, Dial, Request};
use crate::harness::lone::lone_cluster;
use crate::harness::server::{Run, Server, recorded_config};
use crate::harness::wait::pace;
use crate::transcripts::strings;

const ROUNDS: usize = 20;
const CREATES: usize = 1000;
const CLIENTS: usize = 8;
/// A round ends when a client has waited this long.
const ROUND_LIMIT: Duration = Duration::from_secs(20);

/// Acknowledged keys: name → the HMAC of nothing, if it was asked for before the crash.
type Acked = HashMap<String, Option<Value>>;

/// Creates keys over several connections until the server is killed; after `kill_at` keys it is.
async fn create_until_killed(server: &mut Server, round: usize, kill_at: usize) -> Acked {
    let acked: Arc<Mutex<Acked>> = Arc::default();
    let count = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    let dial = Dial::named(server.port, "admin");
    for client in 0..CLIENTS {
        let (dial, acked, count) = (dial.clone(), Arc::clone(&acked), Arc::clone(&count));
        clients.spawn(async move {
            let Ok(mut connection) = dial.connect().await else {
                return;
            };
            for number in 0..CREATES / CLIENTS {
                let name = format!("r{round}-{client}-{number}");
                let create = Request::new("PUT", &format!("/v1/key/create/{name}"));
                match connection.exchange(&create).await {
                    Ok(answer) => assert_eq!(answer.status, 200, "{name}: {}", answer.text()),
                    // Killed: whether this one exists is unknown.
                    Err(_) => return,
                }
                acked.lock().expect("acked").insert(name.clone(), None);
                count.fetch_add(1, Ordering::Relaxed);
                if number % 8 == 0 {
                    let Ok(hmac) = hmac(&mut connection, &name).await else {
                        return;
                    };
                    acked.lock().expect("acked").insert(name, Some(hmac));
                }
            }
        });
    }
    let deadline = Instant::now() + ROUND_LIMIT;
    while count.load(Ordering::Relaxed) < kill_at && Instant::now() < deadline {
        pace(Duration::from_millis(1)).await;
        if let Some(ended) = clients.try_join_next() {
            // All creates done, or one was refused.
            ended.expect("client");
        }
    }
    server.kill();
    while let Some(ended) = clients.join_next().await {
        ended.expect("client");
    }
    let acked = acked.lock().expect("acked").clone();
    assert!(
        !acked.is_empty(),
        "round {round}: nothing was created before the kill"
    );
    acked
}

async fn hmac(connection: &mut Connection, name: &str) -> Result<Value, ()> {
    let request = Request::new("PUT", &format!("/v1/key/hmac/{name}")).body("{}");
    match connection.exchange(&request).await {
        Ok(answer) if answer.status == 200 => Ok(answer.json()["hmac"].clone()),
        Ok(answer) => panic!("hmac of {name}: {} {}", answer.status, answer.text()),
        Err(_) => Err(()),
    }
}

/// Every acknowledged key can be used and is the key it was; every listed name can be read.
async fn verify(server: &Server, acked: &Acked, pattern: &str) {
    let dial = Dial::named(server.port, "admin");
    let mut connection = dial.connect().await.expect("connect");
    let list = Request::new("GET", &format!("/v1/key/list/{pattern}"));
    let listing = connection.exchange(&list).await.expect("list");
    assert_eq!(listing.status, 200, "{pattern}: {}", listing.text());
    let listed: HashSet<String> = strings(&listing.json()["names"]).into_iter().collect();
    let mut wrong = Vec::new();
    for name in acked.keys().filter(|name| !listed.contains(*name)) {
        wrong.push(format!("{name}: acknowledged and not listed"));
    }
    for name in &listed {
        let request = Request::new("PUT", &format!("/v1/key/hmac/{name}")).body("{}");
        let answer = connection.exchange(&request).await.expect("hmac");
        let before = acked.get(name).and_then(Option::as_ref);
        if answer.status != 200 {
            wrong.push(format!("{name}: {} {}", answer.status, answer.text()));
        } else if before.is_some_and(|before| *before != answer.json()["hmac"]) {
            wrong.push(format!("{name}: another key than before the crash"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{pattern}: {} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledged_keys_survive_kill_9_in_20_rounds() {
    survive_kill_9(&Run::new(), recorded_config("http.yml")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledged_keys_of_a_cluster_of_one_survive_kill_9_in_20_rounds() {
    let run = Run::new();
    let config = lone_cluster(&run);
    survive_kill_9(&run, &config).await;
}

/// Kills a server on `config` again and again, and looks for what it had acknowledged.
async fn survive_kill_9(run: &Arc<Run>, config: &str) {
    let mut all = Acked::new();
    let mut server = Server::with_config(run, "server.yml", config);
    for round in 0..ROUNDS {
        // Early, late and in between, but not at the same place twice.
        let kill_at = 20 + (round * 97) % 240;
        let acked = create_until_killed(&mut server, round, kill_at).await;
        server = Server::with_config(run, "server.yml", config);
        verify(&server, &acked, &format!("r{round}-*")).await;
        all.extend(acked);
    }
    server.kill();
    let server = Server::with_config(run, "server.yml", config);
    verify(&server, &all, "r*").await;
    eprintln!("{} acknowledged keys in {ROUNDS} rounds", all.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_half_written_is_not_served() {
    let run = Run::new();
    // What a writer that is killed can leave: an empty file, and a prefix of a key.
    run.write("hkeys/empty", "");
    run.write("hkeys/prefix", "CiQKIAABAgMEBQYHCAkKCwwN");
    let server = Server::with_config(&run, "server.yml", recorded_config("http.yml"));
    let dial = Dial::named(server.port, "admin");
    for name in ["empty", "prefix"] {
        for verb in ["generate", "encrypt", "hmac"] {
            let request = Request::new("PUT", &format!("/v1/key/{verb}/{name}")).body("{}");
            let answer = dial.request(&request).await.expect("answer");
            assert_eq!(answer.status, 502, "{verb} {name}: {}", answer.text());
        }
    }
}

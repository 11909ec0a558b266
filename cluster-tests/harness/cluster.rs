//! A cluster of real processes.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::Instant;

use super::certs::api_key;
use super::http::{Dial, Request, Response};
use super::lone::draw_root_key;
use super::server::{Run, Server, free_port, recorded_config};
use super::wait::pace;

/// Time for a cluster to do what it should.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// One node: its place on the disk, and its process while there is one.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) run: Arc<Run>,
    config: String,
    /// Where clients reach it; the same after a restart.
    pub(crate) port: u16,
    pub(crate) cluster_port: u16,
    server: Option<Server>,
}

/// Nodes that share a root key.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root_key: String,
}

impl Node {
    /// Starts the process, or starts it again.
    pub(crate) fn start(&mut self) {
        let args = ["server", "--config", "server.yml", "--addr"].map(str::to_owned);
        let address = format!("127.0.0.1:{}", self.port);
        let args: Vec<String> = args.into_iter().chain([address]).collect();
        self.run
            .write("server.yml", self.run.fill(&self.config, self.port));
        self.server = Some(Server::try_start(&self.run, self.port, &args).expect("a node"));
    }

    pub(crate) fn server(&mut self) -> &mut Server {
        self.server.as_mut().expect("a running node")
    }

    pub(crate) fn kill(&mut self) {
        self.server().kill();
        self.server = None;
    }

    /// Stops it in an orderly way.
    pub(crate) fn stop(&mut self) {
        self.server().signal(Signal::TERM);
        let status = self.server().wait_end(LIMIT);
        assert_eq!(status.code(), Some(0), "{}", self.server().stderr());
        self.server = None;
    }

    pub(crate) fn is_running(&self) -> bool {
        self.server.is_some()
    }

    /// HTTP/1.1 as the admin.
    pub(crate) fn dial(&self) -> Dial {
        Dial::named(self.port, "admin")
    }

    pub(crate) async fn call(&self, method: &str, path: &str) -> Response {
        let request = Request::new(method, path).body("{}");
        let request = if method == "PUT" && !path.contains("/create/") {
            request
        } else {
            Request::new(method, path)
        };
        self.dial().request(&request).await.expect("an answer")
    }

    /// What `kes cluster status` tells.
    pub(crate) async fn status(&self) -> Option<Value> {
        let answer = self.dial().get("/v1/cluster/status").await.ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Runs `kes` as the admin against this node.
    pub(crate) fn kes(&self, args: &[&str]) -> std::process::Output {
        self.run.kes(self.port, &api_key("admin"), args)
    }

    /// Waits until the node answers `/v1/ready` with 200.
    pub(crate) async fn until_ready(&self) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answer = self.dial().get("/v1/ready").await;
            match answer {
                Ok(answer) if answer.status == 200 => return,
                other => assert!(
                    Instant::now() < deadline,
                    "{} is not ready: {other:?}",
                    self.name
                ),
            }
            pace(Duration::from_millis(20)).await;
        }
    }
}

impl Cluster {
    /// `count` founders, none of them running.
    pub(crate) fn prepare(count: usize) -> Self {
        let first = Run::new();
        draw_root_key(&first, "root.key");
        let root_key = first.read("root.key");
        let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
        let members: String = ports
            .iter()
            .enumerate()
            .map(|(index, port)| format!("    node{}: 127.0.0.1:{port}\n", index + 1))
            .collect();
        let mut cluster = Self {
            nodes: Vec::new(),
            root_key,
        };
        for (index, port) in ports.iter().enumerate() {
            cluster.add(&format!("node{}", index + 1), *port, &members);
        }
        cluster
    }

    /// Nothing is created by itself: a backup can be restored.
    pub(crate) fn remove_predefined_keys(&mut self) {
        for node in &mut self.nodes {
            node.config = node.config.replace("keys:\n  - name: predefined-key\n", "");
        }
    }

    /// One more node with this list of founders; not started.
    pub(crate) fn add(&mut self, name: &str, cluster_port: u16, members: &str) {
        let run = Run::new();
        run.write("root.key", &self.root_key);
        let (before, _) = recorded_config("http.yml")
            .split_once("keystore:")
            .expect("a keystore");
        let config = format!(
            "{before}cluster:\n  name: {name}\n  address: 127.0.0.1:{cluster_port}\n  \
             advertise: 127.0.0.1:{cluster_port}\n  path: {{RUN}}/data\n  root_key:\n    \
             file: {{RUN}}/root.key\n{}",
            if members.is_empty() {
                String::new()
            } else {
                format!("  members:\n{members}")
            }
        );
        self.nodes.push(Node {
            name: name.to_owned(),
            run,
            config,
            port: free_port(),
            cluster_port,
            server: None,
        });
    }

    /// `count` nodes, all running and ready.
    pub(crate) async fn start(count: usize) -> Self {
        let mut cluster = Self::prepare(count);
        for node in &mut cluster.nodes {
            node.start();
        }
        for node in &cluster.nodes {
            node.until_ready().await;
        }
        cluster
    }

    /// The index of the node that leads, by what a running one says.
    pub(crate) async fn leader(&self) -> usize {
        let deadline = Instant::now() + LIMIT;
        loop {
            for node in self.nodes.iter().filter(|node| node.is_running()) {
                let leader = node.status().await.map(|status| status["leader"].clone());
                let found = self.nodes.iter().position(|node| {
                    node.is_running() && leader.as_ref().is_some_and(|leader| *leader == *node.name)
                });
                if let Some(found) = found {
                    return found;
                }
            }
            assert!(Instant::now() < deadline, "nobody leads");
            pace(Duration::from_millis(50)).await;
        }
    }
}

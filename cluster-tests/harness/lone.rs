//! A cluster of one node: a server that keeps its keys itself.

use std::time::Duration;

use crate::harness::server::{Run, free_port, output_within, recorded_config};

/// Draws a root key for `run`, as `root.key`.
pub(crate) fn draw_root_key(run: &Run, file: &str) {
    let mut command = run.command(&["cluster", "root-key", "new", "--out", file]);
    let drawn = output_within(&mut command, Duration::from_secs(30));
    assert!(drawn.status.success(), "{drawn:?}");
}

/// The usual configuration with a cluster of one node in place of the keystore, and its root key
/// drawn.
pub(crate) fn lone_cluster(run: &Run) -> String {
    draw_root_key(run, "root.key");
    let usual = recorded_config("http.yml");
    let (before, _) = usual.split_once("keystore:").expect("a keystore");
    let port = free_port();
    format!(
        "{before}cluster:
  name: node1
  address: 127.0.0.1:{port}
  path: {{RUN}}/data
  root_key:
    file: {{RUN}}/root.key
  members:
    node1: 127.0.0.1:{port}
"
    )
}

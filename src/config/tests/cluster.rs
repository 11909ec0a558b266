//! The section `cluster`: what it means, and what is wrong with it, literally.

use std::path::Path;
use std::time::Duration;

use super::{FS, HEAD, error, parsed, with};
use crate::config::{ClusterConfig, KeystoreConfig, RootKeySource};

/// The section as it is documented, with every key.
const FULL: &str = "cluster:
  name: node1
  address: 10.0.0.1:7374
  advertise: node1.example.org:7374
  api: https://node1.example.org:7373/
  path: /var/lib/kes
  root_key:
    file: /etc/kes/root.key
  members:
    node2: node2.example.org:7374
    node1: node1.example.org:7374
    node3: ${NODE3}
  timing:
    heartbeat: 200ms
    election: 1s
  stale_reads: 0s
";

/// What every section needs.
const LEAST: &str = "name: n1, path: p, root_key: {value: '${PASSWORD}'}";

fn cluster(yaml: &str) -> ClusterConfig {
    let config = parsed(&format!("{HEAD}{yaml}"));
    config.cluster.expect("a cluster")
}

/// The error of a section with everything that it needs, and `more`.
fn problem(more: &str) -> String {
    problem_of(&format!("{LEAST}, {more}"))
}

fn problem_of(section: &str) -> String {
    let text = error(&format!("{HEAD}cluster: {{{section}}}\n"));
    match text.strip_prefix("kesconf: invalid cluster config: ") {
        Some(problem) => problem.to_owned(),
        None => panic!("{text}"),
    }
}

#[test]
fn the_documented_section_is_read_in_full() {
    let config = parsed(&format!("{HEAD}{}", FULL));
    assert_eq!(config.warnings, Vec::<String>::new());
    assert!(matches!(config.keystore, KeystoreConfig::Cluster));
    let cluster = config.cluster.expect("a cluster");
    assert_eq!(cluster.name, "node1");
    assert_eq!(cluster.address, "10.0.0.1:7374");
    assert_eq!(cluster.advertise, "node1.example.org:7374");
    assert_eq!(
        cluster.api.as_deref(),
        Some("https://node1.example.org:7373")
    );
    assert_eq!(cluster.path, Path::new("/var/lib/kes"));
    assert!(
        matches!(cluster.root_keys, RootKeySource::File(path) if path == Path::new("/etc/kes/root.key"))
    );
    let names: Vec<&str> = cluster.members.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["node2", "node1", "node3"]);
    assert_eq!(cluster.members[2].1, "node3:7374");
    assert_eq!(cluster.heartbeat, Duration::from_millis(200));
    assert_eq!(cluster.election, Duration::from_secs(1));
    assert_eq!(cluster.stale_reads, Duration::ZERO);
}

#[test]
fn most_of_it_can_be_left_out() {
    let cluster = cluster(&format!("cluster: {{{LEAST}, members: {{n1: 'h:1'}}}}\n"));
    assert_eq!(cluster.address, "0.0.0.0:7374");
    assert_eq!(cluster.advertise, "h:1");
    assert_eq!(cluster.api, None);
    assert!(
        matches!(cluster.root_keys, RootKeySource::Value(key) if key.expose() == "geheim"),
        "from the environment"
    );
    assert_eq!(cluster.heartbeat, Duration::from_millis(100));
    assert_eq!(cluster.election, Duration::from_millis(600));
    assert_eq!(cluster.stale_reads, Duration::from_secs(300));
}

#[test]
fn a_node_that_joins_later_knows_only_itself() {
    let cluster = cluster(&format!("cluster: {{{LEAST}, advertise: 'h:1'}}\n"));
    assert!(cluster.members.is_empty());
    assert_eq!(cluster.advertise, "h:1");
}

#[test]
fn a_cluster_may_stand_before_another_keystore() {
    let config = parsed(&with(&format!("cluster: {{{LEAST}, advertise: 'h:1'}}\n")));
    assert!(config.cluster.is_some());
    assert!(matches!(config.keystore, KeystoreConfig::Fs(_)));
    for nothing in ["", "cluster:\n", "cluster: ~\n"] {
        assert!(parsed(&with(nothing)).cluster.is_none());
        let missing = error(&format!("{HEAD}{nothing}"));
        assert_eq!(missing, "kesconf: no keystore specified");
    }
    let incomplete = error(&format!("{HEAD}{}cluster: {{}}\n", FS.replace("/keys", "")));
    assert_eq!(
        incomplete,
        "kesconf: invalid fs keystore: no path specified"
    );
}

#[test]
fn what_is_missing_is_named() {
    for (section, expected) in [
        ("", "cluster.name: not specified"),
        (
            "name: n1",
            "cluster.advertise: not specified, and 'cluster.members' has no 'n1'",
        ),
        (
            "name: n1, members: {n2: 'h:1'}",
            "cluster.advertise: not specified, and 'cluster.members' has no 'n1'",
        ),
        (
            "name: n1, members: {n1: }",
            "cluster.members.n1: not specified",
        ),
        ("name: n1, advertise: 'h:1'", "cluster.path: not specified"),
        (
            "name: n1, advertise: 'h:1', path: p",
            "cluster.root_key: neither 'file' nor 'value' specified",
        ),
        (
            "name: n1, advertise: 'h:1', path: p, root_key: {value: '${EMPTY}'}",
            "cluster.root_key: neither 'file' nor 'value' specified",
        ),
        (
            "name: n1, advertise: 'h:1', path: p, root_key: {file: f, value: v}",
            "cluster.root_key: both 'file' and 'value' specified",
        ),
    ] {
        assert_eq!(problem_of(section), expected, "{section}");
    }
}

#[test]
fn what_cannot_be_is_named() {
    let timing = |timing: &str| problem(&format!("advertise: 'h:1', timing: {{{timing}}}"));
    assert_eq!(
        problem_of("name: a.b"),
        "cluster.name: 'a.b' is too long or contains invalid characters"
    );
    for (more, expected) in [
        (
            "address: node1",
            "cluster.address: 'node1' is not of the form IP:PORT",
        ),
        (
            "advertise: ':7374'",
            "cluster.advertise: ':7374' is not of the form HOST:PORT",
        ),
        (
            "members: {n1: 'h:1', n2: h}",
            "cluster.members.n2: 'h' is not of the form HOST:PORT",
        ),
        (
            "members: {n1: 'h:1', n.2: 'h:2'}",
            "cluster.members: 'n.2' is empty, too long or contains invalid characters",
        ),
        (
            "members: {n1: 'h:1', n2: 'H:1'}",
            "cluster.members.n2: 'H:1' is the address of 'n1' already",
        ),
        (
            "members: {n1: 'h:1', n2: 'h:2'}, advertise: 'h:2'",
            "cluster.advertise: 'h:2' is the address of 'n2' already",
        ),
        (
            "advertise: 'h:1', api: 'http://h:7373'",
            "cluster.api: 'http://h:7373' is not of the form https://HOST[:PORT]",
        ),
        (
            "advertise: 'h:1', stale_reads: -1s",
            "cluster.stale_reads: '-1s' is negative",
        ),
    ] {
        assert_eq!(problem(more), expected, "{more}");
    }
    for (more, expected) in [
        (
            "heartbeat: -1s",
            "cluster.timing.heartbeat: '-1s' is negative",
        ),
        (
            "heartbeat: 0s",
            "cluster.timing.heartbeat: '0s' is less than 10ms",
        ),
        (
            "heartbeat: 201ms",
            "cluster.timing.election: '600ms' is less than three times the heartbeat of '201ms'",
        ),
        (
            "election: 299ms",
            "cluster.timing.election: '299ms' is less than three times the heartbeat of '100ms'",
        ),
    ] {
        assert_eq!(timing(more), expected, "{more}");
    }
}

#[test]
fn types_and_unknown_keys_are_told_with_their_lines() {
    let with_cluster = |section: &str| format!("{HEAD}cluster:\n{section}");
    for (section, expected) in [
        ("  [a]\n", "line 8: cannot unmarshal !!seq into cluster"),
        (
            "  members: [a]\n",
            "line 8: cannot unmarshal !!seq into cluster.members",
        ),
        (
            "  members: {n1: [a]}\n",
            "line 8: cannot unmarshal !!seq into string",
        ),
        (
            "  members:\n    n1: a\n    n1: b\n",
            "line 10: mapping key \"n1\" already defined at line 9",
        ),
        (
            "  timing: {heartbeat: 100}\n",
            "line 8: cannot unmarshal !!int `100` into time.Duration",
        ),
        // A root key that slipped to the left.
        (
            "  root_key: kes:root:v1:geheim\n",
            "line 8: cannot unmarshal !!str into cluster.root_key",
        ),
    ] {
        let expected = format!("yaml: unmarshal errors:\n  {expected}");
        assert_eq!(error(&with_cluster(section)), expected, "{section}");
    }
    let section = format!("{FULL}  Path: x\n  data: y\n");
    assert_eq!(
        parsed(&format!("{HEAD}{section}")).warnings,
        [
            "line 23: unknown key 'cluster.Path' is ignored: 'path' is known",
            "line 24: unknown key 'cluster.data' is ignored",
        ]
    );
    assert_eq!(
        error(&with_cluster("  name: ${MISSING}\n")),
        "kesconf: referenced env. variable 'MISSING' in line '8' not found"
    );
}

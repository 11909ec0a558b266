//! What can be typed, and what is printed: for people and for programs, against a stand-in server.

use super::*;
use crate::cli::args::Command;
use crate::cli::output::Palette;
use crate::cli::usage;
use crate::client::tests::server::{Server, answer, json};
use crate::client::{ClientConfig, Credentials, Trust};

const PIPE: Output = Output {
    terminal: false,
    palette: Palette::None,
};
const TERMINAL: Output = Output {
    terminal: true,
    palette: Palette::Ansi256,
};

const STATUS: &str = "{\"cluster_id\":\"c1\",\"node\":\"n1\",\"leader\":\"n1\",\"term\":7,\
    \"health\":\"degraded\",\"applied\":41,\"committed\":42,\"keys\":3,\"policies\":2,\
    \"identities\":1,\"root_key\":{\"epoch\":2,\"key_id\":\"ab12\",\"rotating\":true},\
    \"members\":[{\"name\":\"n1\",\"id\":\"1f\",\"address\":\"n1.example.org:7374\",\
    \"api\":\"https://n1.example.org:7373\",\"role\":\"leader\",\"voter\":true,\"applied\":42,\
    \"lag\":0,\"reachable\":true,\"version\":\"v\"},{\"name\":\"node-2\",\"id\":\"2f\",\
    \"address\":\"n2:7374\",\"api\":\"\",\"role\":\"learner\",\"voter\":false,\"applied\":9,\
    \"lag\":33,\"reachable\":false,\"version\":\"\"}]}\n";

fn command(line: &str) -> ClusterCommand {
    let words: Vec<_> = line.split(' ').map(Into::into).collect();
    match usage::parse(&words).map(|cli| cli.command) {
        Ok(Some(Command::Cluster { command })) => command,
        Ok(_) => panic!("{line}"),
        Err(failure) => panic!("{line}: {failure}"),
    }
}

/// What is wrong with the arguments of `line`.
fn complaint(line: &str) -> String {
    match Plan::of(&command(line)) {
        Ok(_) => "accepted".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

/// A client of `servers`, which it does not tell from others.
fn client(servers: &[&Server]) -> Client {
    let config = ClientConfig {
        endpoints: servers
            .iter()
            .map(|server| server.address.to_string())
            .collect(),
        credentials: Credentials::None,
        trust: Trust::Insecure,
    };
    Client::new(config).expect("a client")
}

/// What `line` prints if `server` is asked.
async fn printed(line: &str, server: &Server, output: &Output) -> Result<String, String> {
    let command = command(line);
    match Plan::of(&command) {
        Ok(Plan::Ask(_, request)) => request
            .perform(&client(&[server]), output)
            .await
            .map_err(|failure| failure.to_string()),
        _ => panic!("{line}"),
    }
}

#[test]
fn arguments_are_checked_before_anything_else() {
    for (line, message) in [
        (
            "status x",
            "too many arguments. See 'kes cluster status --help'",
        ),
        (
            "join",
            "no member name specified. See 'kes cluster join --help'",
        ),
        (
            "join n4",
            "no address specified. See 'kes cluster join --help'",
        ),
        (
            "join n4 h:7374 x",
            "too many arguments. See 'kes cluster join --help'",
        ),
        (
            "promote",
            "no member name specified. See 'kes cluster promote --help'",
        ),
        (
            "remove a b",
            "too many arguments. See 'kes cluster remove --help'",
        ),
        (
            "leave n1",
            "too many arguments. See 'kes cluster leave --help'",
        ),
        (
            "snapshot save",
            "no file specified. See 'kes cluster snapshot save --help'",
        ),
        (
            "snapshot restore a b",
            "too many arguments. See 'kes cluster snapshot restore --help'",
        ),
        (
            "root-key new k",
            "too many arguments. See 'kes cluster root-key new --help'",
        ),
        (
            "root-key rotate k",
            "too many arguments. See 'kes cluster root-key rotate --help'",
        ),
        ("root-key new --out k", "accepted"),
        ("snapshot save -k f", "accepted"),
        ("remove -e x n4", "accepted"),
    ] {
        assert_eq!(complaint(&format!("kes cluster {line}")), message, "{line}");
    }
}

#[test]
fn flags_may_stand_anywhere() {
    let command = command("kes cluster join n4 -k --learner h:7374 -s a:1,b:2");
    let Ok(Plan::Ask(flags, Request::Join(request))) = Plan::of(&command) else {
        panic!("not join");
    };
    assert_eq!(flags.server.as_deref(), Some("a:1,b:2"));
    assert!(flags.insecure.insecure);
    let expected = JoinRequest {
        name: "n4".to_owned(),
        address: "h:7374".to_owned(),
        learner: true,
    };
    assert_eq!(request, expected);
}

#[test]
fn unknown_commands_and_flags_are_named_with_their_help() {
    for (line, message) in [
        (
            "kes cluster create",
            "\"create\" is not a cluster command. See 'kes cluster --help'",
        ),
        (
            "kes cluster snapshot load",
            "\"load\" is not a snapshot command. See 'kes cluster snapshot --help'",
        ),
        (
            "kes cluster root-key rm",
            "\"rm\" is not a root-key command. See 'kes cluster root-key --help'",
        ),
        (
            "kes cluster status --short",
            "unknown flag: --short. See 'kes cluster status --help'",
        ),
        (
            "kes cluster snapshot save -x f",
            "unknown shorthand flag: 'x' in -x. See 'kes cluster snapshot save --help'",
        ),
        (
            "kes cluster root-key new --out",
            "flag needs an argument: --out. See 'kes cluster root-key new --help'",
        ),
    ] {
        let words: Vec<_> = line.split(' ').map(Into::into).collect();
        let failure = usage::parse(&words).err().expect(line);
        assert_eq!(failure.to_string(), message, "{line}");
    }
}

#[tokio::test]
async fn people_get_a_table() {
    let server = Server::start(|_, _| json(200, STATUS)).await;
    let plain = "● degraded
  Node       n1
  Cluster    c1
  Leader     n1, term 7
  Log        42 committed, 41 applied
  Root key   ab12, epoch 2, rotating
  Keys       3
  Policies   2
  Identities 1

  Member Role    Voter Address             Applied Lag Health
  n1     leader  yes   n1.example.org:7374 42      0   ok
  node-2 learner no    n2:7374             9       33  unreachable
";
    let line = "kes cluster status";
    assert_eq!(printed(line, &server, &PIPE).await.as_deref(), Ok(plain));
    let colored = printed(line, &server, &TERMINAL).await.expect("a status");
    assert!(colored.starts_with("\x1b[1;38;5;220m●\x1b[0m degraded\n"));
    assert!(colored.contains("\x1b[2m  Member Role    Voter"));
    assert!(colored.ends_with("33  \x1b[1;38;5;196munreachable\x1b[0m\n"));
    let never = printed("kes cluster status --color never", &server, &TERMINAL).await;
    assert_eq!(never.as_deref(), Ok(plain));
}

#[tokio::test]
async fn programs_get_the_json_of_the_server() {
    let server = Server::start(|_, _| json(200, STATUS)).await;
    let line = "kes cluster status --json";
    assert_eq!(printed(line, &server, &PIPE).await.as_deref(), Ok(STATUS));
    let indented = printed(line, &server, &TERMINAL).await.expect("a status");
    assert!(indented.starts_with("{\n  \"cluster_id\": \"c1\",\n  \"node\": \"n1\",\n"));
}

#[tokio::test]
async fn who_belongs_to_no_cluster_says_so_and_no_more() {
    let server =
        Server::start(|_, _| json(200, "{\"node\":\"n4\",\"health\":\"not a member\"}\n")).await;
    let text = printed("kes cluster status", &server, &PIPE).await;
    assert_eq!(text.as_deref(), Ok("● not a member\n  Node n4\n"));
}

#[tokio::test]
async fn changes_are_silent_and_refusals_say_what_was_tried() {
    let lines = [
        ("join n4 h:7374", "failed to admit member \"n4\": "),
        ("promote n4", "failed to promote member \"n4\": "),
        ("remove n4", "failed to remove member \"n4\": "),
        ("leave", "failed to leave the cluster: "),
        ("root-key rotate", "failed to rotate the root key: "),
        ("snapshot save /no/file", "failed to save snapshot: "),
        (
            "snapshot restore Cargo.toml",
            "failed to restore snapshot: ",
        ),
        ("status", ""),
    ];
    let refusing = Server::start(|_, _| json(409, "{\"message\":\"not now\"}")).await;
    for (line, context) in lines {
        let line = format!("kes cluster {line}");
        let failure = printed(&line, &refusing, &PIPE).await.expect_err(&line);
        assert_eq!(failure, format!("{context}not now"), "{line}");
    }
    let obliging = Server::start(|_, _| answer(200, "text/plain", "")).await;
    for (line, _) in &lines[..4] {
        let line = format!("kes cluster {line}");
        assert_eq!(
            printed(&line, &obliging, &TERMINAL).await.as_deref(),
            Ok("")
        );
    }
}

#[tokio::test]
async fn one_server_leaves_and_not_any() {
    let server = Server::start(|_, _| answer(200, "text/plain", "")).await;
    let client = client(&[&server, &server]);
    let failure = Request::Leave.perform(&client, &PIPE).await.err();
    assert_eq!(
        failure.map(|failure| failure.to_string()).as_deref(),
        Some("2 servers are configured. Name the one that leaves with '--server'")
    );
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn results_are_rows_for_people_and_json_for_programs() {
    let server = Server::start(|_, request| match request.line.as_str() {
        "POST /v1/cluster/root-key/rotate" => {
            json(200, "{\"epoch\":2,\"key_id\":\"ab\",\"resealed\":9}\n")
        }
        "GET /v1/cluster/snapshot" => answer(200, "application/octet-stream", "sealed"),
        "POST /v1/cluster/restore/begin" => json(200, "{\"id\":\"7\"}\n"),
        "POST /v1/cluster/restore/commit/7" => {
            json(200, "{\"keys\":3,\"policies\":2,\"identities\":1}\n")
        }
        _ => answer(200, "text/plain", ""),
    })
    .await;
    let people = Output {
        palette: Palette::None,
        ..TERMINAL
    };
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("backup").display().to_string();
    let (save, restore) = (
        format!("kes cluster snapshot save {file}"),
        format!("kes cluster snapshot restore {file}"),
    );
    for (line, for_people, for_programs) in [
        (
            "kes cluster root-key rotate",
            "  Root key ab\n  Epoch    2\n  Resealed 9\n".to_owned(),
            "{\"epoch\":2,\"key_id\":\"ab\",\"resealed\":9}\n",
        ),
        (&save, format!("Saved 6.0B to '{file}'\n"), ""),
        (
            &restore,
            format!("Restored '{file}'\n  Keys       3\n  Policies   2\n  Identities 1\n"),
            "{\"keys\":3,\"policies\":2,\"identities\":1}\n",
        ),
    ] {
        let text = printed(line, &server, &people).await;
        assert_eq!(text, Ok(for_people), "{line}");
        let text = printed(line, &server, &PIPE).await;
        assert_eq!(text.as_deref(), Ok(for_programs), "{line}");
    }
}

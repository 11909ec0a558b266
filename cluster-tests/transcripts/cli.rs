//! Replays the recorded command lines, in groups that do not depend on each other.

use std::collections::HashMap;
use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::cli_checks::{self, Got};
use super::http::{prepare, remove, setting};
use super::{Report, recorded, strings};
use crate::harness::certs::{IDS, api_key};
use crate::harness::http::{Dial, Request};
use crate::harness::pty::Terminal;
use crate::harness::server::{Run, Server, free_port, output_within};
use crate::harness::wait::poll;

const CASES: &str = include_str!("../data/cli.json");

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Commands between the recorded ones: case that follows, arguments, name of the kept output.
const STEPS: &[(&str, &[&str], &str)] = &[
    (
        "cli/identity-local/file-server2.crt",
        &[
            "identity",
            "new",
            "--key",
            "server2.key",
            "--cert",
            "server2.crt",
            "--ip",
            "127.0.0.1",
            "--dns",
            "localhost",
            "srv",
        ],
        "",
    ),
    (
        "cli/key/009-key-create-k-bad-name",
        &[
            "key", "create", "-k", "my-key", "my-key-1", "my-key-2", "my-app-1", "a1",
        ],
        "",
    ),
    (
        "cli/key/009-key-create-k-bad-name",
        &[
            "key",
            "import",
            "-k",
            "imported",
            "Xlnr/nOgAWE5cA7GAsl3L2goCvmfs6KE0gNgB1T93wE=",
        ],
        "",
    ),
    (
        "cli/key/047-key-decrypt-k-my-key-ct",
        &["key", "dek", "-k", "my-key"],
        "key/045-key-dek-k-my-key",
    ),
    (
        "cli/key/052-key-decrypt-k-my-key-ct-y29udgv4da",
        &["key", "dek", "-k", "my-key", "Y29udGV4dA=="],
        "key/050-key-dek-k-my-key-y29udgv4da",
    ),
    (
        "cli/key/058-key-decrypt-k-my-key-ct",
        &["key", "encrypt", "-k", "my-key", "Hello World"],
        "key/056-key-encrypt-k-my-key-hello-world",
    ),
];

struct Replay {
    run: Arc<Run>,
    servers: HashMap<&'static str, Server>,
    /// JSON outputs by name of the command.
    outputs: HashMap<String, Value>,
}

impl Replay {
    fn port_of(&self, case: &Value) -> u16 {
        let name = case["server"].as_str().unwrap_or("main");
        match self.servers.get(name) {
            Some(server) if case["port"].is_null() && case["files"].is_null() => server.port,
            _ => free_port(),
        }
    }

    /// Replaces `@{case.field}` by what the command printed.
    fn refer(&self, text: &str) -> String {
        let Some(reference) = text
            .split_once("@{")
            .and_then(|(_, rest)| rest.split_once('}'))
        else {
            return text.to_owned();
        };
        let (case, field) = reference.0.rsplit_once('.').expect("case.field");
        let value = self
            .outputs
            .get(case)
            .and_then(|output| output[field].as_str());
        let placeholder = format!("@{{{}}}", reference.0);
        text.replace(&placeholder, value.unwrap_or("<an earlier command failed>"))
    }

    /// The command of a case and its port.
    fn command(&self, case: &Value) -> (Command, u16) {
        let port = self.port_of(case);
        for (name, text) in case["files"].as_object().into_iter().flatten() {
            self.run
                .write(name, self.run.fill(text.as_str().expect("text"), port));
        }
        let fill = |text: &String| self.run.fill(&self.refer(text), port);
        let args: Vec<String> = strings(&case["args"]).iter().map(fill).collect();
        let mut command = self.run.command(&args);
        if let Some(name) = case["as"].as_str() {
            let known = IDS[name].is_object();
            command.env(
                "MINIO_KES_API_KEY",
                if known {
                    api_key(name)
                } else {
                    name.to_owned()
                },
            );
        }
        match case.get("endpoint") {
            None => {
                command.env("MINIO_KES_SERVER", format!("127.0.0.1:{port}"));
            }
            Some(endpoint) => {
                if let Some(endpoint) = endpoint.as_str() {
                    command.env("MINIO_KES_SERVER", endpoint);
                }
            }
        }
        for (name, value) in case["env"].as_object().into_iter().flatten() {
            command.env(name, value.as_str().expect("value"));
        }
        (command, port)
    }

    /// Runs the command of a case.
    fn execute(&self, case: &Value) -> Got {
        let (mut command, port) = self.command(case);
        let (exit, stdout, stderr) = match (case["tty"] == true, case["sigint"].is_number()) {
            (true, _) => self.on_terminal(case, &mut command),
            (false, true) => self.interrupted(case, &mut command),
            (false, false) => {
                let output = output_within(&mut command, LIMIT);
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (
                    output.status.code(),
                    text(&output.stdout),
                    text(&output.stderr),
                )
            }
        };
        Got {
            exit,
            stdout,
            stderr,
            port,
        }
    }

    fn on_terminal(&self, case: &Value, command: &mut Command) -> (Option<i32>, String, String) {
        let mut terminal = Terminal::spawn(command);
        for (number, text) in strings(&case["typed"]).iter().enumerate() {
            let prompts = || terminal.shown().matches("password for private key").count();
            poll(LIMIT, || (prompts() > number).then_some(()));
            terminal.type_in(text);
        }
        if case["sigint"].is_number() {
            self.interrupt(case, &terminal.child, || terminal.shown());
        }
        let exit = end_of(&mut terminal.child);
        (exit, terminal.finish(), String::new())
    }

    fn interrupted(&self, case: &Value, command: &mut Command) -> (Option<i32>, String, String) {
        let file = |name: &str| File::create(self.run.path(name)).expect("file");
        let mut child = command
            .stdout(file("command.out"))
            .stderr(file("command.err"))
            .spawn()
            .expect("start kes");
        self.interrupt(case, &child, || self.run.read("command.out"));
        let exit = end_of(&mut child);
        (
            exit,
            self.run.read("command.out"),
            self.run.read("command.err"),
        )
    }

    /// Waits until the command has shown what it is there for, then sends SIGINT.
    fn interrupt(&self, case: &Value, child: &Child, shown: impl Fn() -> String) {
        let activity = case["activity"] == true;
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        let done = |text: &str| match case["args"][0].as_str() {
            Some("metric") if case["tty"] == true => text.matches("System").count() >= 2,
            Some("metric") => text.lines().count() >= 2,
            Some("server") => text.contains("up and running"),
            _ => text.contains("/v1/key/encrypt/my-key"),
        };
        poll(Duration::from_secs(12), || {
            if activity {
                let dial = Dial::named(self.servers["main"].port, "admin");
                let broken = Request::new("PUT", "/v1/key/encrypt/my-key").body("{bad");
                let answer = runtime.block_on(dial.request(&broken));
                assert_eq!(answer.expect("answer").status, 400);
            }
            done(&shown()).then_some(())
        });
        // It may have ended by itself, which the comparison will show.
        let _ = kill_process(Pid::from_child(child), Signal::INT);
    }

    fn compare(&mut self, case: &Value, report: &mut Report) {
        let name = case["name"].as_str().expect("name");
        if let Some(port) = case["nothing_at"].as_u64() {
            let port = u16::try_from(port).expect("port");
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                eprintln!("{name}: left out, something listens on port {port}");
                return;
            }
        }
        if case["before"][0] == "rm" {
            remove(&self.run, case["before"][1].as_str().expect("path"));
        }
        if case["kind"] == "file" {
            let path = self.run.path(case["file"].as_str().expect("file"));
            report.check(name, cli_checks::file(case, &path));
            return;
        }
        let got = self.execute(case);
        if let Ok(json) = serde_json::from_str(&got.stdout) {
            self.outputs
                .insert(name.trim_start_matches("cli/").to_owned(), json);
        }
        let fill = |text: &str| self.run.fill(&self.refer(text), got.port);
        for (name, expectation) in case["expectations"].as_object().expect("expectations") {
            report.check(name, cli_checks::compare(case, expectation, &got, fill));
        }
    }

    /// Runs the commands that precede `case`.
    fn steps_before(&mut self, case: &str) {
        for (_, args, keep) in STEPS.iter().filter(|(name, _, _)| *name == case) {
            let port = self.servers.get("main").map_or(1, |server| server.port);
            let output = self.run.kes(port, &api_key("admin"), args);
            assert!(output.status.success(), "{args:?}: {output:?}");
            let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
            self.outputs.insert((*keep).to_owned(), json);
        }
    }
}

/// The exit code of a command that has to end soon.
fn end_of(child: &mut Child) -> Option<i32> {
    let status = poll(LIMIT, || child.try_wait().expect("wait"));
    if status.is_none() {
        let _ = child.kill();
    }
    child.wait().expect("wait").code()
}

fn replay(groups: &[&str], servers: &[&'static str]) {
    let run = Run::new();
    let mut started = HashMap::new();
    for name in servers {
        let (setting, config) = setting("cli", name);
        prepare(&run, setting);
        started.insert(
            *name,
            Server::with_config(&run, &format!("{name}.yml"), config),
        );
    }
    let mut replay = Replay {
        run,
        servers: started,
        outputs: HashMap::new(),
    };
    let mut report = Report::default();
    for case in recorded(CASES) {
        let name = case["name"].as_str().expect("name").to_owned();
        if groups
            .iter()
            .any(|group| name.starts_with(&format!("cli/{group}/")))
        {
            replay.steps_before(&name);
            replay.compare(&case, &mut report);
        }
    }
    report.finish();
}

#[test]
fn cli_usage_and_environment() {
    replay(&["usage", "env"], &[]);
}

#[test]
fn cli_local_identities() {
    replay(&["identity-local"], &[]);
}

#[test]
fn cli_server_errors() {
    replay(&["server-errors"], &[]);
}

#[test]
fn cli_server_and_completion() {
    replay(&["server", "completion"], &[]);
}

#[test]
fn cli_against_a_server() {
    let groups = [
        "key",
        "ls",
        "identity",
        "policy",
        "status",
        "policy-enforcement",
        "metric",
        "log",
        "migrate",
    ];
    replay(&groups, &["main"]);
}

#[test]
fn cli_long_listings_and_a_lost_store() {
    replay(&["pagination", "extra"], &["page", "lost"]);
}

#[test]
fn every_recorded_command_belongs_to_a_group_that_is_replayed() {
    let groups = [
        "usage",
        "env",
        "identity-local",
        "server-errors",
        "server",
        "completion",
        "key",
        "ls",
        "identity",
        "policy",
        "status",
        "policy-enforcement",
        "metric",
        "log",
        "migrate",
        "pagination",
        "extra",
    ];
    let mut left: Vec<String> = Vec::new();
    for case in recorded(CASES) {
        let name = case["name"].as_str().expect("name");
        let group = name.split('/').nth(1).expect("group");
        if !groups.contains(&group) {
            left.push(name.to_owned());
        }
    }
    assert!(left.is_empty(), "never replayed: {left:?}");
    let names: Vec<String> = recorded(CASES)
        .iter()
        .map(|case| case["name"].as_str().expect("name").into())
        .collect();
    for (case, _, _) in STEPS {
        assert!(
            names.iter().any(|name| name == case),
            "a step before {case}, which is not there"
        );
    }
}

/// The comparison itself: the recorded outputs compare equal with themselves, and where a defect
/// was recorded they do not.
#[test]
fn recorded_outputs_compare_equal_with_themselves() {
    let run = Run::new();
    let mut report = Report::default();
    for case in recorded(CASES)
        .iter()
        .filter(|case| case["got"]["stdout"].is_string())
    {
        let text = |stream: &str| run.fill(case["got"][stream].as_str().unwrap_or(""), 1);
        let got = Got {
            exit: case["got"]["exit"]
                .as_i64()
                .and_then(|code| code.try_into().ok()),
            stdout: text("stdout"),
            stderr: text("stderr"),
            port: 1,
        };
        // References stand for what was recorded here.
        let json: Value = serde_json::from_str(&got.stdout).unwrap_or_default();
        let fill = |text: &str| match text.split_once("@{") {
            Some((before, rest)) => {
                let after = rest
                    .split_once('}')
                    .map(|(_, after)| after)
                    .unwrap_or_default();
                format!(
                    "{before}{}{after}",
                    json["plaintext"].as_str().unwrap_or("")
                )
            }
            None => run.fill(text, 1),
        };
        for (name, expectation) in case["expectations"].as_object().expect("expectations") {
            let result = cli_checks::compare(case, expectation, &got, fill);
            match (expectation["class"] == "intended-difference", result) {
                (true, Ok(())) => report.check(name, Err("a recorded defect passes".to_owned())),
                (true, Err(_)) => report.check(name, Ok(())),
                (false, result) => report.check(name, result),
            }
        }
    }
    report.finish();
}

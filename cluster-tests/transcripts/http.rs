//! Replays the recorded HTTP exchanges, one server configuration per test.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::checks::{self, Got};
use super::exchange::{Steps, request_of};
use super::{Report, recorded, strings, tls};
use crate::harness::certs::Credentials;
use crate::harness::http::{Dial, End, Lines, Request};
use crate::harness::server::{Run, Server, recorded_config};

const CASES: &str = include_str!("../data/http.json");

static SERVERS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/servers.json")).expect("servers"));

/// A replay against one server.
pub(super) struct Replay {
    pub(super) server: Server,
    pub(super) known: Known,
    clients: HashMap<String, Arc<Credentials>>,
}

/// What earlier cases answered.
#[derive(Default)]
pub(super) struct Known {
    /// JSON answers by the name of the case without its leading `http/`.
    pub(super) answers: HashMap<String, Value>,
    /// Metrics that a later case compares with.
    pub(super) metrics: HashMap<String, HashMap<String, f64>>,
}

impl Known {
    /// Replaces `@{case.field}` by what the case answered.
    pub(super) fn refer(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("@{") {
            filled.push_str(&rest[..start]);
            let end = start + rest[start..].find('}').expect("end of a reference");
            let (case, field) = rest[start + 2..end].rsplit_once('.').expect("case.field");
            let value = self.answers.get(case).map(|answer| &answer[field]);
            let value = value.and_then(Value::as_str);
            filled.push_str(value.unwrap_or("<an earlier case failed>"));
            rest = &rest[end + 1..];
        }
        filled.push_str(rest);
        filled
    }
}

impl Replay {
    /// How the recorded client `name` (or nobody) connects.
    pub(super) fn dial(&mut self, name: Option<&str>) -> Dial {
        match name {
            None => Dial::anonymous(self.server.port),
            Some(name) => {
                let made = self.clients.entry(name.to_owned());
                let client = made.or_insert_with(|| Credentials::named(name));
                Dial::with(self.server.port, Arc::clone(client))
            }
        }
    }

    async fn compare(&mut self, case: &Value, report: &mut Report) {
        let name = case["name"].as_str().expect("name");
        if case["before"][0] == "rm" {
            remove(&self.server.run, case["before"][1].as_str().expect("path"));
        }
        match case["kind"].as_str() {
            Some("raw") => self.raw(case, report).await,
            Some("page") => {
                let answer = self
                    .dial(case["as"].as_str())
                    .get(&field(case, "path"))
                    .await;
                report.check(name, checks::page(&case["got"], answer));
            }
            Some("keyfile") => {
                let file = self.server.run.path(&field(case, "file"));
                report.check(name, checks::key_file(&case["expectations"][name], &file));
            }
            Some("s_client") => {
                report.check(name, tls::compare(self.server.port, case).await);
            }
            Some(other) => panic!("unknown kind {other}"),
            None if case["stream"].is_number() => self.stream(case, report).await,
            None => self.exchange(case, report).await,
        }
    }

    async fn exchange(&mut self, case: &Value, report: &mut Report) {
        let dial = self.dial(case["as"].as_str());
        let dial = match case["curl"][0].as_str() {
            Some("--tls-max") => dial.tls12(),
            _ => dial,
        };
        let request = request_of(case, |text| self.known.refer(text));
        let answer = match case["h2"].as_bool() {
            Some(true) => dial.h2_request(&request).await,
            _ => dial.request(&request).await,
        };
        let name = field(case, "name");
        if let Ok(response) = &answer {
            self.known
                .answers
                .insert(name.trim_start_matches("http/").to_owned(), response.json());
        }
        let got = Got {
            answer,
            port: self.server.port,
        };
        for (name, expectation) in case["expectations"].as_object().expect("expectations") {
            report.check(name, checks::compare(&self.known, case, expectation, &got));
        }
    }

    async fn raw(&mut self, case: &Value, report: &mut Report) {
        let name = case["name"].as_str().expect("name");
        let dial = self.dial(case["as"].as_str()).alpn(&[]);
        let wait = Duration::from_secs_f64(case["wait"].as_f64().expect("wait"));
        let result = match dial.connect().await {
            Err(end) => Err(format!("no connection: {end}")),
            Ok(mut connection) => {
                let began = Instant::now();
                connection.send(field(case, "send").as_bytes()).await;
                let (responses, end) = connection.read_all(began + wait).await;
                let seconds = began.elapsed().as_secs_f64();
                let admin = self.dial(Some("admin"));
                let hmac = Request::new("PUT", "/v1/key/hmac/predefined-key").body("{}");
                let hmac = admin.request(&hmac).await.map(|answer| answer.text());
                checks::raw(case, &responses, &end, seconds, &hmac.unwrap_or_default())
            }
        };
        report.check(name, result);
    }

    /// A log stream: its head must come before any event, then one line per event.
    async fn stream(&mut self, case: &Value, report: &mut Report) {
        let admin = self.dial(Some("admin"));
        let mut stream = admin.connect().await.expect("connection for the stream");
        let request = Request::new("GET", &field(case, "path"));
        let head = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", request.path);
        stream.send(head.as_bytes()).await;
        let prompt = stream
            .read_head(Instant::now() + Duration::from_secs(2))
            .await;
        let mut lines = Vec::new();
        if prompt.is_ok() {
            make_log_events(&admin).await;
            let expected: usize = 1;
            let deadline = Instant::now() + Duration::from_secs(5);
            let mut body = Lines::default();
            while let Ok(line) = stream.next_line(&mut body, deadline).await {
                let wanted = line.contains("/v1/key/encrypt/predefined-key");
                lines.push(line);
                if wanted && lines.len() >= expected {
                    break;
                }
            }
        }
        for (name, expectation) in case["expectations"].as_object().expect("expectations") {
            let result = match expectation["check"].as_str() {
                Some("stream_lines") => checks::lines(&strings(&expectation["lines"]), &lines),
                Some("prompt_headers") => match &prompt {
                    Ok(_) => Ok(()),
                    Err(end) => Err(format!("no head before the first event: {end}")),
                },
                _ => checks::stream_head(expectation, &prompt),
            };
            report.check(name, result);
        }
    }
}

/// A created key, a refused body and a handshake without certificate.
async fn make_log_events(admin: &Dial) {
    let create = Request::new("PUT", "/v1/key/create/log-key");
    assert_eq!(admin.request(&create).await.expect("create").status, 200);
    let broken = Request::new("PUT", "/v1/key/encrypt/predefined-key").body("{bad");
    assert_eq!(admin.request(&broken).await.expect("encrypt").status, 400);
    let nobody = Dial::anonymous(admin.port).get("/version").await;
    assert!(
        matches!(nobody, Err(End::Alert(_) | End::Closed)),
        "{nobody:?}"
    );
}

pub(super) fn field(case: &Value, name: &str) -> String {
    case[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {case}"))
        .to_owned()
}

/// Removes a file or a directory of a run.
pub(super) fn remove(run: &Run, name: &str) {
    let path = run.path(name);
    if path.is_dir() {
        std::fs::remove_dir_all(path).expect("remove directory");
    } else {
        std::fs::remove_file(path).expect("remove file");
    }
}

/// Makes the files that exist before a server starts.
pub(super) fn prepare(run: &Run, setting: &Value) {
    for (folder, files) in setting["files"].as_object().into_iter().flatten() {
        std::fs::create_dir_all(run.path(folder)).expect("folder");
        for (name, text) in files.as_object().into_iter().flatten() {
            let file = format!("{folder}/{name}");
            match text.as_str() {
                Some(text) => run.write(&file, text),
                None => std::fs::create_dir(run.path(&file)).expect("folder"),
            }
        }
    }
    if let Some([folder, count, _, text]) = setting["many"].as_array().map(Vec::as_slice) {
        for number in 0..count.as_u64().expect("count") {
            let folder = folder.as_str().expect("folder");
            run.write(
                &format!("{folder}/key-{number:04}"),
                text.as_str().expect("text"),
            );
        }
    }
}

/// The setting of a recorded server and its configuration.
pub(super) fn setting(part: &str, server: &str) -> (&'static Value, &'static str) {
    let setting = &SERVERS[part][server];
    (
        setting,
        recorded_config(setting["config"].as_str().expect("config")),
    )
}

async fn replay(name: &str) {
    let (setting, config) = setting("http", name);
    let run = Run::new();
    prepare(&run, setting);
    let mut replay = Replay {
        server: Server::with_config(&run, "server.yml", config),
        known: Known::default(),
        clients: HashMap::new(),
    };
    let mut report = Report::default();
    let mut steps = Steps::for_server(name);
    for case in recorded(CASES).iter().filter(|case| case["server"] == name) {
        steps
            .before(&mut replay, case["name"].as_str().expect("name"))
            .await;
        replay.compare(case, &mut report).await;
    }
    steps.assert_all_done();
    report.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_main() {
    replay("main").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_routes_without_authentication() {
    replay("skip").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_verified_client_certificates() {
    replay("auth").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_key_store_gone() {
    replay("gone").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_raw_requests() {
    replay("raw").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_long_listings() {
    replay("page").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_stored_keys_and_old_ciphertexts() {
    replay("vectors").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_cache_without_unused_expiry() {
    replay("unused").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_tls_proxy() {
    replay("proxy").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_metrics_of_a_lost_store() {
    replay("lost").await;
}

/// The comparison itself: the recorded answers compare equal with themselves, and where a defect
/// was recorded they do not.
#[test]
fn recorded_answers_compare_equal_with_themselves() {
    let mut known = Known::default();
    let mut report = Report::default();
    for case in recorded(CASES).iter().filter(|case| case["kind"].is_null()) {
        let got = &case["got"];
        if got.is_null() || case["stream"].is_number() {
            continue;
        }
        let name = field(case, "name");
        if name.ends_with("/decrypt-dek") {
            let json = serde_json::from_str(got["body"].as_str().expect("body")).expect("JSON");
            known
                .answers
                .insert("key-generate/generate-empty-object".to_owned(), json);
        }
        let answer = match got["end"].as_str() {
            Some("response") => Ok(checks::response_of(got)),
            Some("closed") => Err(End::Closed),
            Some("tls-alert: unknown ca") => Err(End::Alert(rustls::AlertDescription::UnknownCA)),
            _ => Err(End::Alert(rustls::AlertDescription::CertificateRequired)),
        };
        let got = Got { answer, port: 1 };
        for (name, expectation) in case["expectations"].as_object().expect("expectations") {
            let result = checks::compare(&known, case, expectation, &got);
            let defect = expectation["class"] == "intended-difference";
            match (defect, result) {
                (true, Ok(())) => report.check(name, Err("a recorded defect passes".to_owned())),
                (true, Err(_)) => report.check(name, Ok(())),
                (false, result) => report.check(name, result),
            }
        }
    }
    report.finish();
}

//! What a recorded HTTP case sends, and the steps between the recorded cases: the recordings are a
//! sample, and later cases rely on keys that unrecorded ones made.

use serde_json::Value;

use super::checks;
use super::http::{Replay, field, remove};
use crate::harness::certs::client_pem;
use crate::harness::http::Request;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Something done before a recorded case.
enum Step {
    /// A request that must succeed; its answer is kept under the name, if one is given.
    Send {
        client: &'static str,
        method: &'static str,
        path: &'static str,
        body: String,
        keep: &'static str,
    },
    /// The metrics are kept under a name.
    Metrics(&'static str),
    /// A request that must be answered with the status.
    Refused {
        method: &'static str,
        path: &'static str,
        status: u16,
    },
    Remove(&'static str),
}

/// The steps of one server, in order, each with the case that it precedes.
pub(super) struct Steps {
    pending: Vec<(&'static str, Step)>,
}

impl Steps {
    pub(super) fn for_server(name: &str) -> Self {
        let put = |path, body: &str| Step::Send {
            client: "admin",
            method: "PUT",
            path,
            body: body.to_owned(),
            keep: "",
        };
        let import =
            |path, cipher: &str| put(path, &format!(r#"{{"key":"{KEY}","cipher":"{cipher}"}}"#));
        let pending = match name {
            "main" => vec![
                (
                    "http/key-create/create-exists",
                    put("/v1/key/create/k1", ""),
                ),
                (
                    "http/key-create/create-exists",
                    put("/v1/key/create/k2", ""),
                ),
                (
                    "http/key-create/create-exists",
                    Step::Send {
                        client: "app",
                        method: "POST",
                        path: "/v1/key/create/my-app-1",
                        body: String::new(),
                        keep: "",
                    },
                ),
                (
                    "http/key-import/import-cipher-unknown",
                    import("/v1/key/import/i2", "AES256"),
                ),
                (
                    "http/key-import/import-cipher-unknown",
                    import("/v1/key/import/i3", "ChaCha20"),
                ),
                (
                    "http/key-decrypt/decrypt-empty-plaintext",
                    Step::Send {
                        client: "admin",
                        method: "PUT",
                        path: "/v1/key/generate/k1",
                        body: "{}".to_owned(),
                        keep: "key-generate/generate-empty-object",
                    },
                ),
                // The cache must hold the key when its file goes away.
                (
                    "http/key-delete/use-after-file-removed",
                    put("/v1/key/generate/k1", "{}"),
                ),
            ],
            "vectors" => vec![
                (
                    "http/extra/keyfile-fx",
                    import("/v1/key/import/fx", "AES256"),
                ),
                (
                    "http/extra/keyfile-fx",
                    import("/v1/key/import/fy", "ChaCha20"),
                ),
                ("http/extra/keyfile-fx", put("/v1/key/create/fz", "")),
            ],
            "lost" => vec![
                (
                    "http/extra/list-failure-metrics",
                    Step::Metrics("extra/list-failure-metrics-before"),
                ),
                ("http/extra/list-failure-metrics", Step::Remove("lost")),
                (
                    "http/extra/list-failure-metrics",
                    Step::Refused {
                        method: "GET",
                        path: "/v1/key/list/*",
                        status: 502,
                    },
                ),
            ],
            _ => Vec::new(),
        };
        Self { pending }
    }

    /// Does what precedes `case`.
    pub(super) async fn before(&mut self, replay: &mut Replay, case: &str) {
        while self.pending.first().is_some_and(|(name, _)| *name == case) {
            let (_, step) = self.pending.remove(0);
            match step {
                Step::Send {
                    client,
                    method,
                    path,
                    body,
                    keep,
                } => {
                    let request = Request::new(method, path).body(body);
                    let answer = replay.dial(Some(client)).request(&request).await;
                    let answer = answer.unwrap_or_else(|end| panic!("{method} {path}: {end}"));
                    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
                    replay.known.answers.insert(keep.to_owned(), answer.json());
                }
                Step::Metrics(keep) => {
                    let answer = replay.dial(Some("admin")).get("/v1/metrics").await;
                    let samples = checks::samples(&answer.expect("metrics").text());
                    replay.known.metrics.insert(keep.to_owned(), samples);
                }
                Step::Refused {
                    method,
                    path,
                    status,
                } => {
                    let request = Request::new(method, path);
                    let answer = replay.dial(Some("admin")).request(&request).await;
                    assert_eq!(answer.expect("answer").status, status, "{method} {path}");
                }
                Step::Remove(name) => remove(&replay.server.run, name),
            }
        }
    }

    pub(super) fn assert_all_done(&self) {
        let left: Vec<&str> = self.pending.iter().map(|(case, _)| *case).collect();
        assert!(
            left.is_empty(),
            "steps before cases that do not exist: {left:?}"
        );
    }
}

/// The request of a recorded case.
pub(super) fn request_of(case: &Value, refer: impl Fn(&str) -> String) -> Request {
    let mut request = Request::new(&field(case, "method"), &field(case, "path"));
    let body = match &case["body"] {
        Value::String(text) => Some(refer(text)),
        Value::Array(parts) => Some(parts.iter().map(body_part).collect()),
        _ => None,
    };
    // The recording client asks before it sends a large body, unless it is told not to.
    request.expect_continue = body.as_ref().is_some_and(|body| body.len() > 1_000_000);
    for header in case["headers"].as_array().into_iter().flatten() {
        match header.as_str().expect("header") {
            "Expect:" => request.expect_continue = false,
            "Transfer-Encoding: chunked" => request.chunked = true,
            other => {
                let (name, value) = other.split_once(": ").expect("name: value");
                request.headers.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    if let Some(forwarded) = case["forward"].as_str() {
        request = request.header("X-Tls-Client-Cert", &escaped_certificate(forwarded));
    }
    match body {
        Some(body) => request.body(body),
        None => request,
    }
}

/// A part of a long body: a text, or a text and how often it stands there.
fn body_part(part: &Value) -> String {
    match part {
        Value::String(text) => text.clone(),
        other => {
            let times = usize::try_from(other[1].as_u64().expect("times")).expect("fits");
            other[0].as_str().expect("text").repeat(times)
        }
    }
}

/// The PEM of a client certificate, escaped as TLS proxies do.
fn escaped_certificate(name: &str) -> String {
    let (pem, _) = client_pem(name);
    percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC).to_string()
}

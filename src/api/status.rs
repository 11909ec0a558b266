//! Handlers of the server's own routes: version, readiness, status, metrics, the list of routes.

use std::time::Duration;

use bytes::Bytes;

use super::context::Api;
use super::error::{ApiError, Verb};
use super::reply::Reply;
use crate::base::version::{COMMIT, VERSION};
use crate::gateway::ClusterAdmin;
use crate::keystore::StoreError;
use crate::telemetry::process::{ProcessFigures, processors, usable_processors};
use crate::wire::go_json::to_go_json;
use crate::wire::status::{ApiRoute, StatusResponse, VersionResponse};

/// Content type of the metrics text.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

pub(super) fn version() -> Reply {
    Reply::json(to_go_json(&VersionResponse {
        version: VERSION.to_owned(),
        commit: COMMIT.to_owned(),
    }))
}

pub(super) async fn ready(api: &Api) -> Result<Reply, ApiError> {
    if api.draining.has_begun() {
        return Err(ApiError::Draining);
    }
    // Not a matter of the store, which would be taken for offline until the next probe.
    if api.cluster.as_ref().is_some_and(ClusterAdmin::is_restoring) {
        return Err(ApiError::Restoring);
    }
    match api.gateway.probe_now().await {
        Ok(_) => Ok(Reply::empty()),
        Err(error) => {
            tracing::warn!("{error}");
            Err(match error {
                StoreError::Unreachable { .. } => ApiError::NotReachable,
                StoreError::Overloaded { .. } => ApiError::Overloaded,
                error @ StoreError::Unavailable { .. } => ApiError::store(Verb::Read, error),
                _ => ApiError::NotAvailable,
            })
        }
    }
}

pub(super) async fn status(api: &Api) -> Result<Reply, ApiError> {
    let figures = ProcessFigures::read();
    let mut status = StatusResponse {
        version: VERSION.to_owned(),
        os: os().to_owned(),
        arch: arch().to_owned(),
        uptime: whole_seconds(api.uptime.seconds()),
        num_cpu: processors() as u64,
        num_cpu_used: usable_processors() as u64,
        mem_heap_used: figures.heap_bytes,
        mem_stack_used: figures.stack_bytes,
        ..StatusResponse::default()
    };
    match api.gateway.probe_now().await {
        Ok(latency) => status.keystore_latency = rounded_millis(latency).max(1),
        Err(error) => {
            status.keystore_unavailable = true;
            status.keystore_unreachable = matches!(error, StoreError::Unreachable { .. });
        }
    }
    Ok(Reply::json(to_go_json(&status)))
}

pub(super) fn metrics(api: &Api) -> Result<Reply, ApiError> {
    let text = api
        .metrics
        .to_text(api.error_log.events())
        .map_err(|_| ApiError::MetricsFailed)?;
    Ok(Reply::of_type(METRICS_TYPE, Bytes::from(text)))
}

pub(super) fn routes(api: &Api) -> Reply {
    let table = api.routes.load();
    let routes: Vec<ApiRoute> = table
        .iter()
        .filter(|(route, _)| api.has_route(route))
        .map(|(route, settings)| ApiRoute {
            method: route.method.to_owned(),
            path: route.path.to_owned(),
            max_body: route.body_bytes_max as u64,
            timeout: settings.timeout.as_secs(),
        })
        .collect();
    Reply::json(to_go_json(&routes))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an uptime is small and positive"
)]
fn whole_seconds(seconds: f64) -> u64 {
    seconds.round() as u64
}

fn rounded_millis(latency: Duration) -> u64 {
    u64::try_from((latency.as_micros() + 500) / 1000).unwrap_or(u64::MAX)
}

/// The operating system in Go's spelling.
fn os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}

/// The processor architecture in Go's spelling.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        other => other,
    }
}

//! Every metric: names, help texts and buckets in one place, and the text that Prometheus scrapes.
//!
//! Hot path: counting a request is a few atomic operations.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

use super::process::{ProcessFigures, Uptime, processors, usable_processors};

/// Upper bounds of the response time histogram, in seconds.
const RESPONSE_TIME_BUCKETS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 3.0, 5.0, 10.0];

/// Status codes that are counted: 100 to 599.
const CODES: usize = 600;

/// The metrics of a node.
pub struct Metrics {
    registry: Registry,
    uptime: Uptime,
    active: IntGauge,
    success: CodeCounter,
    error: CodeCounter,
    failure: CodeCounter,
    response_time: Histogram,
    audit_events: IntCounter,
    error_events: IntCounter,
    system: SystemGauges,
}

/// Gauges that are read from the system at every scrape.
struct SystemGauges {
    heap_objects: IntGauge,
    heap_used: IntGauge,
    stack_used: IntGauge,
    processors: IntGauge,
    processors_used: IntGauge,
    threads: IntGauge,
    uptime: Gauge,
}

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Errors
    ///
    /// If a name is invalid or registered twice: a programming error that every start would show.
    pub fn new(uptime: Uptime) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            active: gauge(
                &registry,
                "kes_http_request_active",
                "Number of active requests that are not finished, yet.",
            )?,
            success: CodeCounter::register(
                &registry,
                "kes_http_request_success",
                "Number of requests that have been served successfully.",
            )?,
            error: CodeCounter::register(
                &registry,
                "kes_http_request_error",
                "Number of request that failed due to some error. (HTTP 4xx status code)",
            )?,
            failure: CodeCounter::register(
                &registry,
                "kes_http_request_failure",
                "Number of request that failed due to some internal failure. (HTTP 5xx status code)",
            )?,
            response_time: response_time(&registry)?,
            audit_events: counter(
                &registry,
                "kes_log_audit_events",
                "Number of audit log events written to the audit log targets.",
            )?,
            error_events: counter(
                &registry,
                "kes_log_error_events",
                "Number of error log events written to the error log targets.",
            )?,
            system: SystemGauges::register(&registry)?,
            registry,
            uptime,
        };
        Ok(metrics)
    }

    /// Counts a request in, until the guard is told its status.
    pub fn request_started(&self) {
        self.active.inc();
    }

    /// Counts a request out. Requests that ended without an answer have no status.
    pub fn request_ended(&self, status: Option<u16>, time: Duration) {
        self.active.dec();
        let Some(status) = status else { return };
        match status {
            ..400 => self.success.inc(status),
            400..500 => self.error.inc(status),
            500.. => self.failure.inc(status),
        }
        self.response_time.observe(time.as_secs_f64());
    }

    /// Counts an audit event.
    pub fn audit_event(&self) {
        self.audit_events.inc();
    }

    /// The text that Prometheus scrapes. `error_events` is the error log's own count.
    ///
    /// # Errors
    ///
    /// If a metric cannot be encoded.
    pub fn to_text(&self, error_events: u64) -> Result<String, prometheus::Error> {
        self.error_events
            .inc_by(error_events.saturating_sub(self.error_events.get()));
        self.system.refresh(self.uptime);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// A counter with the label `code`, its children found by index instead of under a lock.
struct CodeCounter {
    family: IntCounterVec,
    children: Vec<OnceLock<IntCounter>>,
}

impl CodeCounter {
    fn register(registry: &Registry, name: &str, help: &str) -> Result<Self, prometheus::Error> {
        let family = IntCounterVec::new(Opts::new(name, help), &["code"])?;
        registry.register(Box::new(family.clone()))?;
        Ok(Self {
            family,
            children: (0..CODES).map(|_| OnceLock::new()).collect(),
        })
    }

    fn inc(&self, status: u16) {
        if let Some(child) = self.children.get(usize::from(status)) {
            child
                .get_or_init(|| {
                    self.family
                        .with_label_values(&[status.to_string().as_str()])
                })
                .inc();
        }
    }
}

impl SystemGauges {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let uptime = Gauge::new(
            "kes_system_up_time",
            "The time the server has been up and running in seconds.",
        )?;
        registry.register(Box::new(uptime.clone()))?;
        Ok(Self {
            heap_objects: gauge(
                registry,
                "kes_system_mem_heap_objects",
                "The number of objects that are currently allocated on the heap memory.",
            )?,
            heap_used: gauge(
                registry,
                "kes_system_mem_heap_used",
                "The number of bytes that are currently allocated on the heap memory.",
            )?,
            stack_used: gauge(
                registry,
                "kes_system_mem_stack_used",
                "The bytes of stack memory obtained from the OS.",
            )?,
            processors: gauge(
                registry,
                "kes_system_num_cpu",
                "The number of logical CPUs available on the system. It may be larger than the number of usable CPUs.",
            )?,
            processors_used: gauge(
                registry,
                "kes_system_num_cpu_used",
                "The number of logical CPUs usable by the server. It may be smaller than the number of available CPUs.",
            )?,
            threads: gauge(
                registry,
                "kes_system_num_threads",
                "The number of concurrent co-routines/threads that currently exists.",
            )?,
            uptime,
        })
    }

    fn refresh(&self, uptime: Uptime) {
        let figures = ProcessFigures::read();
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        // The allocator does not count its objects; the family must exist all the same.
        self.heap_objects.set(0);
        self.heap_used.set(signed(figures.heap_bytes));
        self.stack_used.set(signed(figures.stack_bytes));
        self.processors
            .set(i64::try_from(processors()).unwrap_or(1));
        self.processors_used
            .set(i64::try_from(usable_processors()).unwrap_or(1));
        self.threads.set(signed(figures.threads));
        self.uptime.set((uptime.seconds() * 100.0).round() / 100.0);
    }
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn response_time(registry: &Registry) -> Result<Histogram, prometheus::Error> {
    let options = HistogramOpts::new(
        "kes_http_response_time",
        "Histogram of request response times spawning from 10ms to 10s.",
    )
    .buckets(RESPONSE_TIME_BUCKETS.to_vec());
    let histogram = Histogram::with_opts(options)?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labelled_counters_appear_with_their_first_count() {
        let metrics = Metrics::new(Uptime::start()).expect("metrics");
        let before = metrics.to_text(0).expect("text");
        assert!(!before.contains("kes_http_request_success{"), "{before}");
        assert!(
            before.contains("kes_http_response_time_bucket{le=\"0.01\"} 0"),
            "{before}"
        );
        metrics.request_started();
        metrics.request_ended(Some(200), Duration::from_millis(20));
        metrics.request_started();
        metrics.request_ended(Some(404), Duration::from_secs(20));
        let after = metrics.to_text(3).expect("text");
        for line in [
            "kes_http_request_active 0",
            "kes_http_request_success{code=\"200\"} 1",
            "kes_http_request_error{code=\"404\"} 1",
            "kes_http_response_time_bucket{le=\"0.05\"} 1",
            "kes_http_response_time_bucket{le=\"10\"} 1",
            "kes_http_response_time_bucket{le=\"+Inf\"} 2",
            "kes_http_response_time_count 2",
            "kes_log_error_events 3",
        ] {
            assert!(after.lines().any(|have| have == line), "{line} in {after}");
        }
    }
}

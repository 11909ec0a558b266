//! The error log: `tracing` events, written to the console and to the subscribers of
//! `/v1/log/error`.
//!
//! It must never hold key material: fields are what the callers name, and none names a secret.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};

use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::console::Console;
use super::slog::{Format, Record, Severity};
use crate::base::clock::Timestamp;
use crate::base::limits::{LOG_SUBSCRIBER_QUEUE, LOG_SUBSCRIBERS_MAX};

/// The error log of a process. Clones share it.
#[derive(Clone)]
pub struct ErrorLog(Arc<Shared>);

struct Shared {
    threshold: AtomicI32,
    json: AtomicBool,
    console: Console,
    subscribers: broadcast::Sender<Arc<str>>,
    events: AtomicU64,
}

impl ErrorLog {
    /// A log that writes to `console`, at INFO, as text.
    pub fn new(console: Console) -> Self {
        let (subscribers, _) = broadcast::channel(LOG_SUBSCRIBER_QUEUE);
        Self(Arc::new(Shared {
            threshold: AtomicI32::new(Severity::INFO.0),
            json: AtomicBool::new(false),
            console,
            subscribers,
            events: AtomicU64::new(0),
        }))
    }

    /// Makes this log the receiver of all `tracing` events of the process. Once per process; a
    /// second call has no effect.
    pub fn install(&self) {
        let layer = EventLayer { log: self.clone() };
        let subscriber = tracing_subscriber::registry().with(layer);
        let _ = tracing::subscriber::set_global_default(subscriber);
    }

    /// Changes which records are kept and how they are written.
    pub fn configure(&self, threshold: Severity, format: Format) {
        self.0.threshold.store(threshold.0, Ordering::Relaxed);
        self.0.json.store(format == Format::Json, Ordering::Relaxed);
    }

    /// Whether records of `severity` are kept.
    pub fn keeps(&self, severity: Severity) -> bool {
        severity.0 >= self.0.threshold.load(Ordering::Relaxed)
    }

    /// Records so far.
    pub fn events(&self) -> u64 {
        self.0.events.load(Ordering::Relaxed)
    }

    /// Lines from now on; `None` if there are too many subscribers.
    pub fn subscribe(&self) -> Option<broadcast::Receiver<Arc<str>>> {
        (self.0.subscribers.receiver_count() < LOG_SUBSCRIBERS_MAX)
            .then(|| self.0.subscribers.subscribe())
    }

    /// Writes `record` if its severity is kept.
    pub fn write(&self, record: &Record) {
        if !self.keeps(record.severity) {
            return;
        }
        self.0.events.fetch_add(1, Ordering::Relaxed);
        let text = record.to_text();
        if self.0.subscribers.receiver_count() > 0 {
            // Fails only if the last subscriber has just gone.
            let _ = self.0.subscribers.send(Arc::from(text.as_str()));
        }
        let line = if self.0.json.load(Ordering::Relaxed) {
            record.to_json()
        } else {
            text
        };
        self.0.console.write_line(line);
    }

    /// Waits until the console has the records so far.
    pub fn flush(&self, timeout: std::time::Duration) {
        self.0.console.flush(timeout);
    }
}

/// Turns `tracing` events into records. Spans are left to the tracing exporter.
struct EventLayer {
    log: ErrorLog,
}

/// Events of the libraries below us are noise unless something is wrong.
fn is_wanted(metadata: &Metadata<'_>) -> bool {
    metadata.is_event()
        && (metadata.target().starts_with("keswick") && *metadata.level() <= Level::DEBUG
            || *metadata.level() <= Level::ERROR && !is_routine(metadata.target()))
}

/// openraft takes every node that cannot be reached for an error, again and again. What matters of it
/// is logged by those who call it.
fn is_routine(target: &str) -> bool {
    target.starts_with("openraft")
}

impl<S: Subscriber> Layer<S> for EventLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_wanted(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_wanted(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let severity = match *event.metadata().level() {
            Level::ERROR => Severity::ERROR,
            Level::WARN => Severity::WARN,
            Level::INFO => Severity::INFO,
            Level::DEBUG | Level::TRACE => Severity::DEBUG,
        };
        if !self.log.keeps(severity) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.log.write(&Record {
            time: Timestamp::now(),
            severity,
            message: fields.message,
            fields: fields.named,
        });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    named: Vec<(Cow<'static, str>, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.named.push((Cow::Borrowed(name), value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_reach_subscribers_and_respect_the_threshold() {
        let log = ErrorLog::new(Console::start("test", std::io::sink()).expect("a thread"));
        let mut lines = log.subscribe().expect("a subscription");
        let subscriber = tracing_subscriber::registry().with(EventLayer { log: log.clone() });
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!("too detailed");
            tracing::error!(req.method = %"PUT", "it broke");
            log.configure(Severity(9), Format::Text);
            tracing::error!("nobody hears");
        });
        let line = lines.try_recv().expect("a line");
        assert!(
            line.ends_with("level=ERROR msg=\"it broke\" req.method=PUT"),
            "{line}"
        );
        assert!(lines.try_recv().is_err());
        assert_eq!(log.events(), 1);
    }
}

//! The audit actor: takes records in order, writes them and hands them to subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use actix::{Actor, Context, StreamHandler};
use futures_util::stream;
use tokio::sync::{broadcast, mpsc};

use super::event::AuditEvent;
use super::handle::AuditSink;
use crate::base::exit::DeathWatch;
use crate::base::limits::{LOG_SUBSCRIBER_QUEUE, MAILBOX_CAPACITY};
use crate::telemetry::console::Console;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::slog::{Format, Severity};

/// What the operator can change while the actor runs.
#[derive(Clone)]
pub(crate) struct AuditSettings(Arc<Settings>);

struct Settings {
    threshold: AtomicI32,
    json: AtomicBool,
}

impl AuditSettings {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Settings {
            threshold: AtomicI32::new(Severity::INFO.0),
            json: AtomicBool::new(false),
        }))
    }

    /// Changes which records are written and how. Records are of severity INFO.
    pub(crate) fn configure(&self, threshold: Severity, format: Format) {
        self.0.threshold.store(threshold.0, Ordering::Relaxed);
        self.0.json.store(format == Format::Json, Ordering::Relaxed);
    }
}

/// Owns the order of records.
pub(crate) struct AuditActor {
    console: Console,
    settings: AuditSettings,
    metrics: Arc<Metrics>,
    subscribers: broadcast::Sender<Arc<AuditEvent>>,
    _watch: DeathWatch,
}

impl AuditActor {
    /// Starts the actor on the current actix system.
    pub(crate) fn start_with(
        console: Console,
        settings: AuditSettings,
        metrics: Arc<Metrics>,
        watch: DeathWatch,
    ) -> AuditSink {
        let (queue, records) = mpsc::channel(MAILBOX_CAPACITY);
        let (subscribers, _) = broadcast::channel(LOG_SUBSCRIBER_QUEUE);
        let sink = AuditSink::new(queue, subscribers.clone());
        Self::create(|context| {
            let records = stream::unfold(records, |mut records: mpsc::Receiver<_>| async move {
                records.recv().await.map(|record| (record, records))
            });
            Self::add_stream(records, context);
            Self {
                console,
                settings,
                metrics,
                subscribers,
                _watch: watch,
            }
        });
        sink
    }
}

impl Actor for AuditActor {
    type Context = Context<Self>;
}

impl StreamHandler<AuditEvent> for AuditActor {
    fn handle(&mut self, event: AuditEvent, _: &mut Self::Context) {
        self.metrics.audit_event();
        // Subscribers get every event; the threshold is for the console alone.
        if Severity::INFO.0 >= self.settings.0.threshold.load(Ordering::Relaxed) {
            let json = self.settings.0.json.load(Ordering::Relaxed);
            let format = if json { Format::Json } else { Format::Text };
            self.console.write_line(event.to_record().to_line(format));
        }
        if self.subscribers.receiver_count() > 0 {
            // Fails only if the last subscriber has just gone.
            let _ = self.subscribers.send(Arc::new(event));
        }
    }
}

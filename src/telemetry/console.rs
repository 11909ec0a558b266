//! The console: a thread that writes lines, so that a slow terminal or pipe never stops a request.
//!
//! The queue is bounded; what does not fit is counted and reported, never waited for.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::base::limits::CONSOLE_QUEUE;

/// Where lines go.
#[derive(Clone)]
pub struct Console {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

impl Console {
    /// Starts the thread that writes to `out`, which ends when the last clone is dropped.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn start(name: &str, out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (queue, lines) = sync_channel(CONSOLE_QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let thread_lost = Arc::clone(&lost);
        std::thread::Builder::new()
            .name(format!("console-{name}"))
            .spawn(move || write_lines(&lines, out, &thread_lost))?;
        Ok(Self { queue, lost })
    }

    /// Queues `line`, without its line break.
    pub fn write_line(&self, line: String) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all queued lines are written, at most `timeout`.
    pub fn flush(&self, timeout: std::time::Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // A console that does not drain in time is left behind.
            let _ = wait.recv_timeout(timeout);
        }
    }
}

fn write_lines(lines: &Receiver<Message>, mut out: impl Write, lost: &AtomicU64) {
    while let Ok(message) = lines.recv() {
        // A console that is gone must not stop the server: write errors are ignored.
        match message {
            Message::Line(mut line) => {
                line.push('\n');
                let _ = out.write_all(line.as_bytes());
            }
            Message::Flush(done) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            count => {
                let _ = writeln!(out, "level=WARN msg=\"console too slow\" lost={count}");
            }
        }
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_arrive_in_order() {
        let sink = Sink::default();
        let console = Console::start("test", sink.clone()).expect("a thread");
        console.write_line("one".to_owned());
        console.write_line("two".to_owned());
        console.flush(Duration::from_secs(10));
        assert_eq!(*sink.0.lock().expect("lock"), b"one\ntwo\n");
    }
}

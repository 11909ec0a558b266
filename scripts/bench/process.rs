//! A server process, and what the system tells about it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::Failure;
use crate::client::Target;

/// Time for a server to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Between two attempts to connect.
const START_POLL: Duration = Duration::from_millis(1);

/// CPU time in `/proc/PID/stat` counts in hundredths of a second on every Linux (`USER_HZ`).
const MICROSECONDS_PER_TICK: u64 = 10_000;

/// A running server, killed when dropped.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub(crate) target: Target,
    /// From its start until it answered a TLS handshake.
    pub(crate) start_up: Duration,
}

impl Server {
    /// Starts a program and waits until it accepts TLS. What it prints goes to the file `log`.
    pub(crate) async fn start(
        command: &mut Command,
        target: Target,
        log: &Path,
    ) -> Result<Self, Failure> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = File::create(log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let started = Instant::now();
        let child = command
            .spawn()
            .map_err(|error| format!("{program} cannot be started: {error}"))?;
        let mut server = Self {
            child,
            log: log.to_owned(),
            target,
            start_up: Duration::ZERO,
        };
        loop {
            let attempt = timeout(START_TIMEOUT, server.target.connect_http1()).await;
            let Err(refusal) = attempt.map_err(Failure::from).flatten() else {
                break;
            };
            if let Some(status) = server.child.try_wait()? {
                return Err(server.explain(&format!("{program} ended: {status}")));
            }
            if started.elapsed() > START_TIMEOUT {
                let message = format!("{program} does not accept TLS: {refusal}");
                return Err(server.explain(&message));
            }
            tokio::time::sleep(START_POLL).await;
        }
        server.start_up = started.elapsed();
        Ok(server)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    /// An error, with the end of what the server printed.
    pub(crate) fn explain(&self, message: &str) -> Failure {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(20)..];
        format!("{message}\n{}", last.join("\n")).into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number of a process.
#[derive(Clone, Copy)]
pub(crate) struct Pid(u32);

impl Pid {
    /// CPU time of all threads since the start, user and system, in µs.
    pub(crate) fn cpu_microseconds(self) -> Result<u64, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The name, in parentheses, may contain anything.
        let (_, fields) = stat.rsplit_once(')').ok_or("no fields in /proc/PID/stat")?;
        // From the third field on (proc_pid_stat(5)): utime is the 14th, stime the 15th.
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let [user, system] = fields.get(11..13).unwrap_or_default() else {
            return Err("no CPU time in /proc/PID/stat".into());
        };
        Ok((user.parse::<u64>()? + system.parse::<u64>()?) * MICROSECONDS_PER_TICK)
    }

    /// Memory in RAM, in KiB.
    pub(crate) fn rss_kib(self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let value = line.and_then(|line| line.split_whitespace().next());
        Ok(value.ok_or("no VmRSS in /proc/PID/status")?.parse()?)
    }
}

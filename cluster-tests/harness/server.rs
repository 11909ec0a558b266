//! The program under test: working directories, servers, commands.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::certs;
use super::wait::{poll, wait_for};

/// How long a server may take until it accepts connections, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Ports that the kernel gives to nobody by itself: one of those could be taken by a client while a
/// server that is killed and started again is away.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

static NEXT_PORT: LazyLock<AtomicU16> = LazyLock::new(|| {
    let spread = std::process::id() * 97 % u32::from(PORTS.end - PORTS.start);
    AtomicU16::new(PORTS.start + u16::try_from(spread).expect("a port"))
});

/// A port that nobody listens on and that no other test was given.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        if !PORTS.contains(&port) {
            NEXT_PORT.store(PORTS.start, Ordering::Relaxed);
        } else if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A working directory with certificates, configuration and key files; removed at the end.
#[derive(Debug)]
pub(crate) struct Run {
    dir: TempDir,
}

impl Run {
    /// A directory that holds `server.key`, `server.crt`, `admin.key`, `admin.crt`.
    pub(crate) fn new() -> Arc<Self> {
        let dir = tempfile::Builder::new()
            .prefix("kes-test-")
            .tempdir()
            .expect("directory");
        let run = Self { dir };
        let (certificate, key) = certs::server_pem();
        run.write("server.crt", certificate);
        run.write("server.key", key);
        let (certificate, key) = certs::client_pem("admin");
        run.write("admin.crt", certificate);
        run.write("admin.key", key);
        std::fs::create_dir(run.path("tmp")).expect("tmp");
        Arc::new(run)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, its directory included.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("directory");
        }
        std::fs::write(path, text).expect("write");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(name)).expect("read")).into_owned()
    }

    /// Replaces the placeholders of the recordings.
    pub(crate) fn fill(&self, text: &str, port: u16) -> String {
        text.replace("{RUN}", self.dir().to_str().expect("path"))
            .replace("{PORT}", &port.to_string())
    }

    /// The program with `args`, in this directory, with a bare environment.
    pub(crate) fn command<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
        command
            .args(args)
            .current_dir(self.dir())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir())
            .env("TMPDIR", self.path("tmp"))
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// Runs a client command against the server on `port` as `api_key`.
    pub(crate) fn kes(&self, port: u16, api_key: &str, args: &[&str]) -> Output {
        let mut command = self.command(args);
        command
            .env("MINIO_KES_SERVER", format!("127.0.0.1:{port}"))
            .env("MINIO_KES_API_KEY", api_key);
        output_within(&mut command, Duration::from_secs(30))
    }
}

/// Runs a command to its end; kills it and panics when it does not end in time.
pub(crate) fn output_within(command: &mut Command, limit: Duration) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start kes");
    let pid = Pid::from_child(&child);
    let name = format!("{command:?}");
    let waiter = std::thread::spawn(move || child.wait_with_output().expect("output"));
    if poll(limit, || waiter.is_finished().then_some(())).is_none() {
        // Not yet waited for, so the id still names our child.
        let _ = kill_process(pid, Signal::KILL);
        let output = waiter.join().expect("waiter");
        panic!("{name} did not end within {limit:?}; output so far: {output:?}");
    }
    waiter.join().expect("waiter")
}

/// A running server. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) run: Arc<Run>,
    stdout: String,
    stderr: String,
    /// From the start of the process until it accepted a connection.
    pub(crate) started_in: Duration,
}

impl Server {
    /// A server on the recorded configuration `data/configs/<config>` in a new directory.
    pub(crate) fn recorded(config: &str) -> Self {
        Self::with_config(&Run::new(), "server.yml", recorded_config(config))
    }

    /// A server on the configuration text `config`, which is stored as `name` in `run`.
    pub(crate) fn with_config(run: &Arc<Run>, name: &str, config: &str) -> Self {
        Self::start(run, |port| {
            run.write(name, run.fill(config, port));
            vec![
                "server".to_owned(),
                "--config".to_owned(),
                name.to_owned(),
                "--addr".to_owned(),
                format!("127.0.0.1:{port}"),
            ]
        })
    }

    /// A development server.
    pub(crate) fn dev(run: &Arc<Run>) -> Self {
        Self::start(run, |port| {
            ["server", "--dev", "--addr"]
                .map(str::to_owned)
                .into_iter()
                .chain([format!("127.0.0.1:{port}")])
                .collect()
        })
    }

    /// Starts `kes` with the arguments for a port, again if another process took the port.
    pub(crate) fn start(run: &Arc<Run>, args: impl Fn(u16) -> Vec<String>) -> Self {
        for _ in 0..5 {
            let port = free_port();
            match Self::try_start(run, port, &args(port)) {
                Ok(server) => return server,
                Err(output) if output.to_lowercase().contains("in use") => {}
                Err(output) => panic!("the server did not start:\n{output}"),
            }
        }
        panic!("no free port in five attempts");
    }

    /// Starts `kes` and waits until it is up; its output if it ends before.
    pub(crate) fn try_start(run: &Arc<Run>, port: u16, args: &[String]) -> Result<Self, String> {
        let (stdout, stderr) = (format!("{port}.out"), format!("{port}.err"));
        let began = Instant::now();
        let mut child = run
            .command(args)
            .stdout(File::create(run.path(&stdout)).expect("stdout"))
            .stderr(File::create(run.path(&stderr)).expect("stderr"))
            .spawn()
            .expect("start kes");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut started_in = None;
        let listening = poll(START_LIMIT, || {
            if let Some(status) = child.try_wait().expect("wait") {
                return Some(Err(status));
            }
            // The port is bound before the server is ready for what it is asked.
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
            started_in.get_or_insert_with(|| began.elapsed());
            run.read(&stdout)
                .contains("up and running")
                .then_some(Ok(()))
        });
        let started_in = started_in.unwrap_or_default();
        let mut server = Self {
            child,
            port,
            run: Arc::clone(run),
            stdout,
            stderr,
            started_in,
        };
        let alive = server.child.try_wait().expect("wait").is_none();
        if listening == Some(Ok(())) && alive {
            return Ok(server);
        }
        let (out, err) = (server.stdout(), server.stderr());
        Err(format!(
            "{listening:?} {args:?}\nstdout:\n{out}\nstderr:\n{err}"
        ))
    }

    pub(crate) fn stdout(&self) -> String {
        self.run.read(&self.stdout)
    }

    pub(crate) fn stderr(&self) -> String {
        self.run.read(&self.stderr)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal");
    }

    /// The status if the process has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait")
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        wait_for("the server to end", limit, || {
            self.child.try_wait().expect("wait")
        })
    }

    /// Kills the process at once.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("wait");
    }

    /// The limits of the process, as the kernel shows them.
    pub(crate) fn limits(&self) -> String {
        let path = format!("/proc/{}/limits", self.child.id());
        std::fs::read_to_string(path).expect("limits")
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.child.id());
        let statm = std::fs::read_to_string(path).expect("statm");
        let pages: u64 = statm
            .split(' ')
            .nth(1)
            .expect("field")
            .parse()
            .expect("number");
        pages * u64::try_from(rustix::param::page_size()).expect("page size")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- server on port {}: stderr", self.port);
            let stderr = self.stderr();
            let lines: Vec<&str> = stderr.lines().collect();
            for line in &lines[lines.len().saturating_sub(15)..] {
                eprintln!("{line}");
            }
        }
    }
}

/// The text of a recorded configuration.
pub(crate) fn recorded_config(name: &str) -> &'static str {
    match name {
        "cli.yml" => include_str!("../data/configs/cli.yml"),
        "extra-lost.yml" => include_str!("../data/configs/extra-lost.yml"),
        "extra-proxy.yml" => include_str!("../data/configs/extra-proxy.yml"),
        "extra-unused.yml" => include_str!("../data/configs/extra-unused.yml"),
        "extra-vectors.yml" => include_str!("../data/configs/extra-vectors.yml"),
        "http-auth.yml" => include_str!("../data/configs/http-auth.yml"),
        "http-gone.yml" => include_str!("../data/configs/http-gone.yml"),
        "http-skip.yml" => include_str!("../data/configs/http-skip.yml"),
        "http.yml" => include_str!("../data/configs/http.yml"),
        "page.yml" => include_str!("../data/configs/page.yml"),
        _ => panic!("no recorded configuration {name}"),
    }
}

//! `kes server`: starts a node, shows what it is, and obeys signals until it ends.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, interval_at};

use super::args::ServerArgs;
use super::dev_trust;
use super::output::{Output, Palette, Style, complain, note};
use super::version;
use crate::base::clock::Timestamp;
use crate::base::identity::Identity;
use crate::base::limits::TLS_RELOAD_INTERVAL;
use crate::crypto::api_key::ApiKey;
use crate::node::{
    Development, Hardening, Node, NodeError, Prepared, PreparedTls, Telemetry, harden,
    listen_address, local_addresses, run_system,
};
use crate::telemetry::console::Console;
use crate::telemetry::error_log::ErrorLog;
use crate::telemetry::process::Uptime;
use crate::telemetry::slog::Severity;

/// Where a server listens unless it is told.
const DEFAULT_ADDRESS: &str = "0.0.0.0:7373";

/// Exit code when an actor died: for orchestrators, and not one of the original's.
const EXIT_ACTOR_DIED: u8 = 70;

/// Runs the server until a signal, or the death of an actor, ends it.
pub(super) fn run(args: &ServerArgs) -> ExitCode {
    let hardening = harden(!args.dev);
    let outcome = run_system(serve(args, hardening)).and_then(|outcome| outcome);
    match outcome {
        Ok(End::Signal) => ExitCode::SUCCESS,
        Ok(End::ActorDied(actor)) => {
            complain(
                "Error:",
                &format!("the {actor} actor died: stopping, to be restarted"),
            );
            ExitCode::from(EXIT_ACTOR_DIED)
        }
        Err(error) => {
            complain("Error:", &error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Why a server ended.
enum End {
    Signal,
    ActorDied(&'static str),
}

/// Files of a development server, removed when it stops.
struct DevelopmentFiles {
    api_key: PathBuf,
    port: u16,
}

impl Drop for DevelopmentFiles {
    fn drop(&mut self) {
        // Left-over files do no harm: a next server overwrites them.
        let _ = std::fs::remove_file(&self.api_key);
        dev_trust::remove(self.port);
    }
}

async fn serve(args: &ServerArgs, hardening: Hardening) -> Result<End, NodeError> {
    let telemetry = start_telemetry()?;
    let started_at = telemetry.started_at;
    let mut signals = Signals::listen(args.dev)?;
    let mut banner = Banner {
        hardening: Some(hardening),
        ..Banner::default()
    };
    let (node, _files) = match &args.config {
        _ if args.dev => start_development(args, telemetry, &mut banner).await?,
        config => {
            let path = config.clone().unwrap_or_default();
            let prepared = Prepared::load(&path, started_at)?;
            let configured = prepared.address.clone();
            let address = args.addr.clone().or(configured);
            let text = address.unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
            let address = listen_address(&text)?;
            banner.addresses = displayed(&text, address)?;
            banner.fill(&prepared);
            (Node::start(prepared, address, telemetry).await?, None)
        }
    };
    banner.print();
    obey_signals(node, args.config.as_deref(), &mut signals, &mut banner).await
}

fn start_telemetry() -> Result<Telemetry, NodeError> {
    let console_error = |source| NodeError::System {
        what: "the console",
        source,
    };
    let stderr = Console::start("stderr", std::io::stderr()).map_err(console_error)?;
    let stdout = Console::start("stdout", std::io::stdout()).map_err(console_error)?;
    let error_log = ErrorLog::new(stderr);
    error_log.install();
    Ok(Telemetry {
        error_log,
        audit_console: stdout,
        started_at: Timestamp::now(),
        uptime: Uptime::start(),
    })
}

async fn start_development(
    args: &ServerArgs,
    telemetry: Telemetry,
    banner: &mut Banner,
) -> Result<(Node, Option<DevelopmentFiles>), NodeError> {
    let text = args
        .addr
        .clone()
        .unwrap_or_else(|| DEFAULT_ADDRESS.to_owned());
    let address = listen_address(&text)?;
    banner.addresses = displayed(&text, address)?;
    let development = Development::new(&local_addresses(address)?)?;
    let api_key = development.api_key.clone();
    let certificate = development.certificate.clone();
    let prepared = Prepared::development(development, telemetry.started_at)?;
    banner.fill(&prepared);
    banner.api_key = Some(api_key.clone());
    banner.hardening = None;
    let node = Node::start(prepared, address, telemetry).await?;
    let port = node.address().port();
    let files_error = |source| NodeError::System {
        what: "the development files",
        source,
    };
    dev_trust::store(port, &certificate).map_err(files_error)?;
    let files = DevelopmentFiles {
        api_key: dev_trust::api_key_path(),
        port,
    };
    write_private(&files.api_key, &api_key).map_err(files_error)?;
    Ok((node, Some(files)))
}

/// Writes the API key for the same user's scripts, readable by nobody else.
fn write_private(path: &Path, api_key: &ApiKey) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // An old file may belong to somebody else, or be a link: never write into one.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(api_key.to_text().expose().as_bytes())
}

/// The signals that a server obeys.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` for a development server, which a hang-up ends.
    hangup: Option<Signal>,
}

impl Signals {
    fn listen(is_development: bool) -> Result<Self, NodeError> {
        let listen = |kind| {
            signal(kind).map_err(|source| NodeError::System {
                what: "signal handling",
                source,
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: if is_development {
                None
            } else {
                Some(listen(SignalKind::hangup())?)
            },
        })
    }

    async fn stop(&mut self) {
        stopped(&mut self.interrupt, &mut self.terminate).await;
    }

    async fn reload(hangup: &mut Option<Signal>) {
        match hangup {
            Some(hangup) => {
                hangup.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}

async fn obey_signals(
    node: Node,
    config: Option<&Path>,
    signals: &mut Signals,
    banner: &mut Banner,
) -> Result<End, NodeError> {
    let mut tls_timer = interval_at(Instant::now() + TLS_RELOAD_INTERVAL, TLS_RELOAD_INTERVAL);
    let Signals {
        interrupt,
        terminate,
        hangup,
    } = signals;
    loop {
        tokio::select! {
            () = stopped(interrupt, terminate) => break,
            () = Signals::reload(hangup) => {
                let Some(path) = config else { continue };
                // A file system that hangs must not keep the node from stopping.
                tokio::select! {
                    () = reload(&node, path, banner) => {}
                    () = stopped(interrupt, terminate) => break,
                    actor = node.actor_died() => return end_of_dead(node, actor).await,
                }
            }
            _ = tls_timer.tick() => {
                let Some(path) = config else { continue };
                tokio::select! {
                    () = reload_tls(&node, path) => {}
                    () = stopped(interrupt, terminate) => break,
                    actor = node.actor_died() => return end_of_dead(node, actor).await,
                }
            }
            actor = node.actor_died() => return end_of_dead(node, actor).await,
        }
    }
    print("\n=> Stopping server... ");
    let mut again = Signals::listen(true)?;
    tokio::select! {
        () = node.shut_down() => {}
        // A second signal while stopping: at once.
        () = again.stop() => {}
    }
    print("Goodbye.\n");
    Ok(End::Signal)
}

/// Waits for a signal that stops the server.
async fn stopped(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn end_of_dead(node: Node, actor: &'static str) -> Result<End, NodeError> {
    node.shut_down().await;
    Ok(End::ActorDied(actor))
}

async fn reload(node: &Node, path: &Path, banner: &mut Banner) {
    note("SIGHUP signal received. Reloading configuration...\n");
    let prepared = match prepare_off_thread(path, node.started_at()).await {
        Ok(prepared) => prepared,
        Err(error) => return note(&format!("Failed to reload server config: {error}\n")),
    };
    let mut reloaded = banner.clone();
    reloaded.fill(&prepared);
    match node.reload(prepared).await {
        Ok(()) => {
            *banner = reloaded;
            banner.print();
            print("=> Reloading configuration after SIGHUP signal completed.\n");
        }
        Err(error) => note(&format!("Failed to update server configuration: {error}\n")),
    }
}

/// Reads files away from the thread on which the actors run.
async fn prepare_off_thread(path: &Path, started_at: Timestamp) -> Result<Prepared, NodeError> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || Prepared::load(&path, started_at))
        .await
        .unwrap_or(Err(NodeError::ActorUnresponsive("configuration")))
}

async fn reload_tls(node: &Node, path: &Path) {
    let path = path.to_owned();
    let loaded = tokio::task::spawn_blocking(move || PreparedTls::load(&path))
        .await
        .unwrap_or(Err(NodeError::ActorUnresponsive("configuration")));
    match loaded {
        Ok(tls) => {
            if let Err(error) = node.reload_tls(tls).await {
                note(&format!("Failed to update TLS configuration: {error}\n"));
            }
        }
        Err(error) => note(&format!("Failed to reload TLS configuration: {error}\n")),
    }
}

/// The addresses as the banner shows them.
fn displayed(text: &str, address: SocketAddr) -> Result<Vec<String>, NodeError> {
    let port = text.rsplit_once(':').map_or("", |(_, port)| port);
    let show = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    };
    Ok(local_addresses(address)?.into_iter().map(show).collect())
}

/// What a server shows when it is ready.
#[derive(Clone, Default)]
struct Banner {
    store: String,
    addresses: Vec<String>,
    admin: String,
    api_key: Option<ApiKey>,
    error_severity: Option<Severity>,
    audit_severity: Option<Severity>,
    hardening: Option<Hardening>,
}

impl Banner {
    fn fill(&mut self, prepared: &Prepared) {
        self.store = prepared.store_description().to_string();
        self.admin.clone_from(&prepared.admin);
        self.error_severity = Some(prepared.error_severity);
        self.audit_severity = Some(prepared.audit_severity);
    }

    fn print(&self) {
        print(&self.to_text(&Output::detect()));
    }

    fn to_text(&self, output: &Output) -> String {
        let mut text = String::new();
        let mut line = |label: &str, rest: String| {
            text.push_str(&self.label(output, label));
            text.push_str(rest.trim_end());
            text.push('\n');
        };
        for [label, value, remark] in version::rows() {
            line(
                &label,
                format!("{value:<23} {}", output.paint(Style::FAINT, &remark)),
            );
        }
        text.push('\n');
        let mut line = |label: &str, rest: String| {
            text.push_str(&self.label(output, label));
            text.push_str(&rest);
            text.push('\n');
        };
        line("KMS", self.store.clone());
        for (index, address) in self.addresses.iter().enumerate() {
            line(
                if index == 0 { "API" } else { "" },
                format!("· https://{address}"),
            );
        }
        text.push('\n');
        let mut line = |label: &str, rest: String| {
            text.push_str(&self.label(output, label));
            text.push_str(&rest);
            text.push('\n');
        };
        if let Some(api_key) = &self.api_key {
            line("API Key", api_key.to_text().expose().to_owned());
        }
        line("Admin", self.admin_text());
        if let Some(severity) = self.error_severity {
            line("Logs", format!("error=stderr level={severity}"));
        }
        if let Some(severity) = self
            .audit_severity
            .filter(|severity| *severity <= Severity::INFO)
        {
            line("", format!("audit=stdout level={severity}"));
        }
        if self
            .hardening
            .is_some_and(|hardening| hardening.memory_locked)
        {
            line("MLock", "enabled".to_owned());
        }
        text.push_str("\n=> Server is up and running...\n\n");
        text
    }

    /// Labels are padded to 33 in plain text, as scripts have seen them; on a terminal to 11.
    fn label(&self, output: &Output, label: &str) -> String {
        const BLUE: Style = Style::rgb(0x0026_8bd2);
        match (label, output.palette) {
            ("", _) => " ".repeat(12),
            (label, Palette::None) => format!("{label:<33} "),
            (label, _) => {
                let padding = " ".repeat(11_usize.saturating_sub(label.len()));
                format!("{}{padding} ", output.paint(BLUE, label))
            }
        }
    }

    /// The admin's identity; a value that no key can have switches the admin off.
    fn admin_text(&self) -> String {
        let is_hex = self.admin.len().is_multiple_of(2)
            && self.admin.bytes().all(|byte| byte.is_ascii_hexdigit())
            && !Identity::from(self.admin.as_str()).is_unknown();
        if is_hex {
            self.admin.clone()
        } else {
            "<disabled>".to_owned()
        }
    }
}

/// Writes to standard output; a console that is gone must not stop the server.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

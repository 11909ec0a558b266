//! Sets both servers up: files, configuration, key.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Failure;
use crate::client::{Credentials, Target};
use crate::operation::Requests;
use crate::process::Server;

/// Time for a started server to come to rest, before its memory is looked at.
const SETTLE: Duration = Duration::from_millis(500);

/// How the servers are started.
pub(crate) struct Settings<'a> {
    /// For all files. Removed by the caller.
    pub(crate) directory: &'a Path,
    /// The measured program.
    pub(crate) kes: &'a Path,
    /// The bare one.
    pub(crate) bare: &'a Path,
    /// Whether the measured one writes audit records.
    pub(crate) has_audit: bool,
}

/// Both servers.
pub(crate) struct Servers {
    pub(crate) ours: Server,
    pub(crate) bare: Server,
    idle_rss_kib: u64,
    has_audit: bool,
}

impl Servers {
    /// Starts both, and makes the requests.
    pub(crate) async fn start(
        settings: &Settings<'_>,
        credentials: &Credentials,
    ) -> Result<(Self, Requests), Failure> {
        let directory = settings.directory;
        let (certificate, key) = (directory.join("server.crt"), directory.join("server.key"));
        std::fs::write(&certificate, credentials.server_certificate_pem())?;
        std::fs::write(&key, credentials.server_key_pem().expose())?;

        let ours = start_ours(settings, credentials).await?;
        tokio::time::sleep(SETTLE).await;
        let idle_rss_kib = ours.pid().rss_kib()?;
        let prepared = Requests::prepare(&mut ours.target.connect_http1().await?).await;
        let requests = prepared.map_err(|error| ours.explain(&error.to_string()))?;

        let target = Target::new(free_address()?, credentials)?;
        let mut command = Command::new(settings.bare);
        command.arg("--address").arg(target.address.to_string());
        command.arg("--cert").arg(&certificate);
        command.arg("--key").arg(&key);
        for (operation, size) in requests.answer_sizes() {
            command.arg("--body").arg(format!("{operation}={size}"));
        }
        let bare = Server::start(&mut command, target, &directory.join("bare.log")).await?;
        let checked = requests
            .check(&mut bare.target.connect_http1().await?)
            .await;
        checked.map_err(|error| bare.explain(&error.to_string()))?;
        let servers = Self {
            ours,
            bare,
            idle_rss_kib,
            has_audit: settings.has_audit,
        };
        Ok((servers, requests))
    }

    /// What is measured, and how the server is before the load.
    pub(crate) fn describe(&self) -> Result<String, Failure> {
        let audit = if self.has_audit { "on" } else { "off" };
        Ok(format!(
            "Server: `kes server`, fs keystore, key cached, audit log {audit}. Against: bare \
             actix-web, the same TLS and answers of the same size.\n\
             Start-up until TLS is accepted: {:.1} ms (bare: {:.1} ms). Idle RSS: {} (bare: {}).",
            milliseconds(self.ours.start_up),
            milliseconds(self.bare.start_up),
            mebibytes(self.idle_rss_kib),
            mebibytes(self.bare.pid().rss_kib()?),
        ))
    }

    /// How the servers are after the load.
    pub(crate) fn describe_end(&self) -> Result<String, Failure> {
        let ours = mebibytes(self.ours.pid().rss_kib()?);
        let bare = mebibytes(self.bare.pid().rss_kib()?);
        Ok(format!("RSS after the load: {ours} (bare: {bare})."))
    }

    /// An error, with the end of what both servers printed.
    pub(crate) fn explain(&self, error: &Failure) -> Failure {
        let ours = self.ours.explain("kes server:");
        let bare = self.bare.explain("bench-bare:");
        format!("{error}\n{ours}\n{bare}").into()
    }
}

async fn start_ours(settings: &Settings<'_>, credentials: &Credentials) -> Result<Server, Failure> {
    let directory = settings.directory;
    let target = Target::new(free_address()?, credentials)?;
    let config = directory.join("config.yml");
    std::fs::write(&config, configuration(settings, &target, credentials))?;
    let mut command = Command::new(settings.kes);
    command.arg("server").arg("--config").arg(&config);
    Server::start(&mut command, target, &directory.join("kes.log")).await
}

fn configuration(settings: &Settings<'_>, target: &Target, credentials: &Credentials) -> String {
    let directory = settings.directory.display();
    let audit = if settings.has_audit { "on" } else { "off" };
    format!(
        "version: v1\n\
         address: {address}\n\
         admin:\n  identity: {admin}\n\
         tls:\n  key: {directory}/server.key\n  cert: {directory}/server.crt\n\
         cache:\n  expiry:\n    any: 5m\n    unused: 5m\n\
         log:\n  error: on\n  audit: {audit}\n\
         keystore:\n  fs:\n    path: {directory}/keys\n",
        address = target.address,
        admin = credentials.admin_identity(),
    )
}

/// An address that was free a moment ago.
fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn mebibytes(kib: u64) -> String {
    let (whole, tenth) = (kib / 1024, kib % 1024 * 10 / 1024);
    format!("{whole}.{tenth} MiB")
}

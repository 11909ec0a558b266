//! What the server is measured against: actix-web with mutual TLS and a handler that reads the body
//! and answers with constant bytes. It does nothing else, and must stay that way.

#![allow(
    clippy::print_stderr,
    reason = "the console is how this program reports an error"
)]

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use bytes::Bytes;
use clap::Parser;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ServerConfig};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme, version};

/// How long an idle connection is kept; as long as the measured server does.
const KEEP_ALIVE: Duration = Duration::from_secs(120);

#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long)]
    address: SocketAddr,
    /// Certificate chain, PEM.
    #[arg(long)]
    cert: PathBuf,
    /// Private key, PEM.
    #[arg(long)]
    key: PathBuf,
    /// An operation and the size of its answer in bytes: `decrypt=100`. Repeatable.
    #[arg(long = "body", value_parser = parse_body)]
    bodies: Vec<(String, usize)>,
}

/// The answers, by operation.
type Bodies = HashMap<String, Bytes>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-bare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let tls = tls_config(args)?;
    let bodies = args.bodies.iter();
    let bodies: Bodies = bodies
        .map(|(operation, size)| (operation.clone(), Bytes::from(vec![b'A'; *size])))
        .collect();
    let bodies = web::Data::new(bodies);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let address = args.address;
    actix_web::rt::System::new().block_on(async move {
        HttpServer::new(move || {
            App::new()
                .app_data(bodies.clone())
                .route("/v1/key/{operation}/{name}", web::post().to(answer))
        })
        .workers(workers)
        .tcp_nodelay(true)
        .keep_alive(KEEP_ALIVE)
        .bind_rustls_0_23(address, tls)?
        .run()
        .await
    })?;
    Ok(())
}

async fn answer(
    path: web::Path<(String, String)>,
    request: Bytes,
    bodies: web::Data<Bodies>,
) -> HttpResponse {
    // Read as a whole; what it says does not matter.
    std::hint::black_box(&request);
    match bodies.get(&path.0) {
        Some(body) => HttpResponse::Ok()
            .content_type("application/json")
            .body(body.clone()),
        None => HttpResponse::NotFound().finish(),
    }
}

fn parse_body(text: &str) -> Result<(String, usize), String> {
    let (operation, size) = text.split_once('=').ok_or("not 'operation=size'")?;
    let size = size
        .parse()
        .map_err(|error| format!("size '{size}': {error}"))?;
    Ok((operation.to_owned(), size))
}

/// The same handshakes as the measured server's: required certificates of any issuer, no resumption.
fn tls_config(args: &Args) -> Result<ServerConfig, Box<dyn Error>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_file_iter(&args.cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&args.key)?;
    let verifier = Arc::new(AnyCertificate::new(&provider));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// Accepts any client certificate whose key the client holds.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl AnyCertificate {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

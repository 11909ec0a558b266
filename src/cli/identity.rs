//! `kes identity`: API keys, private keys, certificates, and the identities that belong to them.
//!
//! Everything but `info`, `ls` and `rm` happens on this host alone. A private key is written nowhere but
//! to the file that was asked for; an API key is shown once.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use rustls_pki_types::CertificateDer;

use super::args::{IdentityArgs, IdentityCommand, IdentityNewArgs};
use super::failure::Failure;
use super::files::{self, FileError};
use super::identity_server;
use super::output::{Output, Style};
use super::password;
use super::policy_change;
use crate::base::identity::Identity;
use crate::base::secret::{SecretBytes, SecretString};
use crate::crypto::api_key::{ApiKey, ApiKeyError};
use crate::crypto::certificate::{self, CertificateError, CertificateRequest};
use crate::crypto::pem::{self, PemError};
use crate::crypto::random::RandomError;

/// What tells an API key from a file name.
const API_KEY_PREFIX: &str = "kes:v1:";

/// Life of a certificate if nothing else is asked for: 30 days.
const DEFAULT_EXPIRY: Duration = Duration::from_secs(720 * 60 * 60);

/// Something is wrong with a key or a certificate on this host.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Not an API key.
    #[error(transparent)]
    ApiKey(#[from] ApiKeyError),
    /// Not a certificate file.
    #[error("failed to parse certificate in '{}': {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PemError,
    },
    /// A certificate file whose certificate has no public key that can be read, or cannot be made.
    #[error(transparent)]
    X509(#[from] CertificateError),
    /// A file with neither a certificate nor a private key.
    #[error("'{}' contains no valid PEM certificate or private key", .0.display())]
    NothingInside(PathBuf),
    /// A private key, but not an Ed25519 key in PKCS#8.
    #[error("'{}' contains unsupported private key. Only ed25519 private keys are supported", .0.display())]
    UnsupportedKey(PathBuf),
    /// The operating system has no random bytes.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// A private key cannot be encrypted.
    #[error("failed to encrypt private key: {0}")]
    Encrypt(PemError),
    /// The password cannot be read.
    #[error("{0}")]
    Password(io::Error),
    /// The second password differs from the first.
    #[error("passwords don't match")]
    PasswordMismatch,
    /// The file would be overwritten.
    #[error("{0} already exists. Use --force to overwrite it")]
    Exists(&'static str),
}

/// Runs `kes identity`.
pub(super) async fn run(args: &IdentityArgs) -> Result<(), Failure> {
    match &args.command {
        None => {
            let output = Output::detect_captured();
            let text = match args.rest.as_slice() {
                [] => created(&output, &ApiKey::generate().map_err(IdentityError::from)?),
                [argument] => computed(&output, argument)?,
                _ => return Err(Failure::usage("kes identity", "too many arguments")),
            };
            output.print(&text)
        }
        Some(IdentityCommand::New(new)) => create(new),
        Some(IdentityCommand::Of(of)) => {
            let Some(argument) = of.rest.first() else {
                let message = "no API key or certificate specified";
                return Err(Failure::usage("kes identity of", message));
            };
            let output = Output::detect_captured();
            let identity = identity_of(argument)?;
            output.print(&match output.terminal {
                true => format!(
                    "Identity:\n\n   {}\n",
                    output.paint(Style::BOLD, identity.as_str())
                ),
                false => identity.to_string(),
            })
        }
        Some(IdentityCommand::Info(info)) => identity_server::info(info).await,
        Some(IdentityCommand::Ls(ls)) => identity_server::list(ls).await,
        Some(IdentityCommand::Rm(rm)) => policy_change::remove_identity(rm).await,
    }
}

/// `kes identity` without an argument: the text for a new API key.
fn created(output: &Output, key: &ApiKey) -> String {
    let text = key.to_text();
    if !output.terminal {
        return text.expose().to_owned();
    }
    let identity = key.identity();
    let block = block(&[
        "Your API key:",
        "",
        &format!("   {}", text.expose()),
        "",
        "It is shown only now. Whoever has it can act as you: keep it secret.",
        "",
        "Your API key's identity:",
        "",
        &format!("   {identity}"),
        "",
        "The identity is public. A server needs it to recognize your API key.",
        "",
        "You can compute it again with:",
        "",
        &format!("  $ kes identity {}", text.expose()),
    ]);
    emphasize(
        output,
        &emphasize(output, &block, text.expose()),
        identity.as_str(),
    )
}

/// `kes identity KEY|FILE`: the identity, or the API key of a private key.
fn computed(output: &Output, argument: &str) -> Result<String, IdentityError> {
    match ApiKey::parse(argument) {
        Ok(key) => return Ok(identity_text(output, &key.identity())),
        Err(error) if argument.starts_with(API_KEY_PREFIX) => return Err(error.into()),
        Err(_) => {}
    }
    let path = Path::new(argument);
    let content = files::read(path)?;
    for found in pem::blocks(content.expose()) {
        if found.label == "CERTIFICATE" {
            return Ok(identity_text(
                output,
                &certificate::identity_of(&found.der)?,
            ));
        }
        if found.is_private_key() {
            let key = pem::api_key_of_pkcs8(&found.der)
                .ok_or_else(|| IdentityError::UnsupportedKey(path.to_owned()))?;
            return Ok(api_key_text(output, argument, &key.to_text()));
        }
    }
    Err(IdentityError::NothingInside(path.to_owned()))
}

fn identity_text(output: &Output, identity: &Identity) -> String {
    if !output.terminal {
        return identity.to_string();
    }
    let block = block(&[
        "Identity:",
        "",
        &format!("   {identity}"),
        "",
        "The identity is public. A server needs it to recognize its client.",
    ]);
    emphasize(output, &block, identity.as_str())
}

fn api_key_text(output: &Output, file: &str, key: &SecretString) -> String {
    if !output.terminal {
        return key.expose().to_owned();
    }
    let block = block(&[
        "Your API key:",
        "",
        &format!("   {}", key.expose()),
        "",
        &format!("It is the private key in '{file}'. Keep it secret."),
    ]);
    emphasize(output, &block, key.expose())
}

/// Lines, indented by one column and filled to the same width, with a blank line around them.
fn block(lines: &[&str]) -> String {
    let width = lines
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let mut text = "\n".to_owned();
    for line in lines {
        text.push_str(&format!(" {line:width$}\n"));
    }
    text.push('\n');
    text
}

/// `text` with the first `part` in bold.
fn emphasize(output: &Output, text: &str, part: &str) -> String {
    text.replacen(part, &output.paint(Style::BOLD, part), 1)
}

/// `kes identity of`: only certificates, or API keys with their prefix.
fn identity_of(argument: &str) -> Result<Identity, IdentityError> {
    if argument.starts_with(API_KEY_PREFIX) {
        return Ok(ApiKey::parse(argument)?.identity());
    }
    let path = Path::new(argument);
    let failed = |source| IdentityError::Certificate {
        path: path.to_owned(),
        source,
    };
    let content = files::read(path)?;
    let certificates = pem::certificates(content.expose()).map_err(failed)?;
    let first = certificates
        .first()
        .ok_or_else(|| failed(PemError::NoPem))?;
    Ok(certificate::identity_of(first)?)
}

/// Where `kes identity new` writes to.
struct KeyPairFiles<'a> {
    key: &'a Path,
    cert: &'a Path,
}

/// `kes identity new`.
fn create(args: &IdentityNewArgs) -> Result<(), Failure> {
    let files = checked_files(args)?;
    let ([] | [_]) = args.rest.as_slice() else {
        return Err(Failure::usage("kes identity new", "too many arguments"));
    };
    let key = ApiKey::generate().map_err(IdentityError::from)?;
    if let Some(files) = &files {
        write_key_pair(args, files, &key)?;
    }
    let output = Output::detect();
    output.print(&new_text(&output, &key, files.as_ref()))
}

/// Checks which options go together.
fn checked_files(args: &IdentityNewArgs) -> Result<Option<KeyPairFiles<'_>>, Failure> {
    let refused = |message: &str| Err(Failure::Refused(message.to_owned()));
    match (&args.key, &args.cert) {
        (Some(key), Some(cert)) => return Ok(Some(KeyPairFiles { key, cert })),
        (Some(_), None) => {
            return refused(
                "private key file specified but no certificate file. Set the '--cert' flag",
            );
        }
        (None, Some(_)) => {
            return refused(
                "certificate file specified but no private key file. Set the '--key' flag",
            );
        }
        (None, None) => {}
    }
    let dependent = [
        ("--encrypt", args.encrypt),
        ("--force", args.force),
        ("--expiry", args.expiry.is_some()),
        ("--ip", !args.ip.is_empty()),
        ("--dns", !args.dns.is_empty()),
    ];
    match dependent.iter().find(|(_, given)| *given) {
        Some((flag, _)) => refused(&format!(
            "'{flag}' requires a private key and certificate file. Set the '--cert' and '--key' flag"
        )),
        None => Ok(None),
    }
}

/// Writes private key and certificate, or neither.
fn write_key_pair(
    args: &IdentityNewArgs,
    to: &KeyPairFiles<'_>,
    key: &ApiKey,
) -> Result<(), Failure> {
    let expiry = match args.expiry {
        None => DEFAULT_EXPIRY,
        Some(expiry) => expiry
            .to_std()
            .ok_or_else(|| Failure::Refused("'--expiry' must not be negative".to_owned()))?,
    };
    if !args.force {
        let occupied = [(to.key, "private key"), (to.cert, "certificate")];
        if let Some((_, what)) = occupied
            .iter()
            .find(|(path, _)| path.symlink_metadata().is_ok())
        {
            return Err(IdentityError::Exists(what).into());
        }
    }
    let certificate = self_signed(args, key, expiry)?;
    let key_text = key_pem(key, args.encrypt)?;
    files::write_private(to.key, key_text.expose().as_bytes(), args.force)
        .map_err(IdentityError::from)?;
    let text = pem::encode_certificate(&certificate);
    files::write_private(to.cert, text.as_bytes(), args.force).map_err(|error| {
        // A key without its certificate is of no use, and would be in the way of the next attempt.
        let _ = fs::remove_file(to.key);
        IdentityError::from(error).into()
    })
}

/// The certificate that the flags ask for, for servers and clients.
fn self_signed(
    args: &IdentityNewArgs,
    key: &ApiKey,
    not_after: Duration,
) -> Result<CertificateDer<'static>, IdentityError> {
    let names = args
        .dns
        .iter()
        .flat_map(|list| list.split(','))
        .map(str::trim);
    let dns: Vec<String> = names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let ips: Vec<IpAddr> = args
        .ip
        .iter()
        .flat_map(|list| list.0.iter().copied())
        .collect();
    let request = CertificateRequest {
        common_name: args.rest.first().map(String::as_str),
        dns: &dns,
        ips: &ips,
        not_after,
        server_auth: true,
    };
    Ok(certificate::self_signed(key, &request)?)
}

/// The private key as PEM, encrypted with a password that is asked for twice.
fn key_pem(key: &ApiKey, encrypt: bool) -> Result<SecretString, IdentityError> {
    let der: SecretBytes = key.to_pkcs8_der();
    if !encrypt {
        return Ok(pem::encode_private_key(der.expose()));
    }
    let password =
        password::ask("Enter password for private key:").map_err(IdentityError::Password)?;
    let again =
        password::ask("Confirm password for private key:").map_err(IdentityError::Password)?;
    if password.expose() != again.expose() {
        return Err(IdentityError::PasswordMismatch);
    }
    pem::encrypt_private_key(der.expose(), password.expose()).map_err(IdentityError::Encrypt)
}

/// What `kes identity new` prints: the same text for people and programs.
fn new_text(output: &Output, key: &ApiKey, files: Option<&KeyPairFiles<'_>>) -> String {
    let identity = key.identity();
    let key = key.to_text();
    let mut text = format!(
        "Your API key:\n\n   {}\n\n\
         It is shown only now. Whoever has it can act as you: keep it secret.\n\n\
         Your Identity:\n\n   {}\n\n\
         The identity is public and may be shared. A server needs it\n\
         to recognize your API key.\n\n",
        output.paint(Style::BOLD, key.expose()),
        output.paint(Style::BOLD, identity.as_str()),
    );
    if let Some(KeyPairFiles { key, cert }) = files {
        text.push_str(&format!(
            "The generated TLS private key is stored at: {}\n\
             The generated TLS certificate is stored at: {}\n\n",
            key.display(),
            cert.display()
        ));
    }
    text.push_str("The identity can be computed again via:\n\n");
    text.push_str(&format!("    kes identity of {}\n", key.expose()));
    match files {
        Some(files) => text.push_str(&format!("    kes identity of {}\n", files.cert.display())),
        None => text.push('\n'),
    }
    text
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;

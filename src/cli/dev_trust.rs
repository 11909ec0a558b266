//! How `kes key create my-key` trusts the development server of the same user, without `-k`.
//!
//! A development server makes a new certificate at each start. It leaves it in a directory that only
//! its user can write, and the client trusts exactly that certificate, only for an endpoint of this
//! host and this port. Whoever could plant a certificate there could replace the client as well.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;

use super::files;
use crate::base::secret::SecretBytes;
use crate::crypto::pem;

/// Stores the certificate of the development server at `port`; gives the file.
///
/// # Errors
///
/// If the directory is not ours alone, or the file cannot be written.
pub fn store(port: u16, certificate: &CertificateDer<'_>) -> io::Result<PathBuf> {
    let directory = directory();
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    store_in(&directory, port, certificate)
}

/// Forgets the certificate of the development server at `port`.
pub fn remove(port: u16) {
    // A file that stays trusts a key that no longer exists.
    let _ = fs::remove_file(file(&directory(), port));
}

/// The certificate of the development server at `port`, if one of this user runs there.
pub(super) fn load(port: u16) -> Option<CertificateDer<'static>> {
    load_from(&directory(), port)
}

/// The certificate to trust at `endpoint`, which is `host:port` or `https://host:port`.
pub(super) fn certificate_for(endpoint: &str) -> Option<CertificateDer<'static>> {
    loopback_port(endpoint).and_then(load)
}

/// Where a development server leaves its API key: `kes-dev-apikey.txt` in the directory for
/// temporary files.
pub fn api_key_path() -> PathBuf {
    std::env::temp_dir().join("kes-dev-apikey.txt")
}

fn directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| Path::new(path).is_absolute()) {
        Some(runtime) => Path::new(&runtime).join("kes"),
        None => {
            let user = rustix::process::geteuid().as_raw();
            std::env::temp_dir().join(format!("kes-{user}"))
        }
    }
}

fn file(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!("dev-{port}.crt"))
}

fn store_in(directory: &Path, port: u16, certificate: &CertificateDer<'_>) -> io::Result<PathBuf> {
    check(directory)?;
    let path = file(directory, port);
    let text = pem::encode_certificate(certificate);
    files::write_private(&path, text.as_bytes(), true).map_err(io::Error::other)?;
    Ok(path)
}

fn load_from(directory: &Path, port: u16) -> Option<CertificateDer<'static>> {
    check(directory).ok()?;
    let text: SecretBytes = files::read(&file(directory, port)).ok()?;
    pem::certificates(text.expose()).ok()?.into_iter().next()
}

/// Refuses a directory that is not ours, or that others can look into.
fn check(directory: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(directory)?;
    let ours = metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw();
    if ours && metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "'{}' must be a directory that belongs to this user and is closed to others",
        directory.display()
    )))
}

/// The port of `endpoint` if it is on this host.
fn loopback_port(endpoint: &str) -> Option<u16> {
    let authority = endpoint.strip_prefix("https://").unwrap_or(endpoint);
    let authority = authority.split('/').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') => {
            (host, port.parse().ok()?)
        }
        _ => (authority, 443),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let here = host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    here.then_some(port)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_endpoints_of_this_host_count() {
        for (endpoint, port) in [
            ("127.0.0.1:7373", Some(7373)),
            ("https://127.9.9.9:1/", Some(1)),
            ("https://[::1]:7373", Some(7373)),
            ("LOCALHOST:7000", Some(7000)),
            ("https://localhost", Some(443)),
            ("10.0.0.1:7373", None),
            ("https://localhost.example.com:7373", None),
            ("https://127.0.0.1.example.com:7373", None),
            ("127.0.0.1:x", None),
            ("", None),
        ] {
            assert_eq!(loopback_port(endpoint), port, "{endpoint}");
        }
    }

    #[test]
    fn a_stored_certificate_is_found_only_at_its_port() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).expect("changed");
        let certificate = CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01, 0x01]);
        let path = store_in(directory.path(), 7373, &certificate).expect("stored");
        assert_eq!(path, directory.path().join("dev-7373.crt"));
        assert_eq!(load_from(directory.path(), 7373), Some(certificate));
        assert_eq!(load_from(directory.path(), 7374), None);
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).expect("changed");
        let certificate = CertificateDer::from(vec![0x30, 0x00]);
        store_in(directory.path(), 1, &certificate).expect("stored");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).expect("changed");
        assert!(store_in(directory.path(), 1, &certificate).is_err());
        assert_eq!(load_from(directory.path(), 1), None);
    }

    #[test]
    fn a_link_to_a_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path(), &link).expect("linked");
        assert!(check(&link).is_err());
    }
}

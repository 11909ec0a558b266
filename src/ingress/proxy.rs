//! TLS proxies: a trusted proxy forwards its client's certificate in a header.
//!
//! Only the peers that the configuration names are proxies; from anybody else the header means
//! nothing.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use percent_encoding::percent_decode;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::connection::peer;
use super::tls::TlsState;
use crate::api::{ApiError, AuthenticationError, Peer};
use crate::crypto::pem;

/// Access to the headers of a request.
pub(super) trait Headers {
    /// Values of all header lines of that name, at most two of them.
    fn values(&self, name: &str) -> [Option<&[u8]>; 2];
}

/// Who asks: the peer itself, or whom it stands for. `None`: the peer itself.
///
/// # Errors
///
/// [`ApiError`] if proxies are configured and the client cannot be told, whatever the route.
pub(super) fn forwarded_peer(
    tls: &TlsState,
    proxy: &Peer,
    headers: &impl Headers,
) -> Result<Option<Peer>, ApiError> {
    if tls.proxy.identities.is_empty() {
        return Ok(None);
    }
    let identity = match &proxy.identity {
        Ok(identity) => identity,
        Err(AuthenticationError::NoCertificate) => return Err(ApiError::NoForwardedCertificate),
        Err(AuthenticationError::SeveralCertificates) => {
            return Err(ApiError::SeveralForwardedCertificates);
        }
    };
    if !tls.proxy.identities.contains(identity) {
        return Ok(None);
    }
    let certificate = match headers.values(&tls.proxy.certificate_header) {
        [None, _] => return Err(ApiError::NoForwardedCertificate),
        [Some(_), Some(_)] => return Err(ApiError::SeveralForwardedCertificates),
        [Some(value), None] => parse_certificate(value)?,
    };
    if let Some(verifier) = &tls.forwarded {
        verifier
            .verify_client_cert(&certificate, &[], UnixTime::now())
            .map_err(|_| ApiError::UntrustedForwardedCertificate)?;
    }
    let mut client = peer(None, std::slice::from_ref(&certificate));
    let [forwarded_for, _] = headers.values("x-forwarded-for");
    client.ip = forwarded_for.and_then(parse_address).or(proxy.ip);
    Ok(Some(client))
}

/// The first certificate of a URL-escaped PEM text, in which `+` stands for a space.
fn parse_certificate(value: &[u8]) -> Result<CertificateDer<'static>, ApiError> {
    if !has_valid_escapes(value) {
        return Err(ApiError::InvalidForwardedCertificate);
    }
    let spaced: Vec<u8> = value
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    let unescaped: Vec<u8> = percent_decode(&spaced).collect();
    let blocks = pem::blocks(&unescaped);
    match blocks.into_iter().next() {
        Some(block) if block.label == "CERTIFICATE" => {
            let certificate = CertificateDer::from(block.der.to_vec());
            match crate::crypto::certificate::identity_of(&certificate) {
                Ok(_) => Ok(certificate),
                Err(_) => Err(ApiError::InvalidForwardedCertificate),
            }
        }
        _ => Err(ApiError::InvalidForwardedCertificate),
    }
}

fn has_valid_escapes(value: &[u8]) -> bool {
    value
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(at, _)| {
            value
                .get(at + 1..at + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
}

/// The first address of an `X-Forwarded-For` header.
fn parse_address(value: &[u8]) -> Option<IpAddr> {
    let value = std::str::from_utf8(value).ok()?;
    let first = value.split(',').next()?;
    if first.is_empty() || first == "unknown" {
        return None;
    }
    IpAddr::from_str(first)
        .ok()
        .or_else(|| SocketAddr::from_str(first).ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_from_the_front() {
        let ip = |text: &str| parse_address(text.as_bytes()).map(|ip| ip.to_string());
        assert_eq!(ip("192.0.2.7, 10.0.0.1").as_deref(), Some("192.0.2.7"));
        assert_eq!(ip("192.0.2.7:8080").as_deref(), Some("192.0.2.7"));
        assert_eq!(ip("[2001:db8::1]:8080").as_deref(), Some("2001:db8::1"));
        for bad in ["", "unknown", " 192.0.2.7", "example.org"] {
            assert_eq!(ip(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for bad in ["%A-", "%", "bm90IGEgY2VydA==", ""] {
            assert!(parse_certificate(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

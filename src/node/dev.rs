//! The development server: keys in memory, a certificate and an API key made at its start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::error::NodeError;
use crate::crypto::api_key::ApiKey;

/// What a development server makes for itself.
pub struct Development {
    /// The admin's key.
    pub api_key: ApiKey,
    /// The server's certificate, self-signed.
    pub certificate: CertificateDer<'static>,
    /// The key of the certificate.
    pub key: PrivateKeyDer<'static>,
}

/// Lifetime of the certificate.
const LIFETIME: std::time::Duration = std::time::Duration::from_secs(90 * 24 * 3600);

impl Development {
    /// Makes a key and a certificate for `addresses`.
    ///
    /// # Errors
    ///
    /// [`NodeError`] if there are no random numbers or the certificate cannot be made.
    pub fn new(addresses: &[IpAddr]) -> Result<Self, NodeError> {
        let certificate_error = |error: rcgen::Error| NodeError::Certificate(error.to_string());
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "localhost");
        params.subject_alt_names = addresses.iter().copied().map(SanType::IpAddress).collect();
        if let Ok(name) = "localhost".try_into() {
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = std::time::SystemTime::now();
        params.not_before = now.into();
        params.not_after = (now + LIFETIME).into();
        let pair = KeyPair::generate().map_err(certificate_error)?;
        let certificate = params.self_signed(&pair).map_err(certificate_error)?;
        Ok(Self {
            api_key: ApiKey::generate()?,
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der())),
        })
    }
}

/// Addresses at which a server that listens on `address` can be reached: its own, or those of all
/// interfaces, IPv6 only if there is no IPv4.
///
/// # Errors
///
/// [`NodeError::Address`] if there is none.
pub fn local_addresses(address: SocketAddr) -> Result<Vec<IpAddr>, NodeError> {
    if !address.ip().is_unspecified() {
        return Ok(vec![address.ip()]);
    }
    let interfaces = if_addrs::get_if_addrs().map_err(|source| NodeError::System {
        what: "the list of interfaces",
        source,
    })?;
    let mut all: Vec<IpAddr> = interfaces
        .into_iter()
        .map(|interface| interface.ip())
        .collect();
    all.retain(|ip| !is_link_local(ip) && !ip.is_multicast());
    let mut addresses: Vec<IpAddr> = all.iter().copied().filter(IpAddr::is_ipv4).collect();
    if addresses.is_empty() {
        addresses = all;
    }
    addresses.sort_by_key(|ip| (*ip != IpAddr::V4(Ipv4Addr::LOCALHOST), *ip));
    addresses.dedup();
    if addresses.is_empty() {
        return Err(NodeError::Address(
            "no IPv4 or IPv6 addresses available".to_owned(),
        ));
    }
    Ok(addresses)
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

//! Who is at the other end: once per connection, from the handshake.

use std::net::{IpAddr, SocketAddr};

use rustls::pki_types::CertificateDer;

use crate::api::{AuthenticationError, Peer};
use crate::base::identity::Identity;
use crate::crypto::certificate::{identity_of, is_ca};

/// The peer that presented `certificates`, its own first.
pub(super) fn peer(address: Option<SocketAddr>, certificates: &[CertificateDer<'_>]) -> Peer {
    Peer {
        ip: address.map(|address| canonical(address.ip())),
        identity: identity(certificates),
    }
}

/// An IPv4 client of a dual-stack socket is shown as IPv4.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

/// The identity of the end entity. TLS proves possession of the first certificate's key only, so no
/// other certificate of the chain is ever looked at for an identity.
fn identity(certificates: &[CertificateDer<'_>]) -> Result<Identity, AuthenticationError> {
    let Some((end_entity, others)) = certificates.split_first() else {
        return Err(AuthenticationError::NoCertificate);
    };
    // What cannot be parsed is no CA certificate: it counts as one of a client.
    let is_ca = |certificate: &CertificateDer<'_>| is_ca(certificate).unwrap_or(false);
    if is_ca(end_entity) {
        return Err(AuthenticationError::NoCertificate);
    }
    if others.iter().any(|certificate| !is_ca(certificate)) {
        return Err(AuthenticationError::SeveralCertificates);
    }
    identity_of(end_entity).map_err(|_| AuthenticationError::NoCertificate)
}

//! Whose certificates count: those that an authority of the cluster made for a node, no others.
//!
//! Everything a certificate must be is checked here, at both ends alike: no name or address of a host
//! matters, no system root is trusted, and no chain is followed.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, PeerMisbehaved,
    SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::authority::{Authority, AuthorityId};
use super::node_uri::NodeUri;
use crate::storage::NodeId;

/// Who is at the other end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Who vouches for it.
    pub authority: AuthorityId,
}

/// Why the other end is not whom we speak with.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It showed no certificate.
    #[error("the peer showed no certificate")]
    NoCertificate,
    /// It showed more than its own certificate. Nobody but the authority itself makes certificates.
    #[error("the peer showed a chain of certificates, but only its own counts")]
    Chain,
    /// No authority of this cluster made the certificate, or it is not valid (now).
    #[error("the certificate of the peer is not valid in this cluster: {0}")]
    NotValid(#[from] webpki::Error),
    /// The certificate names no node, or more than a node.
    #[error("the certificate of the peer does not name a node")]
    NoNode,
    /// Another node than expected.
    #[error("expected the node {expected:016x} but found the node {found:016x}")]
    OtherNode {
        /// Who was dialed.
        expected: NodeId,
        /// Who answered.
        found: NodeId,
    },
}

impl From<PeerError> for Error {
    fn from(error: PeerError) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }
}

/// At which end of the connection the certificate was shown.
#[derive(Clone, Copy)]
pub(super) enum ShownBy {
    Server,
    Client,
}

impl ShownBy {
    fn usage(self) -> KeyUsage {
        match self {
            Self::Server => KeyUsage::server_auth(),
            Self::Client => KeyUsage::client_auth(),
        }
    }
}

/// The authorities that count.
#[derive(Debug)]
pub(super) struct Trust {
    anchors: Vec<(AuthorityId, TrustAnchor<'static>)>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    pub(super) fn new(authorities: &[Arc<Authority>]) -> Self {
        let anchor = |authority: &Arc<Authority>| (authority.id(), authority.anchor().clone());
        Self {
            anchors: authorities.iter().map(anchor).collect(),
            algorithms: rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms,
        }
    }

    pub(super) fn contains(&self, authority: AuthorityId) -> bool {
        self.anchors.iter().any(|(id, _)| *id == authority)
    }

    /// Whom this certificate proves, provided that the peer has its key.
    ///
    /// # Errors
    ///
    /// [`PeerError`] unless it is the certificate of a node, made by an authority that counts, and
    /// valid at `now` for the end that showed it.
    pub(super) fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        shown_by: ShownBy,
        now: UnixTime,
    ) -> Result<Peer, PeerError> {
        if !others.is_empty() {
            return Err(PeerError::Chain);
        }
        let authority = self.issuer_of(certificate, shown_by, now)?;
        let node = node_of(certificate)?;
        Ok(Peer { node, authority })
    }

    fn issuer_of(
        &self,
        certificate: &CertificateDer<'_>,
        shown_by: ShownBy,
        now: UnixTime,
    ) -> Result<AuthorityId, webpki::Error> {
        let parsed = EndEntityCert::try_from(certificate)?;
        let mut reason = webpki::Error::UnknownIssuer;
        for (id, anchor) in &self.anchors {
            let verified = parsed.verify_for_usage(
                self.algorithms.all,
                std::slice::from_ref(anchor),
                &[],
                now,
                shown_by.usage(),
                None,
                None,
            );
            match verified {
                Ok(_) => return Ok(*id),
                Err(webpki::Error::UnknownIssuer) => {}
                // Of one that has the name of this authority: more telling.
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }
}

/// The one node that a certificate names.
fn node_of(certificate: &CertificateDer<'_>) -> Result<NodeId, PeerError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| PeerError::NoNode)?;
    let names = match parsed.subject_alternative_name() {
        Ok(Some(names)) => &names.value.general_names,
        _ => return Err(PeerError::NoNode),
    };
    match names.as_slice() {
        [GeneralName::URI(uri)] => NodeUri::parse(uri).ok_or(PeerError::NoNode),
        _ => Err(PeerError::NoNode),
    }
}

/// Checks the other end during the handshake.
#[derive(Debug)]
pub(super) struct NodeVerifier {
    trust: Arc<Trust>,
    /// The one node to accept; `None`: any node of the cluster.
    expected: Option<NodeId>,
}

impl NodeVerifier {
    pub(super) fn new(trust: Arc<Trust>, expected: Option<NodeId>) -> Arc<Self> {
        Arc::new(Self { trust, expected })
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.trust.algorithms)
    }
}

/// What nodes sign with.
fn schemes() -> Vec<SignatureScheme> {
    vec![SignatureScheme::ED25519]
}

/// TLS 1.2 is not offered.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let peer = self
            .trust
            .verify(certificate, others, ShownBy::Server, now)?;
        match self.expected {
            Some(expected) if expected != peer.node => {
                let found = peer.node;
                Err(PeerError::OtherNode { expected, found }.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

impl ClientCertVerifier for NodeVerifier {
    /// None: a node has only one certificate to show, and strangers need not learn which root keys are
    /// in use.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.trust
            .verify(certificate, others, ShownBy::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        schemes()
    }
}

#[cfg(test)]
mod tests;

//! The certificate authority of a cluster, which every node that holds the root key has by itself.
//!
//! Its key is derived from the root key, so there is nothing to distribute, to store or to lose: who
//! holds the root key is of the cluster, and nobody else. Ed25519 signatures are deterministic and all
//! fields of the authority's certificate are fixed, so it is the same, byte by byte, on every node.

use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use hkdf::Hkdf;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType,
    SerialNumber, SignatureAlgorithm, SigningKey,
};
use rustls::crypto::aws_lc_rs::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, TrustAnchor, UnixTime};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::TlsError;
use super::node_uri::NodeUri;
use crate::base::secret::Key256;
use crate::crypto::api_key::ApiKey;
use crate::crypto::random;
use crate::storage::NodeId;

/// Binds the derived key to its purpose and algorithm.
const KEY_LABEL: &[u8] = b"kes cluster authority v1: ed25519 seed";

/// How far back the validity of a node's certificate begins.
///
/// A peer whose clock is behind must not take it for one of the future. If one clock jumps an hour
/// ahead and another an hour back, they differ by two hours; a hardware clock in local time instead of
/// UTC is wrong by up to fourteen. An early beginning costs nothing: the key did not exist then.
pub(super) const VALID_BEFORE: Duration = Duration::from_secs(24 * 3600);

/// How long a node's certificate is valid after it was made.
///
/// It is renewed after [`super::RENEWAL_AGE`], a day, so six days remain at any time: for clocks that
/// jump ahead or differ, and for renewals that fail. It bounds for how long a private key taken out of a
/// node's memory is of use.
pub(super) const VALID_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// The object identifier of the extension BasicConstraints.
const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];

/// An empty SEQUENCE: BasicConstraints of a certificate that is no CA.
const EMPTY_SEQUENCE: [u8; 2] = [0x30, 0x00];

/// Which authority: the SHA-256 of its SubjectPublicKeyInfo. Not secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AuthorityId([u8; 32]);

impl AuthorityId {
    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes in hexadecimal.
    fn short(self) -> String {
        let mut text = String::with_capacity(16);
        for byte in &self.0[..8] {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }
}

/// An authority with its private key, which is wiped on drop.
pub struct Authority {
    id: AuthorityId,
    signer: Signer,
    certificate: CertificateDer<'static>,
    anchor: TrustAnchor<'static>,
}

impl Authority {
    /// The authority of whoever knows `seed`, a secret derived from a root key for this purpose.
    ///
    /// # Errors
    ///
    /// [`TlsError::Setup`] if the libraries refuse to make the certificate.
    pub fn derive(seed: &Key256) -> Result<Self, TlsError> {
        let signer = Signer::derive(seed)?;
        let id = AuthorityId(Sha256::digest(signer.subject_public_key_info()).into());
        let certificate = authority_params(id)
            .self_signed(&signer)
            .map_err(TlsError::Certificate)?
            .der()
            .clone();
        let anchor = webpki::anchor_from_trusted_cert(&certificate)
            .map_err(TlsError::Anchor)?
            .to_owned();
        Ok(Self {
            id,
            signer,
            certificate,
            anchor,
        })
    }

    /// Which authority this is.
    pub fn id(&self) -> AuthorityId {
        self.id
    }

    /// Its certificate: the same on every node. Peers need not be sent it.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What certificates of this authority are verified with.
    pub(super) fn anchor(&self) -> &TrustAnchor<'static> {
        &self.anchor
    }

    /// A certificate for the node `node` and a fresh key, valid around `now`.
    pub(super) fn issue(&self, node: NodeId, now: UnixTime) -> Result<CertifiedKey, TlsError> {
        let key = ApiKey::generate()?;
        let params = node_params(node, now)?;
        let certificate = self.sign(&params, key.public_key())?;
        let pkcs8 = key.to_pkcs8_der();
        let signing_key = any_eddsa_type(&PrivatePkcs8KeyDer::from(pkcs8.expose()))?;
        Ok(CertifiedKey::new(vec![certificate], signing_key))
    }

    /// Signs what `params` say of an Ed25519 key.
    pub(super) fn sign(
        &self,
        params: &CertificateParams,
        public_key: [u8; 32],
    ) -> Result<CertificateDer<'static>, TlsError> {
        let authority = authority_params(self.id);
        let issuer = Issuer::from_params(&authority, &self.signer);
        let certificate = params.signed_by(&Ed25519Key(public_key), &issuer);
        Ok(certificate.map_err(TlsError::Certificate)?.der().clone())
    }
}

/// What the certificate of an authority says. Its lifetime is that of the root key, so it has no end
/// of its own (that of rcgen's default lies in the year 4096).
pub(super) fn authority_params(id: AuthorityId) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, format!("kes cluster {}", id.short()));
    params.distinguished_name = subject;
    params.serial_number = Some(SerialNumber::from_slice(&[1]));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// What the certificate of a node says.
pub(super) fn node_params(node: NodeId, now: UnixTime) -> Result<CertificateParams, TlsError> {
    let since_epoch = Duration::from_secs(now.as_secs());
    let uri = NodeUri::of(node).to_string();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, uri.as_str());
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.serial_number = Some(SerialNumber::from(random::array::<16>()?.to_vec()));
    params.not_before = (SystemTime::UNIX_EPOCH + since_epoch.saturating_sub(VALID_BEFORE)).into();
    params.not_after = (SystemTime::UNIX_EPOCH + since_epoch.saturating_add(VALID_AFTER)).into();
    let uri = Ia5String::try_from(uri).map_err(TlsError::Certificate)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    // Not IsCa::ExplicitNoCa, which would add a subject key identifier.
    let mut no_ca = CustomExtension::from_oid_content(&BASIC_CONSTRAINTS, EMPTY_SEQUENCE.to_vec());
    no_ca.set_criticality(true);
    params.custom_extensions = vec![no_ca];
    Ok(params)
}

/// Signs without a copy of the private key: rcgen's own key pair keeps one that is not wiped.
struct Signer {
    key_pair: Ed25519KeyPair,
    public_key: Ed25519Key,
}

impl Signer {
    fn derive(seed: &Key256) -> Result<Self, TlsError> {
        let mut derived = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, seed.as_slice())
            .expand(KEY_LABEL, derived.as_mut_slice())
            .map_err(|_| TlsError::Derivation)?;
        let key_pair = Ed25519KeyPair::from_seed_unchecked(derived.as_slice())
            .map_err(|_| TlsError::Derivation)?;
        let mut public_key = [0; 32];
        public_key.copy_from_slice(key_pair.public_key().as_ref());
        Ok(Self {
            key_pair,
            public_key: Ed25519Key(public_key),
        })
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.public_key.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.public_key.algorithm()
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key_pair.sign(message).as_ref().to_vec())
    }
}

/// A public key.
struct Ed25519Key([u8; 32]);

impl PublicKeyData for Ed25519Key {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

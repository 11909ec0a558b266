//! X.509: certificates of our own, and what the server reads off those of others.
//!
//! Reading never vouches for a certificate: it checks no signature, no validity and no chain. A
//! certificate that says something twice or in a form that does not parse is refused, not skipped.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, KeyUsagePurpose, PKCS_ED25519, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_SUBJECT_ALT_NAME, Oid,
};
use x509_parser::prelude::FromDer;

use super::api_key::ApiKey;
use super::random::{self, RandomError};
use crate::base::identity::Identity;

/// The end of the year 9999, the last time that X.509 can write, in seconds since 1970.
const LAST_TIME_SECONDS: u64 = 253_402_300_799;

/// The object identifier of the extension BasicConstraints.
const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];

/// An empty SEQUENCE: BasicConstraints of a certificate that is no CA.
const EMPTY_SEQUENCE: [u8; 2] = [0x30, 0x00];

/// A certificate cannot be made or read.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum CertificateError {
    /// Not the DER of a certificate.
    #[error("x509: malformed certificate")]
    Malformed,
    /// A certificate, and more.
    #[error("x509: trailing data after the certificate")]
    TrailingData,
    /// An extension that does not parse or occurs twice.
    #[error("x509: certificate with an invalid {0} extension")]
    InvalidExtension(&'static str),
    /// A DNS name that is not ASCII.
    #[error("x509: '{0}' cannot be a DNS name of a certificate")]
    InvalidDnsName(String),
    /// A certificate that would outlive the year 9999.
    #[error("x509: certificate lifetime is too long")]
    LifetimeTooLong,
    /// No serial number.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The certificate cannot be signed.
    #[error("x509: failed to sign the certificate: {0}")]
    Signing(rcgen::Error),
}

/// What a new certificate says.
#[derive(Clone, Copy, Debug)]
pub struct CertificateRequest<'a> {
    /// The common name of the subject; without one it is the identity of the key.
    pub common_name: Option<&'a str>,
    /// Alternative names: host names.
    pub dns: &'a [String],
    /// Alternative names: addresses.
    pub ips: &'a [IpAddr],
    /// How long the certificate is valid, from now on.
    pub not_after: Duration,
    /// Whether it is fit for servers, too. For clients it always is.
    pub server_auth: bool,
}

/// Makes a certificate for `key`, signed by itself: X.509 v3, no CA.
///
/// # Errors
///
/// [`CertificateError`] if a DNS name is not ASCII or the lifetime is too long.
pub fn self_signed(
    key: &ApiKey,
    request: &CertificateRequest<'_>,
) -> Result<CertificateDer<'static>, CertificateError> {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(random::array::<16>()?.to_vec()));
    params.distinguished_name = subject(request.common_name, key);
    params.not_before = now.into();
    params.not_after = end_of_lifetime(now, request.not_after)?.into();
    params.subject_alt_names = alternative_names(request)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if request.server_auth {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    // Not IsCa::ExplicitNoCa, which would add a subject key identifier.
    let mut no_ca = CustomExtension::from_oid_content(&BASIC_CONSTRAINTS, EMPTY_SEQUENCE.to_vec());
    no_ca.set_criticality(true);
    params.custom_extensions = vec![no_ca];

    let signer = Signer {
        key_pair: key.key_pair(),
        public_key: key.public_key(),
    };
    let certificate = params
        .self_signed(&signer)
        .map_err(CertificateError::Signing)?;
    Ok(certificate.der().clone())
}

/// A subject of nothing but a common name, as PrintableString where its characters allow that.
fn subject(common_name: Option<&str>, key: &ApiKey) -> DistinguishedName {
    let name = common_name.map_or_else(|| key.identity().as_str().to_owned(), str::to_owned);
    let value = match PrintableString::try_from(name.as_str()) {
        Ok(printable) => DnValue::PrintableString(printable),
        Err(_) => DnValue::Utf8String(name),
    };
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, value);
    subject
}

fn end_of_lifetime(now: SystemTime, lifetime: Duration) -> Result<SystemTime, CertificateError> {
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(LAST_TIME_SECONDS);
    now.checked_add(lifetime)
        .filter(|end| *end <= last)
        .ok_or(CertificateError::LifetimeTooLong)
}

fn alternative_names(request: &CertificateRequest<'_>) -> Result<Vec<SanType>, CertificateError> {
    let mut names = Vec::with_capacity(request.dns.len() + request.ips.len());
    for dns in request.dns {
        let name = Ia5String::try_from(dns.as_str())
            .map_err(|_| CertificateError::InvalidDnsName(dns.clone()))?;
        names.push(SanType::DnsName(name));
    }
    names.extend(request.ips.iter().copied().map(SanType::IpAddress));
    Ok(names)
}

/// Signs without a copy of the secret key: rcgen's own key pair keeps one that is not wiped.
struct Signer {
    key_pair: Ed25519KeyPair,
    public_key: [u8; 32],
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.key_pair.sign(message).as_ref().to_vec())
    }
}

/// The SubjectPublicKeyInfo of a certificate, exactly as it stands there.
///
/// # Errors
///
/// [`CertificateError`] if the certificate is malformed.
pub fn spki_of(certificate_der: &[u8]) -> Result<&[u8], CertificateError> {
    Ok(parse(certificate_der)?.tbs_certificate.subject_pki.raw)
}

/// The identity of the key in a certificate of any version.
///
/// # Errors
///
/// [`CertificateError`] if the certificate is malformed.
pub fn identity_of(certificate_der: &[u8]) -> Result<Identity, CertificateError> {
    spki_of(certificate_der).map(Identity::of_spki)
}

/// Whether a certificate claims to be that of a CA: its BasicConstraints say so.
///
/// # Errors
///
/// [`CertificateError`] if the certificate, or that extension, is malformed.
pub fn is_ca(certificate_der: &[u8]) -> Result<bool, CertificateError> {
    const NAME: &str = "BasicConstraints";
    let certificate = parse(certificate_der)?;
    match extension(&certificate, &OID_X509_EXT_BASIC_CONSTRAINTS, NAME)? {
        None => Ok(false),
        Some(ParsedExtension::BasicConstraints(constraints)) => Ok(constraints.ca),
        Some(_) => Err(CertificateError::InvalidExtension(NAME)),
    }
}

/// Whether a certificate has a DNS name or an IP address as subject alternative name.
///
/// # Errors
///
/// [`CertificateError`] if the certificate, or that extension, is malformed.
pub fn has_dns_or_ip_san(certificate_der: &[u8]) -> Result<bool, CertificateError> {
    const NAME: &str = "SubjectAltName";
    let certificate = parse(certificate_der)?;
    match extension(&certificate, &OID_X509_EXT_SUBJECT_ALT_NAME, NAME)? {
        None => Ok(false),
        Some(ParsedExtension::SubjectAlternativeName(names)) => Ok(names
            .general_names
            .iter()
            .any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_)))),
        Some(_) => Err(CertificateError::InvalidExtension(NAME)),
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    if !rest.is_empty() {
        return Err(CertificateError::TrailingData);
    }
    Ok(certificate)
}

/// The one extension with this object identifier. One that does not parse is not `None`.
fn extension<'a, 'der>(
    certificate: &'a X509Certificate<'der>,
    oid: &Oid<'_>,
    name: &'static str,
) -> Result<Option<&'a ParsedExtension<'der>>, CertificateError> {
    certificate
        .tbs_certificate
        .get_extension_unique(oid)
        .map(|found| found.map(X509Extension::parsed_extension))
        .map_err(|_| CertificateError::InvalidExtension(name))
}

#[cfg(test)]
mod tests;

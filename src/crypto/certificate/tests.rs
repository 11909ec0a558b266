//! Tests of certificates: identities, extensions, hostile input.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use proptest::prelude::*;
use x509_parser::x509::X509Version;

use super::*;
use crate::base::secret::Key256;
use crate::crypto::pem;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn key() -> ApiKey {
    ApiKey::from_seed(Key256::new([7; 32]))
}

fn request() -> CertificateRequest<'static> {
    CertificateRequest {
        common_name: None,
        dns: &[],
        ips: &[],
        not_after: 90 * DAY,
        server_auth: false,
    }
}

fn client_certificate() -> CertificateDer<'static> {
    self_signed(&key(), &request()).unwrap()
}

fn from_pem(pem: &str) -> CertificateDer<'static> {
    pem::certificates(pem.as_bytes()).unwrap().remove(0)
}

/// A certificate with the first `was` in it replaced by `becomes`, of the same length.
fn patched(der: &[u8], was: &[u8], becomes: &[u8]) -> Vec<u8> {
    assert_eq!(was.len(), becomes.len());
    let at = der
        .windows(was.len())
        .position(|found| found == was)
        .unwrap();
    let mut patched = der.to_vec();
    patched[at..at + was.len()].copy_from_slice(becomes);
    patched
}

fn extension_oids(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extensions = certificate.extensions().iter();
    extensions
        .map(|extension| extension.oid.to_id_string())
        .collect()
}

#[test]
fn a_client_certificate_says_what_it_should() {
    let der = client_certificate();
    let certificate = parse(&der).unwrap();
    assert_eq!(certificate.version(), X509Version::V3);
    assert!(certificate.raw_serial().len() <= 17);
    let name = format!("CN={}", key().identity());
    assert_eq!(certificate.subject().to_string(), name);
    assert_eq!(certificate.issuer().to_string(), name);
    let common_name = certificate.subject().iter_common_name().next().unwrap();
    assert_eq!(
        common_name.attr_value().tag(),
        x509_parser::asn1_rs::Tag::PrintableString
    );
    assert_eq!(
        certificate.signature_algorithm.algorithm.to_id_string(),
        "1.3.101.112"
    );

    // KeyUsage, ExtendedKeyUsage, BasicConstraints, and no more.
    assert_eq!(
        extension_oids(&certificate),
        ["2.5.29.15", "2.5.29.37", "2.5.29.19"]
    );
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.flags, 1);
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && !extended.server_auth);
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && !constraints.value.ca);

    let validity = certificate.validity();
    let now = crate::base::clock::Timestamp::now().seconds;
    assert!((0..60).contains(&(now - validity.not_before.timestamp())));
    let lifetime = validity.not_after.timestamp() - validity.not_before.timestamp();
    assert_eq!(lifetime, 90 * 24 * 60 * 60);
}

#[test]
fn a_certificate_is_signed_with_its_key() {
    let der = client_certificate();
    let certificate = parse(&der).unwrap();
    let signed = certificate.tbs_certificate.as_ref();
    UnparsedPublicKey::new(&ED25519, key().public_key())
        .verify(signed, &certificate.signature_value.data)
        .unwrap();
}

#[test]
fn a_certificate_has_the_identity_of_its_key() {
    let der = client_certificate();
    assert_eq!(spki_of(&der), Ok(&key().spki_der()[..]));
    assert_eq!(identity_of(&der), Ok(key().identity()));
    assert_eq!(is_ca(&der), Ok(false));
    assert_eq!(has_dns_or_ip_san(&der), Ok(false));
}

#[test]
fn serial_numbers_differ() {
    let (first, second) = (client_certificate(), client_certificate());
    assert_ne!(
        parse(&first).unwrap().raw_serial(),
        parse(&second).unwrap().raw_serial()
    );
}

#[test]
fn a_server_certificate_has_the_names_asked_for() {
    let dns = ["localhost".to_owned(), "*.example.com".to_owned()];
    let ips = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    let der = self_signed(
        &key(),
        &CertificateRequest {
            common_name: Some("my@app"),
            dns: &dns,
            ips: &ips,
            server_auth: true,
            ..request()
        },
    )
    .unwrap();
    let certificate = parse(&der).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=my@app");
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && extended.server_auth);
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let names: Vec<String> = names
        .value
        .general_names
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        [
            "DNSName(localhost)",
            "DNSName(*.example.com)",
            "IPAddress(7f:00:00:01)",
            "IPAddress(00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:01)",
        ]
    );
    assert_eq!(has_dns_or_ip_san(&der), Ok(true));
}

#[test]
fn one_kind_of_name_is_enough() {
    let dns = ["localhost".to_owned()];
    let ips = ["127.0.0.1".parse().unwrap()];
    for (dns, ips) in [(&dns[..], &[][..]), (&[][..], &ips[..])] {
        let der = self_signed(
            &key(),
            &CertificateRequest {
                dns,
                ips,
                ..request()
            },
        )
        .unwrap();
        assert_eq!(has_dns_or_ip_san(&der), Ok(true));
    }
}

#[test]
fn impossible_requests_are_refused() {
    let dns = ["münchen.example".to_owned()];
    let error = self_signed(
        &key(),
        &CertificateRequest {
            dns: &dns,
            ..request()
        },
    );
    assert_eq!(error, Err(CertificateError::InvalidDnsName(dns[0].clone())));
    for not_after in [Duration::MAX, 9000 * 365 * DAY] {
        let error = self_signed(
            &key(),
            &CertificateRequest {
                not_after,
                ..request()
            },
        );
        assert_eq!(error, Err(CertificateError::LifetimeTooLong));
    }
}

#[test]
fn certificates_of_others_are_read() {
    let ca = from_pem(include_str!("../testdata/pem/ca-with-text.pem"));
    assert_eq!(is_ca(&ca), Ok(true));
    assert_eq!(has_dns_or_ip_san(&ca), Ok(false));
    let email = from_pem(include_str!("../testdata/pem/email-san.pem"));
    assert_eq!(is_ca(&email), Ok(false));
    assert_eq!(has_dns_or_ip_san(&email), Ok(false));
}

#[test]
fn version_1_certificates_have_an_identity() {
    let der = from_pem(include_str!("../testdata/pem/v1.pem"));
    assert_eq!(parse(&der).unwrap().version(), X509Version::V1);
    let key = &pem::blocks(include_bytes!("../testdata/pem/ed25519-pkcs8.pem"))[0];
    let key = pem::api_key_of_pkcs8(&key.der).unwrap();
    assert_eq!(identity_of(&der), Ok(key.identity()));
    assert_eq!(is_ca(&der), Ok(false));
}

/// "Does not parse" must not pass for "is no CA".
#[test]
fn malformed_or_repeated_extensions_are_refused() {
    let der = client_certificate();
    let constraints = [0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x02, 0x30, 0x00];
    let mut malformed = constraints;
    malformed[8] = 0x31;
    let malformed = patched(&der, &constraints, &malformed);
    assert_eq!(
        is_ca(&malformed),
        Err(CertificateError::InvalidExtension("BasicConstraints"))
    );

    // The key usage becomes a second BasicConstraints.
    let repeated = patched(&der, &[0x55, 0x1d, 0x0f], &[0x55, 0x1d, 0x13]);
    assert_eq!(
        is_ca(&repeated),
        Err(CertificateError::InvalidExtension("BasicConstraints"))
    );
}

#[test]
fn what_is_no_certificate_is_refused() {
    let der = client_certificate();
    assert_eq!(identity_of(b""), Err(CertificateError::Malformed));
    for length in 0..der.len() {
        assert_eq!(
            identity_of(&der[..length]),
            Err(CertificateError::Malformed)
        );
    }
    let mut longer = der.to_vec();
    longer.push(0);
    assert_eq!(identity_of(&longer), Err(CertificateError::TrailingData));
}

fn read_all(der: &[u8]) {
    let _ = identity_of(der);
    let _ = is_ca(der);
    let _ = has_dns_or_ip_san(der);
}

proptest! {
    #[test]
    fn any_bytes_are_a_certificate_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        read_all(&bytes);
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        read_all(&[&[0x30, 0x82][..], &length, &bytes].concat());
    }

    #[test]
    fn a_changed_certificate_never_panics(
        changes in proptest::collection::vec((0..2000usize, any::<u8>()), 1..4),
    ) {
        let mut der = from_pem(include_str!("../testdata/pem/email-san.pem")).to_vec();
        for (at, byte) in changes {
            let at = at % der.len();
            der[at] = byte;
        }
        read_all(&der);
    }
}

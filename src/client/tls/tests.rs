//! Tests of the client's trust in servers.

use std::net::IpAddr;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ED25519};

use super::*;

const ADDRESS: [u8; 4] = [127, 0, 0, 1];

/// A self-signed certificate for 127.0.0.1, of a CA if asked for.
fn certificate(is_ca: bool) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    let address = IpAddr::from(ADDRESS);
    params
        .subject_alt_names
        .push(rcgen::SanType::IpAddress(address));
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    params
        .self_signed(&key)
        .expect("a certificate")
        .der()
        .clone()
}

fn verify(
    server: &KnownServer,
    certificate: &CertificateDer<'_>,
    host: &str,
    now: UnixTime,
) -> Result<(), Error> {
    let name = ServerName::try_from(host).expect("a host");
    server
        .verify_server_cert(certificate, &[], &name, &[], now)
        .map(drop)
}

fn known(roots: &[&CertificateDer<'static>], pinned: &[&CertificateDer<'static>]) -> KnownServer {
    let owned = |list: &[&CertificateDer<'static>]| list.iter().map(|&der| der.clone()).collect();
    let provider = Arc::new(aws_lc_rs::default_provider());
    KnownServer::new(owned(roots), owned(pinned), &provider).expect("a verifier")
}

#[test]
fn a_pinned_certificate_must_be_that_very_one() {
    let (pinned, other) = (certificate(false), certificate(false));
    let server = known(&[], &[&pinned]);
    assert_eq!(
        verify(&server, &pinned, "localhost", UnixTime::now()),
        Ok(())
    );
    assert_eq!(
        verify(&server, &other, "127.0.0.1", UnixTime::now()),
        Err(CertificateError::UnknownIssuer.into())
    );
}

#[test]
fn a_root_may_be_the_server_itself_but_not_elsewhere_or_at_another_time() {
    for is_ca in [true, false] {
        let root = certificate(is_ca);
        let server = known(&[&root], &[]);
        assert_eq!(verify(&server, &root, "127.0.0.1", UnixTime::now()), Ok(()));
        assert!(matches!(
            verify(&server, &root, "127.0.0.2", UnixTime::now()),
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForNameContext { .. }
            ))
        ));
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        assert!(matches!(
            verify(&server, &root, "127.0.0.1", at(1)),
            Err(Error::InvalidCertificate(
                CertificateError::NotValidYetContext { .. }
            ))
        ));
        assert!(matches!(
            verify(&server, &root, "127.0.0.1", at(1 << 38)),
            Err(Error::InvalidCertificate(
                CertificateError::ExpiredContext { .. }
            ))
        ));
        let stranger = certificate(is_ca);
        assert!(verify(&server, &stranger, "127.0.0.1", UnixTime::now()).is_err());
    }
}

#[test]
fn a_certificate_needs_its_own_key() {
    let (key, other) = (
        KeyPair::generate_for(&PKCS_ED25519).expect("a key"),
        KeyPair::generate_for(&PKCS_ED25519).expect("a key"),
    );
    let certificate = CertificateParams::default()
        .self_signed(&key)
        .expect("a certificate");
    let credentials = |key: &KeyPair| Credentials::Certificate {
        chain: vec![certificate.der().clone()],
        key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    };
    let provider = aws_lc_rs::default_provider();
    assert!(matches!(
        certified_key(credentials(&key), &provider),
        Ok(Some(_))
    ));
    let mismatch = certified_key(credentials(&other), &provider).expect_err("another key");
    assert_eq!(
        mismatch.to_string(),
        "tls: private key does not match public key"
    );
}

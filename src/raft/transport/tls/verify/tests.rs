//! Certificates that somebody without the root key can make, or get hold of, and odd ones.

use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, Issuer, KeyPair, PKCS_ED25519, PublicKeyData as _, SanType};

use super::*;
use crate::base::secret::Key256;
use crate::raft::transport::tls::authority::{
    VALID_AFTER, VALID_BEFORE, authority_params, node_params,
};

const NODE: NodeId = 0x1234;

fn now() -> UnixTime {
    at(0)
}

/// Seconds after a fixed time.
fn at(seconds: i64) -> UnixTime {
    let now = 1_800_000_000_u64.checked_add_signed(seconds);
    UnixTime::since_unix_epoch(Duration::from_secs(now.expect("a time")))
}

fn authority() -> Arc<Authority> {
    Arc::new(Authority::derive(&Key256::new([7; 32])).expect("an authority"))
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("a key")
}

fn params() -> CertificateParams {
    node_params(NODE, now()).expect("params")
}

/// Signed by the authority, for a key that is nobody's.
fn signed(params: &CertificateParams) -> CertificateDer<'static> {
    authority().sign(params, [1; 32]).expect("a certificate")
}

fn verify_at(
    certificate: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<Peer, PeerError> {
    let trust = Trust::new(&[authority()]);
    let as_server = trust.verify(certificate, others, ShownBy::Server, now);
    let as_client = trust.verify(certificate, others, ShownBy::Client, now);
    assert_eq!(as_server.is_ok(), as_client.is_ok());
    as_server
}

fn verify(certificate: &CertificateDer<'_>) -> Result<Peer, PeerError> {
    verify_at(certificate, &[], now())
}

#[test]
fn the_authority_is_the_same_on_every_node_and_in_every_version() {
    assert_eq!(authority().certificate(), authority().certificate());
    let digest = hex(authority().id().as_bytes());
    // Nodes of two versions would not know each other any more if this changed.
    assert_eq!(
        digest,
        "ebbaedfd6584ce30cc597cfe32bee408eba11b35ef2d1445e20f4718ade2a13b"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_node_is_known_by_its_certificate() {
    let peer = verify(&signed(&params())).expect("a peer");
    assert_eq!(peer.node, NODE);
    assert_eq!(peer.authority, authority().id());
}

#[test]
fn certificates_begin_before_they_are_made_and_end_after_days() {
    let certificate = signed(&params());
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).expect("seconds");
    let (before, after) = (seconds(VALID_BEFORE), seconds(VALID_AFTER));
    for (offset, is_valid) in [
        (-before - 1, false),
        (-before + 1, true),
        (-2 * 3600, true),
        (2 * 3600, true),
        (after - 1, true),
        (after + 1, false),
    ] {
        let verified = verify_at(&certificate, &[], at(offset));
        assert_eq!(verified.is_ok(), is_valid, "{offset}");
    }
}

#[test]
fn a_node_s_certificate_makes_no_certificates() {
    let node_key = key();
    let own = authority()
        .sign(&params(), node_key.der_bytes().try_into().expect("a key"))
        .expect("a certificate");
    verify(&own).expect("itself it is one");
    let mut forged = params();
    forged.subject_alt_names = vec![uri("kes://node/0000000000005678")];

    // In its own name, alone and with its certificate.
    let node_name = params();
    let in_its_name = Issuer::from_params(&node_name, &node_key);
    let certificate = forged.signed_by(&key(), &in_its_name).expect("signed");
    assert!(matches!(
        verify(certificate.der()),
        Err(PeerError::NotValid(webpki::Error::UnknownIssuer))
    ));
    let chain = verify_at(certificate.der(), &[own], now());
    assert!(matches!(chain, Err(PeerError::Chain)));

    // In the name of the authority.
    let authority_name = authority_params(authority().id());
    let in_its_name = Issuer::from_params(&authority_name, &node_key);
    let certificate = forged.signed_by(&key(), &in_its_name).expect("signed");
    assert!(matches!(
        verify(certificate.der()),
        Err(PeerError::NotValid(
            webpki::Error::InvalidSignatureForPublicKey
        ))
    ));
}

#[test]
fn a_certificate_signed_by_itself_counts_for_nothing() {
    let certificate = params().self_signed(&key()).expect("a certificate");
    assert!(matches!(
        verify(certificate.der()),
        Err(PeerError::NotValid(_))
    ));
}

#[test]
fn the_authority_is_no_node() {
    let error = verify(authority().certificate()).expect_err("no peer");
    assert!(matches!(error, PeerError::NotValid(_)), "{error}");
}

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).expect("ASCII"))
}

#[test]
fn a_certificate_names_one_node_and_nothing_else() {
    let own = uri("kes://node/0000000000001234");
    let dns = SanType::DnsName(Ia5String::try_from("node").expect("ASCII"));
    for names in [
        vec![],
        vec![dns.clone()],
        vec![own.clone(), dns],
        vec![own.clone(), own],
        vec![uri("kes://node/1234")],
        vec![uri("https://node/0000000000001234")],
    ] {
        let mut params = params();
        params.subject_alt_names = names;
        let error = verify(&signed(&params)).expect_err("no peer");
        assert!(matches!(error, PeerError::NoNode), "{error}");
    }
}

#[test]
fn garbage_is_no_certificate() {
    let good = signed(&params());
    for cut in 0..good.len() {
        let cut = CertificateDer::from(good[..cut].to_vec());
        assert!(verify(&cut).is_err());
    }
    for place in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[place] ^= 1;
        assert!(verify(&CertificateDer::from(bytes)).is_err(), "{place}");
    }
}

//! Certificates of the recorded identities and their hostile variants.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PKCS_RSA_SHA256, PublicKeyData, SanType, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The identities of `data/ids.json`: name → `{api_key, identity}`.
pub(crate) static IDS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/ids.json")).expect("ids.json"));

/// What a client presents in the handshake: certificates, and the key of the first one.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// The identity of the first certificate.
    pub(crate) identity: String,
}

/// How a certificate departs from the usual client certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Usual,
    Authority,
    Expired,
}

/// The API key of a recorded identity.
pub(crate) fn api_key(name: &str) -> String {
    IDS[name]["api_key"]
        .as_str()
        .expect("recorded identity")
        .to_owned()
}

/// The identity (hex) of a recorded identity.
pub(crate) fn identity(name: &str) -> String {
    IDS[name]["identity"]
        .as_str()
        .expect("recorded identity")
        .to_owned()
}

/// The Ed25519 key pair behind an API key (`kes:v1:` + base64 of a zero byte and the seed).
pub(crate) fn key_of_api_key(api_key: &str) -> KeyPair {
    let bytes = decode_base64(api_key.trim_start_matches("kes:v1:"));
    assert_eq!(bytes.len(), 33, "API key of 33 bytes");
    // PKCS#8 version 1 around an RFC 8410 private key.
    let mut pkcs8 = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    pkcs8.extend_from_slice(&bytes[1..]);
    KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &PKCS_ED25519)
        .expect("Ed25519 key")
}

/// The identity of a key: hex SHA-256 of its SubjectPublicKeyInfo.
pub(crate) fn identity_of_key(key: &KeyPair) -> String {
    hex(&Sha256::digest(key.subject_public_key_info()))
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Standard padded base64.
pub(crate) fn decode_base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_else(|error| panic!("base64 {text:?}: {error}"))
}

/// A self-signed client certificate for `key`.
pub(crate) fn certificate(key: &KeyPair, shape: Shape) -> Certificate {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, identity_of_key(key));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    match shape {
        Shape::Usual => {}
        Shape::Authority => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        Shape::Expired => {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
    }
    params.self_signed(key).expect("self-signed certificate")
}

impl Credentials {
    /// `chain` as it stands, with the key of its first certificate.
    pub(crate) fn new(key: &KeyPair, chain: Vec<CertificateDer<'static>>) -> Arc<Self> {
        // aws-lc-rs writes PKCS#8 for every key type that is generated here.
        let key_der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Arc::new(Self {
            chain,
            key: key_der,
            identity: identity_of_key(key),
        })
    }

    /// The usual client certificate of a key.
    pub(crate) fn of_key(key: &KeyPair) -> Arc<Self> {
        Self::new(key, vec![certificate(key, Shape::Usual).der().clone()])
    }

    /// A new client of the given key type.
    pub(crate) fn generate(algorithm: &'static SignatureAlgorithm) -> Arc<Self> {
        Self::of_key(&KeyPair::generate_for(algorithm).expect("key pair"))
    }

    /// The client that an API key makes.
    pub(crate) fn of_api_key(api_key: &str) -> Arc<Self> {
        Self::of_key(&key_of_api_key(api_key))
    }

    /// The client that the recordings call `name`; see the head of the recordings' description:
    /// `two` is a chain of two client certificates, `chain` a client certificate and a CA, `old`
    /// expired, `adminca` a CA, `forged` a CA of `unknown` followed by the certificate of admin.
    pub(crate) fn named(name: &str) -> Arc<Self> {
        let key = |id: &str| key_of_api_key(&api_key(id));
        let der = |id: &str, shape| certificate(&key(id), shape).der().clone();
        match name {
            "two" => Self::new(
                &key("admin"),
                vec![der("admin", Shape::Usual), der("app", Shape::Usual)],
            ),
            "chain" => Self::new(
                &key("admin"),
                vec![der("admin", Shape::Usual), der("unknown", Shape::Authority)],
            ),
            "old" => Self::new(&key("admin"), vec![der("admin", Shape::Expired)]),
            "adminca" => Self::new(&key("admin"), vec![der("admin", Shape::Authority)]),
            "forged" => Self::new(
                &key("unknown"),
                vec![der("unknown", Shape::Authority), der("admin", Shape::Usual)],
            ),
            "rsa" => Self::generate(&PKCS_RSA_SHA256),
            "ec" => Self::generate(&PKCS_ECDSA_P256_SHA256),
            "ec384" => Self::generate(&PKCS_ECDSA_P384_SHA384),
            "ed25519" => Self::generate(&PKCS_ED25519),
            _ => Self::of_api_key(&api_key(name)),
        }
    }
}

/// The PEM of a server certificate and its key, for `localhost` and 127.0.0.1.
pub(crate) fn server_pem() -> (String, String) {
    let key = KeyPair::generate_for(&PKCS_ED25519).expect("server key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("DNS name");
    params
        .subject_alt_names
        .push(SanType::IpAddress([127, 0, 0, 1].into()));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    let certificate = params.self_signed(&key).expect("server certificate");
    (certificate.pem(), key.serialize_pem())
}

/// The PEM of a client certificate and its key.
pub(crate) fn client_pem(name: &str) -> (String, String) {
    let key = key_of_api_key(&api_key(name));
    (certificate(&key, Shape::Usual).pem(), key.serialize_pem())
}

/// How long a handshake or an answer may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn recorded_api_keys_make_the_recorded_identities() {
    for (name, id) in IDS.as_object().expect("object") {
        let key = key_of_api_key(id["api_key"].as_str().expect("api key"));
        assert_eq!(
            identity_of_key(&key),
            id["identity"].as_str().expect("identity"),
            "{name}"
        );
    }
}

//! Who a client is: the key of its first certificate, proven in the handshake, and nothing else.

use std::sync::Arc;

use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    PKCS_RSA_SHA256, SignatureAlgorithm,
};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;

use crate::harness::certs::{Credentials, Shape, api_key, certificate, identity, key_of_api_key};
use crate::harness::http::{Dial, End, Request};
use crate::harness::server::{Run, Server, recorded_config};

const SELF: &str = "/v1/identity/self/describe";

/// The connection kinds that an identity must not depend on.
fn ways(dial: &Dial) -> [(&'static str, Dial); 2] {
    [("TLS 1.3", dial.clone()), ("TLS 1.2", dial.clone().tls12())]
}

fn key_types() -> [(&'static str, &'static SignatureAlgorithm); 5] {
    [
        ("Ed25519", &PKCS_ED25519),
        ("P-256", &PKCS_ECDSA_P256_SHA256),
        ("P-384", &PKCS_ECDSA_P384_SHA384),
        ("P-521", &PKCS_ECDSA_P521_SHA512),
        ("RSA", &PKCS_RSA_SHA256),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_type_has_the_identity_of_its_public_key() {
    let clients = key_types().map(|(name, kind)| (name, Credentials::generate(kind)));
    let ids: Vec<String> = clients
        .iter()
        .map(|(_, client)| format!("    - {}\n", client.identity))
        .collect();
    let policy = format!(
        "  by-key:\n    allow: [ /v1/status ]\n    identities:\n{}",
        ids.concat()
    );
    let config = recorded_config("http.yml").replace("policy:\n", &format!("policy:\n{policy}"));
    let server = Server::with_config(&Run::new(), "server.yml", &config);
    let mut wrong = Vec::new();
    for (name, client) in clients {
        for (tls, dial) in ways(&Dial::with(server.port, Arc::clone(&client))) {
            let status = dial.get("/v1/status").await.map(|answer| answer.status);
            if status != Ok(200) {
                wrong.push(format!("{name}, {tls}: /v1/status: {status:?}"));
            }
            let described = dial.get(SELF).await.map(|answer| answer.json());
            let found = described.as_ref().map(|json| json["identity"].clone());
            if found != Ok(client.identity.clone().into()) {
                wrong.push(format!("{name}, {tls}: self-describe: {described:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// TLS proves the key of the first certificate only. A client that sends a CA certificate of its
/// own first and somebody else's certificate second must not become somebody else.
async fn assert_not_admin(server: &Server, name: &str) {
    let dial = Dial::named(server.port, name);
    let admin = identity("admin");
    let mut ways = ways(&dial).to_vec();
    ways.push(("HTTP/2", dial.clone().alpn(&["h2"])));
    for (way, dial) in ways {
        for path in [SELF, "/v1/key/list/*", "/v1/metrics", "/v1/policy/list/*"] {
            let request = Request::new("GET", path);
            let answer = match way {
                "HTTP/2" => dial.h2_request(&request).await,
                _ => dial.request(&request).await,
            };
            // A refused handshake is as good as an answer.
            if let Ok(answer) = answer {
                let text = answer.text();
                assert!(!text.contains(&admin), "{name}, {way}, {path}: {text}");
                assert_ne!(answer.status, 200, "{name}, {way}, {path}: {text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_certificate_first_does_not_lend_the_identity_of_the_second() {
    let server = Server::recorded("http.yml");
    assert_not_admin(&server, "forged").await;
    let answer = Dial::named(server.port, "forged").get("/v1/status").await;
    if let Ok(answer) = answer {
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.text(),
            "{\"message\":\"tls: client certificate is required\"\n}"
        );
    }
    let create = Request::new("PUT", "/v1/key/create/stolen");
    let _ = Dial::named(server.port, "forged").request(&create).await;
    let admin = Dial::named(server.port, "admin");
    let stolen = admin
        .get("/v1/key/describe/stolen")
        .await
        .expect("describe");
    assert_eq!(stolen.status, 404, "a forged admin created a key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_where_certificates_are_optional() {
    // Some routes of this configuration are open to everyone, but none of these.
    let server = Server::recorded("http-skip.yml");
    let admin = identity("admin");
    for (way, dial) in ways(&Dial::named(server.port, "forged")) {
        for path in [SELF, "/v1/key/list/*", "/v1/policy/list/*"] {
            if let Ok(answer) = dial.get(path).await {
                let text = answer.text();
                assert!(
                    answer.status >= 400 && !text.contains(&admin),
                    "{way}, {path}: {text}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_client_certificates_are_refused_and_ca_certificates_behind_the_first_are_not() {
    let server = Server::recorded("http.yml");
    for (way, dial) in ways(&Dial::named(server.port, "two")) {
        let answer = dial.get("/v1/status").await.expect("answer");
        let text = answer.text();
        assert_eq!(answer.status, 400, "{way}: {text}");
        assert_eq!(
            text,
            "{\"message\":\"tls: received more than one client certificate\"\n}"
        );
    }
    for name in ["chain", "old"] {
        for (way, dial) in ways(&Dial::named(server.port, name)) {
            let answer = dial
                .get(SELF)
                .await
                .unwrap_or_else(|end| panic!("{name}, {way}: {end}"));
            assert_eq!(
                answer.json()["identity"],
                identity("admin"),
                "{name}, {way}"
            );
            assert_eq!(answer.json()["admin"], true, "{name}, {way}");
        }
    }
    assert_not_admin(&server, "adminca").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_the_handshake_fails() {
    let server = Server::recorded("http.yml");
    let required = AlertDescription::CertificateRequired;
    // RFC 5246 knows only handshake_failure; the TLS library sends the newer alert there, too.
    let allowed = [
        &[required][..],
        &[required, AlertDescription::HandshakeFailure],
    ];
    for ((way, dial), allowed) in ways(&Dial::anonymous(server.port)).into_iter().zip(allowed) {
        match dial.get("/version").await.map(|answer| answer.status) {
            Err(End::Alert(alert)) => assert!(allowed.contains(&alert), "{way}: {alert:?}"),
            other => panic!("{way}: {other:?}"),
        }
    }
    assert_eq!(
        Dial::named(server.port, "unknown")
            .get("/version")
            .await
            .expect("v")
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_without_its_key_is_refused() {
    let server = Server::recorded("http.yml");
    let admin = certificate(&key_of_api_key(&api_key("admin")), Shape::Usual)
        .der()
        .clone();
    let own = KeyPair::generate_for(&PKCS_ED25519).expect("key");
    let thief = Credentials::new(&own, vec![admin]);
    for (way, dial) in ways(&Dial::with(server.port, thief)) {
        let answer = dial.get("/version").await.map(|answer| answer.status);
        assert!(answer.is_err(), "{way}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_certificates_end_in_an_error_and_nothing_else() {
    let server = Server::recorded("http.yml");
    let own = KeyPair::generate_for(&PKCS_ED25519).expect("key");
    let good = certificate(&own, Shape::Usual).der().to_vec();
    let mut cut = good.clone();
    cut.truncate(good.len() / 2);
    let mut junk = vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff];
    junk.extend_from_slice(&[0x41; 3000]);
    for der in [cut, junk, b"not a certificate".to_vec(), vec![0x30, 0]] {
        let length = der.len();
        let chain = vec![
            CertificateDer::from(der),
            CertificateDer::from(good.clone()),
        ];
        for (way, dial) in ways(&Dial::with(server.port, Credentials::new(&own, chain))) {
            let answer = dial.get("/v1/status").await.map(|answer| answer.status);
            assert!(
                !matches!(answer, Ok(200)),
                "{way}, {length} bytes: {answer:?}"
            );
        }
    }
    assert_eq!(
        Dial::named(server.port, "admin")
            .get("/v1/status")
            .await
            .expect("s")
            .status,
        200
    );
}

//! Which variable wins, and the table of credential rules.

use super::*;

const KEY: &str = "kes:v1:AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc";

fn settings(variables: &[(&str, &str)], overrides: &Overrides<'_>) -> Settings {
    let env = |name: &str| {
        variables
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| OsString::from(value))
    };
    Settings::read(&env, overrides)
}

fn complaint(variables: &[(&str, &str)]) -> Option<String> {
    settings(variables, &Overrides::default())
        .credentials()
        .err()
        .map(|error| error.to_string())
}

#[test]
fn credentials_follow_the_rules_in_order() {
    let (key, k, c) = (
        ("MINIO_KES_API_KEY", KEY),
        ("MINIO_KES_KEY_FILE", "nokey"),
        ("MINIO_KES_CERT_FILE", "nocert"),
    );
    for (variables, message) in [
        (
            &[][..],
            "no API key specified. Consider setting MINIO_KES_API_KEY",
        ),
        (
            &[key, k],
            "API key and private key file cannot be used at the same time",
        ),
        (
            &[key, k, c],
            "API key and private key file cannot be used at the same time",
        ),
        (
            &[key, c],
            "API key and certificate file cannot be used at the same time",
        ),
        (
            &[k],
            "no certificate file specified. Consider setting MINIO_KES_CERT_FILE",
        ),
        (
            &[c],
            "no private key file specified. Consider setting MINIO_KES_KEY_FILE",
        ),
        (
            &[("KES_API_KEY", "not-base64!")],
            "parsing API key: illegal base64 data at input byte 3",
        ),
        (
            &[("KES_API_KEY", "kes:v1:AAAA")],
            "parsing API key: kes: invalid API key: invalid length",
        ),
        (
            &[k, c],
            "reading certificate file: open nocert: no such file or directory",
        ),
    ] {
        assert_eq!(
            complaint(variables).as_deref(),
            Some(message),
            "{variables:?}"
        );
    }
    assert_eq!(complaint(&[key]), None);
}

#[test]
fn the_first_variable_that_is_set_wins_even_if_empty() {
    assert_eq!(complaint(&[("MINIO_KMS_KES_API_KEY", KEY)]), None);
    let hidden = complaint(&[("MINIO_KES_API_KEY", ""), ("KES_API_KEY", KEY)]);
    assert_eq!(
        hidden.as_deref(),
        Some("no API key specified. Consider setting MINIO_KES_API_KEY")
    );
    let overrides = Overrides {
        server: Some("a:1"),
        api_key: Some(KEY),
    };
    let settings = settings(&[("MINIO_KES_SERVER", "b:2")], &overrides);
    assert_eq!(settings.endpoints(), ["a:1"]);
    assert!(settings.credentials().is_ok());
}

#[test]
fn servers_are_a_list_with_or_without_scheme() {
    let endpoints = |value| settings(&[("KES_SERVER", value)], &Overrides::default()).endpoints();
    assert_eq!(
        endpoints("https://a:1/, http://b:2,c:3"),
        ["a:1", "b:2", "c:3"]
    );
    assert_eq!(endpoints("[::1]:7373"), ["[::1]:7373"]);
    assert_eq!(endpoints(""), [""]);
    assert_eq!(
        settings(&[], &Overrides::default()).endpoints(),
        ["127.0.0.1:7373"]
    );
}

#[test]
fn a_key_pair_is_read_from_its_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let (key_file, cert_file) = (directory.path().join("k"), directory.path().join("c"));
    let api_key = ApiKey::parse(KEY).expect("an API key");
    let request = certificate::CertificateRequest {
        common_name: None,
        dns: &[],
        ips: &[],
        not_after: std::time::Duration::from_secs(60),
        server_auth: false,
    };
    let cert = certificate::self_signed(&api_key, &request).expect("a certificate");
    std::fs::write(&cert_file, pem::encode_certificate(&cert)).expect("written");
    std::fs::write(&key_file, "nothing").expect("written");
    let message = key_pair(&key_file, &cert_file)
        .err()
        .map(|error| error.to_string());
    assert_eq!(
        message.as_deref(),
        Some("failed to read TLS private key: no PEM-encoded private key found")
    );

    let key_text = pem::encode_private_key(api_key.to_pkcs8_der().expose());
    std::fs::write(&key_file, key_text.expose()).expect("written");
    assert!(matches!(
        key_pair(&key_file, &cert_file),
        Ok(Credentials::Certificate { .. })
    ));
    let message = key_pair(&key_file, &key_file)
        .err()
        .map(|error| error.to_string());
    assert_eq!(
        message.as_deref(),
        Some("reading certificate file: https: unsupported PEM data block")
    );
}

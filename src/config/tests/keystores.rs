//! Every keystore's section: what it lacks, what it means, whether it is available.

use std::time::Duration;

use super::{HEAD, error, parsed};
use crate::config::KeystoreConfig;
use crate::config::keystore::{AzureLogin, VaultLogin, VaultToken};

#[test]
fn each_keystore_tells_what_it_lacks() {
    let table = [
        ("", "no keystore specified"),
        ("fs: ", "no keystore specified"),
        ("FS: {path: x}", "no keystore specified"),
        ("efs: {path: x}", "no keystore specified"),
        ("generic: {endpoint: x}", "no keystore specified"),
        ("kes: {endpoint: [x]}", "no keystore specified"),
        ("fs: {}", "invalid fs keystore: no path specified"),
        (
            "fs: {path: x}, vault: {}",
            "invalid keystore config: more than once keystore specified",
        ),
        (
            "fs: {}, vault: {}",
            "invalid fs keystore: no path specified",
        ),
        (
            "encryptedfs: {masterkeypath: x}",
            "invalid encryptedfs keystore: no master key path specified",
        ),
        (
            "encryptedfs: {masterKeyPath: x}",
            "invalid encryptedfs keystore: no master key cipher specified",
        ),
        (
            "encryptedfs: {masterKeyPath: x, masterKeyCipher: AES256}",
            "invalid encryptedfs keystore: no path specified",
        ),
        ("vault: {}", "invalid vault keystore: no endpoint specified"),
        (
            "vault: {endpoint: e, approle: }",
            "invalid vault keystore: no authentication method specified",
        ),
        (
            "vault: {endpoint: e, approle: {}, kubernetes: {}}",
            "invalid vault keystore: more than one authentication method specified",
        ),
        (
            "vault: {endpoint: e, approle: {}}",
            "invalid vault keystore: invalid approle config: no approle ID specified",
        ),
        (
            "vault: {endpoint: e, approle: {id: i}}",
            "invalid vault keystore: invalid approle config: no approle secret specified",
        ),
        (
            "vault: {endpoint: e, kubernetes: {}}",
            "invalid vault keystore: invalid kubernetes config: no JWT specified",
        ),
        (
            "vault: {endpoint: e, kubernetes: {jwt: /does/not/exist}}",
            "failed to read vault kubernetes JWT from '/does/not/exist': \
             open /does/not/exist: no such file or directory",
        ),
        (
            "vault: {endpoint: e, approle: {id: i, secret: s}, transit: {}}",
            "invalid vault keystore: invalid transit config: no key name specified",
        ),
        (
            "vault: {endpoint: e, approle: {id: i, secret: s}, tls: {key: k}}",
            "invalid vault keystore: invalid tls config: no TLS certificate provided",
        ),
        (
            "vault: {endpoint: e, approle: {id: i, secret: s}, tls: {cert: c}}",
            "invalid vault keystore: invalid tls config: no TLS private key provided",
        ),
        (
            "vault: {endpoint: e, approle: {id: i, secret: s}, status: {ping: -1s}}",
            "invalid vault keystore: invalid status ping '-1s'",
        ),
        (
            "fortanix: {sdkms: {}}",
            "invalid fortanix SDKMS keystore: no endpoint specified",
        ),
        (
            "fortanix: {sdkms: {endpoint: e, credentials: {}}}",
            "invalid fortanix SDKMS keystore: no API key specified",
        ),
        (
            "gemalto: {keysecure: {}}",
            "invalid gemalto keysecure keystore: no endpoint specified",
        ),
        (
            "gemalto: {keysecure: {endpoint: e}}",
            "invalid gemalto keysecure keystore: no token specified",
        ),
        (
            "gcp: {secretmanager: {}}",
            "invalid GCP secretmanager keystore: no project ID specified",
        ),
        (
            "aws: {secretsmanager: {}}",
            "invalid AWS secretsmanager keystore: no endpoint specified",
        ),
        (
            "aws: {secretsmanager: {endpoint: e}}",
            "invalid AWS secretsmanager keystore: no region specified",
        ),
        (
            "azure: {keyvault: {}}",
            "invalid Azure keyvault keystore: no endpoint specified",
        ),
        (
            "azure: {keyvault: {endpoint: e, credentials: {}, managed_identity: {}}}",
            "invalid Azure keyvault keystore: more than one authentication method specified",
        ),
        (
            "azure: {keyvault: {endpoint: e, credentials: {}}}",
            "invalid Azure keyvault keystore: no tenant ID specified",
        ),
        (
            "azure: {keyvault: {endpoint: e, credentials: {tenant_id: t}}}",
            "invalid Azure keyvault keystore: no client ID specified",
        ),
        (
            "azure: {keyvault: {endpoint: e, credentials: {tenant_id: t, client_id: c}}}",
            "invalid Azure keyvault keystore: no client secret specified",
        ),
        (
            "azure: {keyvault: {endpoint: e, managed_identity: {}}}",
            "invalid Azure keyvault keystore: no client ID specified",
        ),
        (
            "entrust: {keycontrol: {}}",
            "invalid Entrust KeyControl keystore: no endpoint specified",
        ),
        (
            "entrust: {keycontrol: {endpoint: e}}",
            "invalid Entrust KeyControl keystore: no vault ID specified",
        ),
        (
            "entrust: {keycontrol: {endpoint: e, vault_id: v}}",
            "invalid Entrust KeyControl keystore: no box ID specified",
        ),
        (
            "entrust: {keycontrol: {endpoint: e, vault_id: v, box_id: b}}",
            "invalid Entrust KeyControl keystore: no username specified",
        ),
        (
            "entrust: {keycontrol: {endpoint: e, vault_id: v, box_id: b, credentials: {username: u}}}",
            "invalid Entrust KeyControl keystore: no password specified",
        ),
    ];
    for (keystore, expected) in table {
        let yaml = format!("{HEAD}keystore: {{{keystore}}}\n");
        assert_eq!(error(&yaml), format!("kesconf: {expected}"), "{keystore}");
    }
}

fn keystore(yaml: &str) -> KeystoreConfig {
    parsed(&format!("{HEAD}keystore: {{{yaml}}}\n")).keystore
}

#[test]
fn vault_is_read_in_full() {
    let KeystoreConfig::Vault(vault) = keystore(
        "vault: {endpoint: 'https://v', version: v2, namespace: team, prefix: kes, \
         transit: {key: wrap}, approle: {namespace: /, id: role, secret: '${PASSWORD}'}, \
         tls: {key: k, cert: c, ca: a}, status: {ping: 10s}}",
    ) else {
        panic!("another keystore");
    };
    assert_eq!(
        (vault.engine.as_str(), vault.version.as_str()),
        ("kv", "v2")
    );
    assert_eq!(
        (vault.namespace.as_str(), vault.prefix.as_str()),
        ("team", "kes")
    );
    let transit = vault.transit.expect("a transit engine");
    assert_eq!(
        (transit.engine.as_str(), transit.key.as_str()),
        ("transit", "wrap")
    );
    assert_eq!(vault.client_certificate, Some(("k".into(), "c".into())));
    assert_eq!(vault.ca, Some("a".into()));
    assert_eq!(vault.ping, Duration::from_secs(10));
    let VaultLogin::AppRole {
        engine,
        namespace,
        id,
        secret,
    } = vault.login
    else {
        panic!("another login");
    };
    assert_eq!((engine.as_str(), namespace.as_str()), ("approle", "/"));
    assert_eq!((id.expose(), secret.expose()), ("role", "geheim"));
}

#[test]
fn a_kubernetes_token_is_literal_or_a_file() {
    let KeystoreConfig::Vault(vault) = keystore("vault: {endpoint: e, kubernetes: {jwt: a.b.c}}")
    else {
        panic!("another keystore");
    };
    assert_eq!(vault.ping, Duration::from_secs(15));
    let VaultLogin::Kubernetes { engine, token, .. } = vault.login else {
        panic!("another login");
    };
    assert_eq!(engine, "kubernetes");
    assert!(matches!(token, VaultToken::Literal(token) if token.expose() == "a.b.c"));

    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().display();
    let KeystoreConfig::Vault(vault) = keystore(&format!(
        "vault: {{endpoint: e, kubernetes: {{jwt: '{path}'}}}}"
    )) else {
        panic!("another keystore");
    };
    let VaultLogin::Kubernetes { token, .. } = vault.login else {
        panic!("another login");
    };
    assert!(matches!(token, VaultToken::File(path) if path == file.path()));
}

#[test]
fn other_keystores_are_read_but_not_available() {
    let stores = [
        "fortanix: {sdkms: {endpoint: e, credentials: {key: k}, tls: {ca: c}}}",
        "gemalto: {keysecure: {endpoint: e, credentials: {token: t}}}",
        "gcp: {secretmanager: {project_id: p, scopes: ['']}}",
        "aws: {secretsmanager: {endpoint: e, region: r}}",
        "azure: {keyvault: {endpoint: e}}",
        "entrust: {keycontrol: {endpoint: e, vault_id: v, box_id: b, \
         credentials: {username: u, password: p}}}",
        "vault: {endpoint: e, approle: {id: i, secret: s}}",
    ];
    for yaml in stores {
        let config = keystore(yaml);
        let error = config.is_available().expect_err(yaml).to_string();
        let expected = format!(
            "{}: this keystore is not available in this build yet",
            config.section()
        );
        assert_eq!(error, expected);
    }
    let KeystoreConfig::Azure(azure) = keystore("azure: {keyvault: {endpoint: e}}") else {
        panic!("another keystore");
    };
    assert!(matches!(azure.login, AzureLogin::Ambient));
    assert!(keystore("fs: {path: x}").is_available().is_ok());
    let encrypted = "encryptedfs: {masterKeyPath: m, masterKeyCipher: AES256, path: p}";
    assert!(keystore(encrypted).is_available().is_ok());
}

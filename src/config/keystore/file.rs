//! The `keystore` section as it was written. Absent and null sections are `None`, absent texts are
//! empty. What is missing or contradictory is for [`super::resolve`] to tell.

use std::path::PathBuf;

use crate::base::secret::SecretString;
use crate::config::duration::GoDuration;
use crate::config::keystore::{
    AwsConfig, EntrustConfig, FortanixConfig, GcpConfig, KeySecureConfig, VaultTransit,
};
use crate::config::reader::Reader;
use crate::config::section::Section;

/// All sections, in the order in which they are checked.
#[derive(Default)]
pub(in crate::config) struct KeystoreFile {
    pub(super) fs: Option<String>,
    pub(super) encrypted_fs: Option<EncryptedFsFile>,
    pub(super) vault: Option<VaultFile>,
    pub(super) fortanix: Option<FortanixConfig>,
    pub(super) keysecure: Option<KeySecureConfig>,
    pub(super) gcp: Option<GcpConfig>,
    pub(super) aws: Option<AwsConfig>,
    pub(super) azure: Option<AzureFile>,
    pub(super) entrust: Option<EntrustConfig>,
}

pub(super) struct EncryptedFsFile {
    pub(super) master_key_path: String,
    pub(super) master_key_cipher: String,
    pub(super) path: String,
}

pub(super) struct VaultFile {
    pub(super) endpoint: String,
    pub(super) engine: String,
    pub(super) version: String,
    pub(super) namespace: String,
    pub(super) prefix: String,
    pub(super) app_role: Option<AppRoleFile>,
    pub(super) kubernetes: Option<KubernetesFile>,
    pub(super) transit: Option<VaultTransit>,
    pub(super) tls_key: String,
    pub(super) tls_cert: String,
    pub(super) ca: Option<PathBuf>,
    pub(super) ping: GoDuration,
}

pub(super) struct AppRoleFile {
    pub(super) engine: String,
    pub(super) namespace: String,
    pub(super) id: SecretString,
    pub(super) secret: SecretString,
}

pub(super) struct KubernetesFile {
    pub(super) engine: String,
    pub(super) namespace: String,
    pub(super) role: String,
    pub(super) jwt: SecretString,
}

pub(super) struct AzureFile {
    pub(super) endpoint: String,
    pub(super) credentials: Option<(String, String, SecretString)>,
    pub(super) managed_identity: Option<String>,
}

impl KeystoreFile {
    /// Reads the section `keystore` of `root`.
    pub(in crate::config) fn read(reader: &mut Reader<'_>, root: &mut Section) -> Self {
        let Some(mut stores) = reader.subsection(root, "keystore") else {
            return Self::default();
        };
        let file = Self {
            fs: read(reader, &mut stores, "fs", |reader, fs| {
                reader.string(fs, "path")
            }),
            encrypted_fs: read(reader, &mut stores, "encryptedfs", read_encrypted_fs),
            vault: read(reader, &mut stores, "vault", read_vault),
            fortanix: read_nested(reader, &mut stores, "fortanix", "sdkms", read_fortanix),
            keysecure: read_nested(reader, &mut stores, "gemalto", "keysecure", read_keysecure),
            gcp: read_nested(reader, &mut stores, "gcp", "secretmanager", read_gcp),
            aws: read_nested(reader, &mut stores, "aws", "secretsmanager", read_aws),
            azure: read_nested(reader, &mut stores, "azure", "keyvault", read_azure),
            entrust: read_nested(reader, &mut stores, "entrust", "keycontrol", read_entrust),
        };
        read_kes(reader, &mut stores);
        reader.close(&stores);
        file
    }
}

/// Reads the section `key` of `parent` with `fields` and closes it.
fn read<'r, T>(
    reader: &mut Reader<'r>,
    parent: &mut Section,
    key: &'static str,
    fields: impl FnOnce(&mut Reader<'r>, &mut Section) -> T,
) -> Option<T> {
    let mut section = reader.subsection(parent, key)?;
    let value = fields(reader, &mut section);
    reader.close(&section);
    Some(value)
}

fn read_nested<'r, T>(
    reader: &mut Reader<'r>,
    parent: &mut Section,
    vendor: &'static str,
    product: &'static str,
    fields: impl FnOnce(&mut Reader<'r>, &mut Section) -> T,
) -> Option<T> {
    read(reader, parent, vendor, |reader, section| {
        read(reader, section, product, fields)
    })
    .flatten()
}

fn read_ca(reader: &mut Reader<'_>, section: &mut Section) -> Option<PathBuf> {
    read(reader, section, "tls", |reader, tls| {
        optional_path(reader.string(tls, "ca"))
    })
    .flatten()
}

/// The path, unless it is empty.
fn optional_path(path: String) -> Option<PathBuf> {
    (!path.is_empty()).then(|| PathBuf::from(path))
}

fn read_encrypted_fs(reader: &mut Reader<'_>, section: &mut Section) -> EncryptedFsFile {
    EncryptedFsFile {
        master_key_path: reader.string(section, "masterKeyPath"),
        master_key_cipher: reader.string(section, "masterKeyCipher"),
        path: reader.string(section, "path"),
    }
}

fn read_vault(reader: &mut Reader<'_>, section: &mut Section) -> VaultFile {
    let tls = read(reader, section, "tls", |reader, tls| {
        (
            reader.string(tls, "key"),
            reader.string(tls, "cert"),
            optional_path(reader.string(tls, "ca")),
        )
    });
    let (tls_key, tls_cert, ca) = tls.unwrap_or_default();
    let ping = read(reader, section, "status", |reader, status| {
        reader.duration(status, "ping")
    });
    VaultFile {
        endpoint: reader.string(section, "endpoint"),
        engine: reader.string(section, "engine"),
        version: reader.string(section, "version"),
        namespace: reader.string(section, "namespace"),
        prefix: reader.string(section, "prefix"),
        app_role: read(reader, section, "approle", |reader, section| AppRoleFile {
            engine: reader.string(section, "engine"),
            namespace: reader.string(section, "namespace"),
            id: reader.secret(section, "id"),
            secret: reader.secret(section, "secret"),
        }),
        kubernetes: read(reader, section, "kubernetes", |reader, section| {
            KubernetesFile {
                engine: reader.string(section, "engine"),
                namespace: reader.string(section, "namespace"),
                role: reader.string(section, "role"),
                jwt: reader.secret(section, "jwt"),
            }
        }),
        transit: read(reader, section, "transit", |reader, section| VaultTransit {
            engine: reader.string(section, "engine"),
            key: reader.string(section, "key"),
        }),
        tls_key,
        tls_cert,
        ca,
        ping: ping.unwrap_or_default(),
    }
}

fn read_fortanix(reader: &mut Reader<'_>, section: &mut Section) -> FortanixConfig {
    let api_key = read(reader, section, "credentials", |reader, credentials| {
        reader.secret(credentials, "key")
    });
    FortanixConfig {
        endpoint: reader.string(section, "endpoint"),
        group_id: reader.string(section, "group_id"),
        api_key: api_key.unwrap_or_default(),
        ca: read_ca(reader, section),
    }
}

fn read_keysecure(reader: &mut Reader<'_>, section: &mut Section) -> KeySecureConfig {
    let credentials = read(reader, section, "credentials", |reader, credentials| {
        (
            reader.secret(credentials, "token"),
            reader.string(credentials, "domain"),
        )
    });
    let (token, domain) = credentials.unwrap_or_default();
    KeySecureConfig {
        endpoint: reader.string(section, "endpoint"),
        token,
        domain,
        ca: read_ca(reader, section),
    }
}

fn read_gcp(reader: &mut Reader<'_>, section: &mut Section) -> GcpConfig {
    let credentials = read(reader, section, "credentials", |reader, credentials| {
        (
            reader.string(credentials, "client_email"),
            reader.string(credentials, "client_id"),
            reader.string(credentials, "private_key_id"),
            reader.secret(credentials, "private_key"),
        )
    });
    let (client_email, client_id, private_key_id, private_key) = credentials.unwrap_or_default();
    GcpConfig {
        project_id: reader.string(section, "project_id"),
        endpoint: reader.string(section, "endpoint"),
        scopes: reader.strings(section, "scopes"),
        client_email,
        client_id,
        private_key_id,
        private_key,
    }
}

fn read_aws(reader: &mut Reader<'_>, section: &mut Section) -> AwsConfig {
    let credentials = read(reader, section, "credentials", |reader, credentials| {
        (
            reader.secret(credentials, "accesskey"),
            reader.secret(credentials, "secretkey"),
            reader.secret(credentials, "token"),
        )
    });
    let (access_key, secret_key, session_token) = credentials.unwrap_or_default();
    AwsConfig {
        endpoint: reader.string(section, "endpoint"),
        region: reader.string(section, "region"),
        kms_key: reader.string(section, "kmskey"),
        access_key,
        secret_key,
        session_token,
    }
}

fn read_azure(reader: &mut Reader<'_>, section: &mut Section) -> AzureFile {
    AzureFile {
        endpoint: reader.string(section, "endpoint"),
        credentials: read(reader, section, "credentials", |reader, credentials| {
            (
                reader.string(credentials, "tenant_id"),
                reader.string(credentials, "client_id"),
                reader.secret(credentials, "client_secret"),
            )
        }),
        managed_identity: read(reader, section, "managed_identity", |reader, identity| {
            reader.string(identity, "client_id")
        }),
    }
}

fn read_entrust(reader: &mut Reader<'_>, section: &mut Section) -> EntrustConfig {
    let credentials = read(reader, section, "credentials", |reader, credentials| {
        (
            reader.string(credentials, "username"),
            reader.secret(credentials, "password"),
        )
    });
    let (username, password) = credentials.unwrap_or_default();
    EntrustConfig {
        endpoint: reader.string(section, "endpoint"),
        vault_id: reader.string(section, "vault_id"),
        box_id: reader.string(section, "box_id"),
        username,
        password,
        ca: read_ca(reader, section),
    }
}

/// `keystore.kes` of 2023, another server as keystore: it is checked for types, and that is all.
fn read_kes(reader: &mut Reader<'_>, stores: &mut Section) {
    let Some(node) = stores.take("kes") else {
        return;
    };
    if node.is_null() {
        return;
    }
    reader.warn(
        node.at,
        "'keystore.kes' no longer has a meaning and is ignored".to_owned(),
    );
    read(reader, stores, "kes", |reader, section| {
        reader.strings(section, "endpoint");
        reader.string(section, "enclave");
        read(reader, section, "tls", |reader, tls| {
            for key in ["key", "cert", "ca"] {
                reader.string(tls, key);
            }
        });
    });
}

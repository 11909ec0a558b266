//! From what was written to what it means: exactly one keystore, complete and without contradiction.

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::duration::GoDuration;
use crate::config::error::ConfigError;
use crate::config::keystore::file::{
    AppRoleFile, AzureFile, EncryptedFsFile, KeystoreFile, KubernetesFile, VaultFile,
};
use crate::config::keystore::{
    AwsConfig, AzureConfig, AzureLogin, EncryptedFsConfig, EntrustConfig, FortanixConfig, FsConfig,
    GcpConfig, KeySecureConfig, KeystoreConfig, VaultConfig, VaultLogin, VaultToken, VaultTransit,
};

/// What the original does, whatever its documentation says.
const VAULT_PING_DEFAULT: Duration = Duration::from_secs(15);

const ENCRYPTED_FS: &str = "encryptedfs";
const VAULT: &str = "vault";
const FORTANIX: &str = "fortanix SDKMS";
const KEYSECURE: &str = "gemalto keysecure";
const GCP: &str = "GCP secretmanager";
const AWS: &str = "AWS secretsmanager";
const AZURE: &str = "Azure keyvault";
const ENTRUST: &str = "Entrust KeyControl";

impl KeystoreFile {
    /// The one keystore; `None` if there is no section.
    ///
    /// # Errors
    ///
    /// Section by section: whether it is the only one so far, then what it lacks.
    pub(in crate::config) fn resolve(self) -> Result<Option<KeystoreConfig>, ConfigError> {
        let mut chosen = None;
        choose(&mut chosen, self.fs, resolve_fs)?;
        choose(&mut chosen, self.encrypted_fs, resolve_encrypted_fs)?;
        choose(&mut chosen, self.vault, resolve_vault)?;
        choose(&mut chosen, self.fortanix, resolve_fortanix)?;
        choose(&mut chosen, self.keysecure, resolve_keysecure)?;
        choose(&mut chosen, self.gcp, resolve_gcp)?;
        choose(&mut chosen, self.aws, resolve_aws)?;
        choose(&mut chosen, self.azure, resolve_azure)?;
        choose(&mut chosen, self.entrust, resolve_entrust)?;
        Ok(chosen)
    }
}

fn choose<T>(
    chosen: &mut Option<KeystoreConfig>,
    section: Option<T>,
    resolve: impl FnOnce(T) -> Result<KeystoreConfig, ConfigError>,
) -> Result<(), ConfigError> {
    let Some(section) = section else {
        return Ok(());
    };
    if chosen.is_some() {
        return Err(ConfigError::SeveralKeystores);
    }
    *chosen = Some(resolve(section)?);
    Ok(())
}

/// Fails with the first problem whose text is empty.
fn require(store: &'static str, texts: &[(&str, &str)]) -> Result<(), ConfigError> {
    for (text, problem) in texts {
        if text.is_empty() {
            return Err(invalid(store, problem));
        }
    }
    Ok(())
}

fn invalid(store: &'static str, problem: &str) -> ConfigError {
    ConfigError::Keystore {
        store,
        problem: problem.to_owned(),
    }
}

fn resolve_fs(path: String) -> Result<KeystoreConfig, ConfigError> {
    require("fs", &[(&path, "no path specified")])?;
    Ok(KeystoreConfig::Fs(FsConfig { path: path.into() }))
}

fn resolve_encrypted_fs(file: EncryptedFsFile) -> Result<KeystoreConfig, ConfigError> {
    require(
        ENCRYPTED_FS,
        &[
            (&file.master_key_path, "no master key path specified"),
            (&file.master_key_cipher, "no master key cipher specified"),
            (&file.path, "no path specified"),
        ],
    )?;
    Ok(KeystoreConfig::EncryptedFs(EncryptedFsConfig {
        master_key_path: file.master_key_path.into(),
        master_key_cipher: file.master_key_cipher,
        path: file.path.into(),
    }))
}

fn resolve_vault(file: VaultFile) -> Result<KeystoreConfig, ConfigError> {
    require(VAULT, &[(&file.endpoint, "no endpoint specified")])?;
    let login = resolve_vault_login(file.app_role, file.kubernetes)?;
    let transit = file.transit.map(resolve_transit).transpose()?;
    let client_certificate = match (file.tls_key.as_str(), file.tls_cert.as_str()) {
        ("", "") => None,
        (_, "") => {
            return Err(invalid(
                VAULT,
                "invalid tls config: no TLS certificate provided",
            ));
        }
        ("", _) => {
            return Err(invalid(
                VAULT,
                "invalid tls config: no TLS private key provided",
            ));
        }
        (key, cert) => Some((PathBuf::from(key), PathBuf::from(cert))),
    };
    Ok(KeystoreConfig::Vault(Box::new(VaultConfig {
        endpoint: file.endpoint,
        engine: or_default(file.engine, "kv"),
        version: or_default(file.version, "v1"),
        namespace: file.namespace,
        prefix: file.prefix,
        login,
        transit,
        client_certificate,
        ca: file.ca,
        ping: resolve_ping(file.ping)?,
    })))
}

fn resolve_vault_login(
    app_role: Option<AppRoleFile>,
    kubernetes: Option<KubernetesFile>,
) -> Result<VaultLogin, ConfigError> {
    match (app_role, kubernetes) {
        (None, None) => Err(invalid(VAULT, "no authentication method specified")),
        (Some(_), Some(_)) => Err(invalid(
            VAULT,
            "more than one authentication method specified",
        )),
        (Some(role), None) => {
            let (id, secret) = (role.id.expose(), role.secret.expose());
            require(
                VAULT,
                &[
                    (id, "invalid approle config: no approle ID specified"),
                    (
                        secret,
                        "invalid approle config: no approle secret specified",
                    ),
                ],
            )?;
            Ok(VaultLogin::AppRole {
                engine: or_default(role.engine, "approle"),
                namespace: role.namespace,
                id: role.id,
                secret: role.secret,
            })
        }
        (None, Some(account)) => Ok(VaultLogin::Kubernetes {
            token: resolve_token(&account)?,
            engine: or_default(account.engine, "kubernetes"),
            namespace: account.namespace,
            role: account.role,
        }),
    }
}

/// A token with a slash is the path of a file, which must be readable from the start.
fn resolve_token(account: &KubernetesFile) -> Result<VaultToken, ConfigError> {
    let jwt = account.jwt.expose();
    require(
        VAULT,
        &[(jwt, "invalid kubernetes config: no JWT specified")],
    )?;
    if !jwt.contains('/') {
        return Ok(VaultToken::Literal(account.jwt.clone()));
    }
    let path = PathBuf::from(jwt);
    match std::fs::read(&path).map(Zeroizing::new) {
        Ok(_) => Ok(VaultToken::File(path)),
        Err(source) => Err(ConfigError::KubernetesToken { path, source }),
    }
}

fn resolve_transit(transit: VaultTransit) -> Result<VaultTransit, ConfigError> {
    let problem = "invalid transit config: no key name specified";
    require(VAULT, &[(&transit.key, problem)])?;
    Ok(VaultTransit {
        engine: or_default(transit.engine, "transit"),
        key: transit.key,
    })
}

fn resolve_ping(ping: GoDuration) -> Result<Duration, ConfigError> {
    match ping.to_std() {
        Some(Duration::ZERO) => Ok(VAULT_PING_DEFAULT),
        Some(ping) => Ok(ping),
        None => Err(invalid(VAULT, &format!("invalid status ping '{ping}'"))),
    }
}

fn or_default(text: String, default: &str) -> String {
    if text.is_empty() {
        default.to_owned()
    } else {
        text
    }
}

fn resolve_fortanix(config: FortanixConfig) -> Result<KeystoreConfig, ConfigError> {
    require(
        FORTANIX,
        &[
            (&config.endpoint, "no endpoint specified"),
            (config.api_key.expose(), "no API key specified"),
        ],
    )?;
    Ok(KeystoreConfig::Fortanix(config))
}

fn resolve_keysecure(config: KeySecureConfig) -> Result<KeystoreConfig, ConfigError> {
    require(
        KEYSECURE,
        &[
            (&config.endpoint, "no endpoint specified"),
            (config.token.expose(), "no token specified"),
        ],
    )?;
    Ok(KeystoreConfig::KeySecure(config))
}

fn resolve_gcp(config: GcpConfig) -> Result<KeystoreConfig, ConfigError> {
    require(GCP, &[(&config.project_id, "no project ID specified")])?;
    Ok(KeystoreConfig::Gcp(config))
}

fn resolve_aws(config: AwsConfig) -> Result<KeystoreConfig, ConfigError> {
    require(
        AWS,
        &[
            (&config.endpoint, "no endpoint specified"),
            (&config.region, "no region specified"),
        ],
    )?;
    Ok(KeystoreConfig::Aws(config))
}

fn resolve_azure(file: AzureFile) -> Result<KeystoreConfig, ConfigError> {
    require(AZURE, &[(&file.endpoint, "no endpoint specified")])?;
    let login = match (file.credentials, file.managed_identity) {
        (None, None) => AzureLogin::Ambient,
        (Some(_), Some(_)) => {
            return Err(invalid(
                AZURE,
                "more than one authentication method specified",
            ));
        }
        (Some((tenant_id, client_id, client_secret)), None) => {
            require(
                AZURE,
                &[
                    (&tenant_id, "no tenant ID specified"),
                    (&client_id, "no client ID specified"),
                    (client_secret.expose(), "no client secret specified"),
                ],
            )?;
            AzureLogin::Client {
                tenant_id,
                client_id,
                client_secret,
            }
        }
        (None, Some(client_id)) => {
            require(AZURE, &[(&client_id, "no client ID specified")])?;
            AzureLogin::ManagedIdentity { client_id }
        }
    };
    Ok(KeystoreConfig::Azure(AzureConfig {
        endpoint: file.endpoint,
        login,
    }))
}

fn resolve_entrust(config: EntrustConfig) -> Result<KeystoreConfig, ConfigError> {
    require(
        ENTRUST,
        &[
            (&config.endpoint, "no endpoint specified"),
            (&config.vault_id, "no vault ID specified"),
            (&config.box_id, "no box ID specified"),
            (&config.username, "no username specified"),
            (config.password.expose(), "no password specified"),
        ],
    )?;
    Ok(KeystoreConfig::Entrust(config))
}

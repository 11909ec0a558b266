//! Which keystore to use, and how to reach it: one type for each section of `keystore`.
//!
//! All of them parse, whether this build can connect to them or not.

mod file;
mod resolve;

use std::path::PathBuf;
use std::time::Duration;

use crate::base::secret::SecretString;
use crate::config::error::ConfigError;

pub(super) use file::KeystoreFile;

/// The one keystore that the configuration names.
pub enum KeystoreConfig {
    /// A directory with one file for each key.
    Fs(FsConfig),
    /// A directory with one sealed file for each key.
    EncryptedFs(EncryptedFsConfig),
    /// HashiCorp Vault's K/V engine.
    Vault(Box<VaultConfig>),
    /// Fortanix SDKMS.
    Fortanix(FortanixConfig),
    /// Gemalto KeySecure, now Thales CipherTrust.
    KeySecure(KeySecureConfig),
    /// GCP Secret Manager.
    Gcp(GcpConfig),
    /// AWS Secrets Manager.
    Aws(AwsConfig),
    /// Azure Key Vault.
    Azure(AzureConfig),
    /// Entrust KeyControl.
    Entrust(EntrustConfig),
    /// The cluster itself: there is a section `cluster` and none in `keystore`.
    Cluster,
}

impl KeystoreConfig {
    /// The section of the configuration that this is, as a key path.
    pub fn section(&self) -> &'static str {
        match self {
            Self::Fs(_) => "keystore.fs",
            Self::EncryptedFs(_) => "keystore.encryptedfs",
            Self::Vault(_) => "keystore.vault",
            Self::Fortanix(_) => "keystore.fortanix.sdkms",
            Self::KeySecure(_) => "keystore.gemalto.keysecure",
            Self::Gcp(_) => "keystore.gcp.secretmanager",
            Self::Aws(_) => "keystore.aws.secretsmanager",
            Self::Azure(_) => "keystore.azure.keyvault",
            Self::Entrust(_) => "keystore.entrust.keycontrol",
            Self::Cluster => "cluster",
        }
    }

    /// Tells whether this build can connect to the keystore.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeystoreUnavailable`] if it cannot.
    pub fn is_available(&self) -> Result<(), ConfigError> {
        match self {
            Self::Fs(_) | Self::EncryptedFs(_) | Self::Cluster => Ok(()),
            Self::Vault(_)
            | Self::Fortanix(_)
            | Self::KeySecure(_)
            | Self::Gcp(_)
            | Self::Aws(_)
            | Self::Azure(_)
            | Self::Entrust(_) => Err(ConfigError::KeystoreUnavailable {
                section: self.section(),
            }),
        }
    }
}

/// `keystore.fs`.
pub struct FsConfig {
    /// The directory, as it was configured.
    pub path: PathBuf,
}

/// `keystore.encryptedfs`.
pub struct EncryptedFsConfig {
    /// File with the 32 bytes of the master key.
    pub master_key_path: PathBuf,
    /// `AES256` or `ChaCha20` or one of their other names; checked when the store is opened.
    pub master_key_cipher: String,
    /// The directory, as it was configured.
    pub path: PathBuf,
}

/// `keystore.vault`.
pub struct VaultConfig {
    /// URL of the server.
    pub endpoint: String,
    /// Mount path of the K/V engine.
    pub engine: String,
    /// Version of the K/V engine, `v1` or `v2`; checked when the store is opened.
    pub version: String,
    /// Namespace of all requests; empty for none.
    pub namespace: String,
    /// Path inside of the engine; empty for none.
    pub prefix: String,
    /// How to log in.
    pub login: VaultLogin,
    /// Encrypt values with this key of the transit engine.
    pub transit: Option<VaultTransit>,
    /// Client certificate: private key and certificate.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// File or directory with CA certificates; without it the system's count.
    pub ca: Option<PathBuf>,
    /// How often to ask for the server's status.
    pub ping: Duration,
}

/// How to log in to Vault.
pub enum VaultLogin {
    /// With an AppRole.
    AppRole {
        /// Mount path of the engine.
        engine: String,
        /// Namespace of the login: empty for that of all requests, `/` for the root.
        namespace: String,
        /// The role.
        id: SecretString,
        /// Its secret.
        secret: SecretString,
    },
    /// With a service account of Kubernetes.
    Kubernetes {
        /// Mount path of the engine.
        engine: String,
        /// Namespace of the login: empty for that of all requests, `/` for the root.
        namespace: String,
        /// The role.
        role: String,
        /// The service account's token.
        token: VaultToken,
    },
}

/// The token of a service account of Kubernetes.
pub enum VaultToken {
    /// In a file, which is read at every login: Kubernetes replaces it.
    File(PathBuf),
    /// In the configuration itself.
    Literal(SecretString),
}

/// `keystore.vault.transit`.
pub struct VaultTransit {
    /// Mount path of the engine.
    pub engine: String,
    /// Name of the key.
    pub key: String,
}

/// `keystore.fortanix.sdkms`.
pub struct FortanixConfig {
    /// URL of the server.
    pub endpoint: String,
    /// Group of new keys; empty for the application's default group.
    pub group_id: String,
    /// API key of the application.
    pub api_key: SecretString,
    /// File or directory with CA certificates, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// `keystore.gemalto.keysecure`.
pub struct KeySecureConfig {
    /// URL of the server.
    pub endpoint: String,
    /// Refresh token.
    pub token: SecretString,
    /// Domain; empty for the root.
    pub domain: String,
    /// File or directory with CA certificates, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// `keystore.gcp.secretmanager`.
pub struct GcpConfig {
    /// Project.
    pub project_id: String,
    /// Address of the service; empty for the public one.
    pub endpoint: String,
    /// OAuth scopes; empty for the default.
    pub scopes: Vec<String>,
    /// Service account: mail address; empty like the other three for the ambient credentials.
    pub client_email: String,
    /// Service account: number.
    pub client_id: String,
    /// Service account: identifier of the private key.
    pub private_key_id: String,
    /// Service account: private key in PEM. The two characters `\n` stand for a newline.
    pub private_key: SecretString,
}

/// `keystore.aws.secretsmanager`.
pub struct AwsConfig {
    /// Host of the service, without scheme.
    pub endpoint: String,
    /// Region.
    pub region: String,
    /// KMS key for new secrets; empty for the default.
    pub kms_key: String,
    /// Static credentials: access key; empty like the other two for the ambient credentials.
    pub access_key: SecretString,
    /// Static credentials: secret key.
    pub secret_key: SecretString,
    /// Static credentials: session token.
    pub session_token: SecretString,
}

/// `keystore.azure.keyvault`.
pub struct AzureConfig {
    /// URL of the vault.
    pub endpoint: String,
    /// How to log in.
    pub login: AzureLogin,
}

/// How to log in to Azure.
pub enum AzureLogin {
    /// With what the environment offers.
    Ambient,
    /// As an application.
    Client {
        /// Tenant.
        tenant_id: String,
        /// Application.
        client_id: String,
        /// Its secret.
        client_secret: SecretString,
    },
    /// With a managed identity.
    ManagedIdentity {
        /// The identity.
        client_id: String,
    },
}

/// `keystore.entrust.keycontrol`.
pub struct EntrustConfig {
    /// URL of the server.
    pub endpoint: String,
    /// Vault.
    pub vault_id: String,
    /// Box in the vault.
    pub box_id: String,
    /// User.
    pub username: String,
    /// The user's password.
    pub password: SecretString,
    /// File or directory with CA certificates, in addition to the system's.
    pub ca: Option<PathBuf>,
}

//! Opens the keystores that a migration reads and writes.

use std::path::Path;
use std::sync::Arc;

use super::migrate::MigrateError;
use crate::config::{Config, ConfigError, KeystoreConfig};
use crate::keystore::KeyStore;
use crate::keystore::encrypted_fs::EncryptedFsStore;
use crate::keystore::fs::FsStore;

/// The keystore to read: it must be there. A mistyped path must not look like a keystore without keys.
///
/// # Errors
///
/// [`MigrateError`] if it is missing or cannot be opened.
pub(super) fn source(path: &Path, config: &Config) -> Result<Arc<dyn KeyStore>, MigrateError> {
    let directory = match &config.keystore {
        KeystoreConfig::Fs(fs) => Some(&fs.path),
        KeystoreConfig::EncryptedFs(fs) => Some(&fs.path),
        _ => None,
    };
    match directory.filter(|directory| !directory.exists()) {
        Some(missing) => Err(MigrateError::Open {
            config: path.to_owned(),
            reason: format!("open {}: no such file or directory", missing.display()),
        }),
        None => target(path, config),
    }
}

/// The keystore to write, made if need be.
///
/// # Errors
///
/// [`MigrateError`] if it cannot be opened.
pub(super) fn target(path: &Path, config: &Config) -> Result<Arc<dyn KeyStore>, MigrateError> {
    let failed = |error: &dyn std::error::Error| MigrateError::Open {
        config: path.to_owned(),
        reason: error.to_string(),
    };
    match &config.keystore {
        KeystoreConfig::Fs(fs) => {
            let store = FsStore::open(&fs.path).map_err(|error| failed(&error))?;
            Ok(Arc::new(store))
        }
        KeystoreConfig::EncryptedFs(fs) => {
            let store =
                EncryptedFsStore::open(&fs.path, &fs.master_key_path, &fs.master_key_cipher);
            Ok(Arc::new(store.map_err(|error| failed(&error))?))
        }
        KeystoreConfig::Cluster => Err(MigrateError::Open {
            config: path.to_owned(),
            reason: "its keys are in the cluster: see 'kes cluster snapshot --help'".to_owned(),
        }),
        other => Err(ConfigError::KeystoreUnavailable {
            section: other.section(),
        }
        .into()),
    }
}

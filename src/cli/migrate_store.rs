//! Opens the keystores that a migration reads and writes.

use std::path::Path;
use std::sync::Arc;

use super::migrate::MigrateError;
use crate::config::{self, ConfigError, KeystoreConfig};
use crate::keystore::KeyStore;
use crate::keystore::encrypted_fs::EncryptedFsStore;
use crate::keystore::fs::FsStore;

/// Opens the keystore of a server configuration.
///
/// # Errors
///
/// [`MigrateError`] if the configuration is refused, or the keystore cannot be opened.
pub(super) fn open(config: &Path) -> Result<Arc<dyn KeyStore>, MigrateError> {
    let keystore = config::load(config)?.keystore;
    let failed = |error: &dyn std::error::Error| MigrateError::Open {
        config: config.to_owned(),
        reason: error.to_string(),
    };
    Ok(match &keystore {
        KeystoreConfig::Fs(fs) => {
            Arc::new(FsStore::open(&fs.path).map_err(|error| failed(&error))?)
        }
        KeystoreConfig::EncryptedFs(fs) => {
            let store =
                EncryptedFsStore::open(&fs.path, &fs.master_key_path, &fs.master_key_cipher);
            Arc::new(store.map_err(|error| failed(&error))?)
        }
        other => {
            return Err(ConfigError::KeystoreUnavailable {
                section: other.section(),
            }
            .into());
        }
    })
}

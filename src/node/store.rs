//! Opens the keystore that a configuration names.

use std::path::Path;
use std::sync::Arc;

use super::error::NodeError;
use crate::config::KeystoreConfig;
use crate::keystore::KeyStore;
use crate::keystore::encrypted_fs::EncryptedFsStore;
use crate::keystore::fs::FsStore;

/// Opens the keystore of `config`.
///
/// # Errors
///
/// [`NodeError`] if the store is not part of this build, or cannot be opened.
pub fn open(config: &KeystoreConfig) -> Result<Arc<dyn KeyStore>, NodeError> {
    config.is_available()?;
    match config {
        KeystoreConfig::Fs(fs) => {
            let store = FsStore::open(Path::new(&fs.path)).map_err(open_error)?;
            Ok(Arc::new(store))
        }
        KeystoreConfig::EncryptedFs(fs) => {
            let store =
                EncryptedFsStore::open(&fs.path, &fs.master_key_path, &fs.master_key_cipher)
                    .map_err(open_error)?;
            Ok(Arc::new(store))
        }
        // `is_available` has refused all others.
        _ => Err(NodeError::OpenStore(
            "this keystore is not available in this build yet".into(),
        )),
    }
}

fn open_error(error: impl std::fmt::Display) -> NodeError {
    NodeError::OpenStore(error.to_string())
}

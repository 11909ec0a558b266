//! Keys as files under a master key, interchangeable with the original's `encryptedfs` keystore.
//!
//! A file is the raw sealed stored text. Its associated data is `name=<key name>`, so that a file
//! that was renamed or copied does not open.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use super::directory::Directory;
pub use super::directory::OpenError;
use super::fs::Files;
use super::{KeyStore, Page, StoreDescription, StoreError, StoreFuture};
use crate::base::name::KeyName;
use crate::base::secret::{Key256, SecretBytes};
use crate::crypto::cipher::{Cipher, SecretKey};
use crate::crypto::random;

/// A store of sealed files.
pub struct EncryptedFsStore {
    files: Files,
    master_key: SecretKey,
}

impl EncryptedFsStore {
    /// Opens the store in the directory `path`, and creates that with its parents if need be.
    /// The file at `master_key_path` holds exactly 32 raw bytes. Blocks.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the directory cannot be had, or the cipher or the master key is invalid.
    pub fn open(path: &Path, master_key_path: &Path, cipher: &str) -> Result<Self, OpenError> {
        let directory = Directory::open(path, "efs")?;
        let Some(parsed) = Cipher::parse(cipher) else {
            let cipher = cipher.to_owned();
            return Err(OpenError::UnknownCipher { cipher });
        };
        let Some(key) = read_master_key(master_key_path)? else {
            let cipher = cipher.to_owned();
            return Err(OpenError::MasterKeySize { cipher });
        };
        Ok(Self {
            files: Files::new(directory),
            master_key: SecretKey::new(parsed, key),
        })
    }

    fn seal(&self, name: KeyName<'_>, value: &SecretBytes) -> Result<SecretBytes, StoreError> {
        let random = random::array::<28>().map_err(|source| self.failed(source))?;
        let sealed = self
            .master_key
            .seal(&random, value.expose(), &associated_data(name))
            .map_err(|source| self.failed(source))?;
        Ok(SecretBytes::new(sealed))
    }

    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
        StoreError::Failed {
            store: self.files.store(),
            source: source.into(),
        }
    }
}

impl KeyStore for EncryptedFsStore {
    fn describe(&self) -> StoreDescription {
        StoreDescription {
            kind: "Encrypted Filesystem",
            location: self.files.location(),
        }
    }

    fn has_atomic_create(&self) -> bool {
        true
    }

    fn status(&self) -> StoreFuture<'_, Duration> {
        Box::pin(self.files.status())
    }

    fn create<'a>(&'a self, name: KeyName<'a>, value: SecretBytes) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let sealed = self.seal(name, &value)?;
            self.files.create(name, sealed).await
        })
    }

    fn get<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, SecretBytes> {
        Box::pin(async move {
            let sealed = self.files.get(name).await?;
            self.master_key
                .open(sealed.expose(), &associated_data(name))
                .map_err(|_not_authentic| StoreError::NotAuthentic)
        })
    }

    fn delete<'a>(&'a self, name: KeyName<'a>) -> StoreFuture<'a, ()> {
        Box::pin(self.files.delete(name))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        start: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Page> {
        Box::pin(self.files.list(prefix, start, limit))
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// What binds a file to its name.
fn associated_data(name: KeyName<'_>) -> Vec<u8> {
    format!("name={name}").into_bytes()
}

/// Reads the master key; `None` if the file has not exactly 32 bytes.
fn read_master_key(path: &Path) -> Result<Option<Key256>, OpenError> {
    let unreadable = |source| OpenError::MasterKeyUnreadable {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let path = path.to_owned();
            return Err(OpenError::MasterKeyNotFound { path });
        }
        Err(source) => return Err(unreadable(source)),
    };
    // One byte more tells a longer file. Room for more than that keeps the buffer where it is.
    let mut bytes = Vec::with_capacity(64);
    let read = file.take(33).read_to_end(&mut bytes);
    let bytes = SecretBytes::new(bytes);
    read.map_err(unreadable)?;
    Ok(Key256::from_slice(bytes.expose()))
}

#[cfg(test)]
mod tests;

//! Keys that the configuration wants to exist.

use crate::base::clock::Timestamp;
use crate::base::limits::STORE_CALL_TIMEOUT;
use crate::base::name::KeyName;
use crate::crypto::cipher::Cipher;
use crate::crypto::key_version::{EncodeError, KeyVersion};
use crate::crypto::random::RandomError;
use crate::keystore::{KeyStore, StoreError};

/// A predefined key does not exist and could not be created.
#[derive(Debug, thiserror::Error)]
#[error("failed to create key '{name}': {cause}")]
pub struct EnsureKeysError {
    /// The name of the key.
    pub name: String,
    /// Why it could not be created.
    #[source]
    pub cause: EnsureKeyCause,
}

/// Why a predefined key could not be created.
#[derive(Debug, thiserror::Error)]
pub enum EnsureKeyCause {
    /// There is no key material.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The key cannot be written down.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The store refuses it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store does not answer.
    #[error("the keystore gave no answer within {} s", STORE_CALL_TIMEOUT.as_secs())]
    NoAnswer,
}

/// Creates each of the keys `names` in `store`, in this order, unless it exists. `created_by` is
/// the admin identity.
///
/// # Errors
///
/// The first failure, with the name of the key. Keys before it exist then.
pub async fn ensure_keys(
    store: &dyn KeyStore,
    names: &[KeyName<'_>],
    created_by: &str,
) -> Result<(), EnsureKeysError> {
    for name in names {
        if let Err(cause) = ensure_key(store, *name, created_by).await {
            let name = name.as_str().to_owned();
            return Err(EnsureKeysError { name, cause });
        }
    }
    Ok(())
}

async fn ensure_key(
    store: &dyn KeyStore,
    name: KeyName<'_>,
    created_by: &str,
) -> Result<(), EnsureKeyCause> {
    let key = KeyVersion::generate(Cipher::preferred(), Timestamp::now(), created_by)?;
    let create = store.create(name, key.encode()?);
    match tokio::time::timeout(STORE_CALL_TIMEOUT, create).await {
        Ok(Ok(()) | Err(StoreError::Exists)) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_elapsed) => Err(EnsureKeyCause::NoAnswer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::fault::{FaultStore, Operation};
    use crate::keystore::memory::MemoryStore;

    fn names<'a>(names: &[&'a str]) -> Vec<KeyName<'a>> {
        let parsed = names.iter().map(|name| KeyName::parse(name));
        parsed.collect::<Option<_>>().expect("valid names")
    }

    #[tokio::test]
    async fn keys_are_created_once() {
        let store = MemoryStore::new();
        let names = names(&["a", "b"]);
        ensure_keys(&store, &names[..1], "admin")
            .await
            .expect("created");
        let first = store.get(names[0]).await.expect("a key");
        ensure_keys(&store, &names, "other").await.expect("created");
        assert!(store.get(names[0]).await.expect("a key") == first);
        let key = KeyVersion::decode(first.expose()).expect("a key");
        assert_eq!(key.created_by, "admin");
        assert!(key.hmac.is_some());
        let second = store.get(names[1]).await.expect("a key");
        assert!(second != first);
    }

    #[tokio::test]
    async fn the_first_failure_ends_it_and_is_named() {
        let store = FaultStore::new();
        store.set_failing(true);
        let failed = ensure_keys(&*store, &names(&["a", "b"]), "admin").await;
        let text = failed.expect_err("refused").to_string();
        assert_eq!(
            text,
            "failed to create key 'a': fault: keystore unreachable: injected"
        );
        assert_eq!(store.calls(Operation::Create), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_a_failure() {
        let store = FaultStore::new();
        store.hold(true);
        let failed = ensure_keys(&*store, &names(&["a"]), "admin").await;
        assert!(matches!(
            failed.expect_err("refused").cause,
            EnsureKeyCause::NoAnswer
        ));
    }
}

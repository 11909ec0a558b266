//! Tests of the encrypted file store.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::base::base64;
use crate::keystore::contract;

/// A directory with a master key of the bytes 0x64 to 0x83 in the file `mk`.
fn root() -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().expect("a directory");
    let master_key_path = root.path().join("mk");
    let master_key: Vec<u8> = (0x64..=0x83).collect();
    std::fs::write(&master_key_path, master_key).expect("a file");
    (root, master_key_path)
}

fn name(name: &str) -> KeyName<'_> {
    KeyName::parse(name).expect("a name")
}

async fn opened(store: &EncryptedFsStore, root: &TempDir, key: &str, file: &str) -> Vec<u8> {
    let content = base64::decode(file.as_bytes()).expect("base64");
    std::fs::write(root.path().join("keys").join(key), content).expect("a file");
    let value = store.get(name(key)).await.expect("a value");
    value.expose().to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_contract() {
    let (root, master_key_path) = root();
    let open = |path: &Path| {
        let store = EncryptedFsStore::open(path, &master_key_path, "AES256");
        Arc::new(store.expect("a store"))
    };
    let count = AtomicUsize::new(0);
    contract::check(contract::LARGE, || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        open(&root.path().join(format!("keys-{number}")))
    })
    .await;
    contract::check_durable(|| open(&root.path().join("durable"))).await;
}

#[tokio::test]
async fn reads_what_the_original_wrote() {
    let (root, master_key_path) = root();
    let path = root.path().join("keys");
    let aes = EncryptedFsStore::open(&path, &master_key_path, "AES256").expect("a store");
    let file = "BsMBn7DgD5qPgEKHgTVMq2G/GrrLAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==";
    assert_eq!(opened(&aes, &root, "my-key", file).await, b"hello");
    let chacha = EncryptedFsStore::open(&path, &master_key_path, "ChaCha20").expect("a store");
    let file = "eXfoRaKa03t8dyvEIqazEZBxsZ5KAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==";
    assert_eq!(opened(&chacha, &root, "my-key", file).await, b"hello");

    std::fs::write(&master_key_path, b"passwordpasswordpasswordpassword").expect("a file");
    let store =
        EncryptedFsStore::open(&path, &master_key_path, "AES256-GCM_SHA256").expect("a store");
    let file = "Eu4t1j1T8CuLjgxqZoCBXguh6DJ+Jg4oZyhPUE6CNsgeGGZ3UhxQ0Eozh1A0THfsx/EK9rc97V2RTg5U";
    let value = opened(&store, &root, "test-kek", file).await;
    assert_eq!(value, b"my-plaintext-kek");
}

#[tokio::test]
async fn a_file_opens_only_unchanged_and_under_its_own_name() {
    let (root, master_key_path) = root();
    let path = root.path().join("keys");
    let store = EncryptedFsStore::open(&path, &master_key_path, "AES256").expect("a store");
    let value = SecretBytes::new(b"value".to_vec());
    store.create(name("key"), value).await.expect("created");
    let file = path.join("key");
    let content = std::fs::read(&file).expect("a file");
    assert_eq!(content.len(), b"value".len() + 44);
    assert!(!content.windows(5).any(|window| window == b"value"));

    let mut forgeries = vec![Vec::new(), content[1..].to_vec()];
    for at in 0..content.len() {
        let mut forged = content.clone();
        forged[at] ^= 1;
        forgeries.push(forged);
    }
    for forged in forgeries {
        std::fs::write(&file, &forged).expect("a file");
        let read = store.get(name("key")).await;
        assert!(matches!(read, Err(StoreError::NotAuthentic)), "{forged:?}");
    }
    std::fs::write(path.join("renamed"), &content).expect("a file");
    let read = store.get(name("renamed")).await.err().expect("refused");
    let text = "decryption failed: ciphertext is not authentic";
    assert_eq!(read.to_string(), text);
    std::fs::write(&file, &content).expect("a file");
    let value = store.get(name("key")).await.expect("a value");
    assert_eq!(value.expose(), b"value");
}

#[test]
fn an_invalid_configuration_is_named() {
    let (root, master_key_path) = root();
    let path = root.path().join("keys");
    let refused = |master_key_path: &Path, cipher: &str| {
        let store = EncryptedFsStore::open(&path, master_key_path, cipher);
        store.err().expect("refused").to_string()
    };
    let missing = root.path().join("none");
    assert_eq!(
        refused(&missing, "AES256"),
        format!("master key not found: '{}'", missing.display())
    );
    assert!(
        path.is_dir(),
        "the directory is created before the key is read"
    );
    assert_eq!(
        refused(&master_key_path, "aes256"),
        "crypto: secret key type 'aes256' is not supported"
    );
    for size in [0, 31, 33, 64, 100_000] {
        std::fs::write(&master_key_path, vec![1; size]).expect("a file");
        let text = "invalid master key size for 'AES256'";
        assert_eq!(refused(&master_key_path, "AES256"), text);
    }
}

#[test]
fn the_banner_names_kind_and_path() {
    let (root, master_key_path) = root();
    let path = root.path().join("keys");
    let store = EncryptedFsStore::open(&path, &master_key_path, "ChaCha20").expect("a store");
    let text = format!("Encrypted Filesystem: {}", path.display());
    assert_eq!(store.describe().to_string(), text);
}

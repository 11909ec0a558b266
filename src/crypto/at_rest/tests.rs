//! Tests of root keys and of sealed records.

use proptest::prelude::*;

use super::*;
use crate::base::secret::Key256;

const CLUSTER: ClusterId = ClusterId([7; 16]);

fn root(byte: u8) -> RootKey {
    RootKey::from_bytes(Key256::new([byte; 32]))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The formats are for ever. These bytes were computed by another program (Python's `hmac`, and
/// AES-GCM of OpenSSL) from the description in this module.
#[test]
fn formats_do_not_change() {
    let root = root(1);
    assert_eq!(
        root.to_text().expose(),
        "kes:root:v1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQGK6PJ6"
    );
    assert_eq!(root.id().to_string(), "a90035e6da192a62");
    let sealer = Sealer::new(&root, CLUSTER, 3);
    assert_eq!(
        hex(&sealer.check_value()),
        "80f1ae1293b3c2f1bacb08248d196a704e5834a1f9c2d27655170e5d08bb2126"
    );
    let sealed = sealer.seal("key", "my-key", b"secret", &[9; SEAL_RANDOM_BYTES]);
    assert_eq!(
        hex(&sealed.expect("sealed")),
        "010000000309090909090909090909090909090909090909090909090909090909\
         8c0ec18f4bf8cb7b6a9ec920edff931e0e209c50666e"
    );
}

#[test]
fn root_keys_are_read_as_written() {
    let key = RootKey::generate().expect("random bytes");
    let text = key.to_text();
    let again = RootKey::parse(&format!("  {}\n", text.expose())).expect("a root key");
    assert_eq!(again.id(), key.id());
    assert!(again.to_text().expose() == text.expose());
    assert_ne!(root(1).id(), root(2).id());
}

#[test]
fn what_is_no_root_key_is_named() {
    let text = root(1).to_text();
    let text = text.expose();
    let error = |text: &str| RootKey::parse(text).err().expect("no root key");
    assert_eq!(error("AQEB"), RootKeyError::Prefix);
    assert_eq!(error("kes:root:v1:?"), RootKeyError::NotBase64);
    assert_eq!(error(&text[..text.len() - 4]), RootKeyError::Length);
    assert_eq!(
        error(&text.replacen("AQEB", "AQEC", 1)),
        RootKeyError::Checksum
    );
}

#[test]
fn keyrings_find_their_keys() {
    let ring = Keyring::new(vec![root(2), root(1)]).expect("two keys");
    assert_eq!(ring.keys().len(), 2);
    assert_eq!(ring.preferred().id(), root(2).id());
    assert!(ring.get(root(1).id()).is_some() && ring.get(root(3).id()).is_none());
    assert_eq!(Keyring::new(Vec::new()).err(), Some(RootKeyError::Missing));
}

fn sealed() -> Vec<u8> {
    let sealer = Sealer::new(&root(1), CLUSTER, 1);
    sealer
        .seal("key", "my-key", b"secret", &[5; SEAL_RANDOM_BYTES])
        .expect("sealed")
}

#[test]
fn a_record_opens_in_its_place_only() {
    let sealed = sealed();
    let sealer = Sealer::new(&root(1), CLUSTER, 1);
    let opened = sealer.open("key", "my-key", &sealed).expect("opened");
    assert_eq!(opened.expose(), b"secret");
    let fails = |sealer: &Sealer, kind, name, sealed: &[u8]| sealer.open(kind, name, sealed).err();
    let refused = Some(OpenError::NotAuthentic);
    assert_eq!(fails(&sealer, "policy", "my-key", &sealed), refused);
    assert_eq!(fails(&sealer, "keym", "y-key", &sealed), refused);
    assert_eq!(fails(&sealer, "key", "my-key2", &sealed), refused);
    let other_root = Sealer::new(&root(2), CLUSTER, 1);
    assert_eq!(fails(&other_root, "key", "my-key", &sealed), refused);
    let other_cluster = Sealer::new(&root(1), ClusterId([8; 16]), 1);
    assert_eq!(fails(&other_cluster, "key", "my-key", &sealed), refused);
    let other_epoch = Sealer::new(&root(1), CLUSTER, 2);
    assert_eq!(
        fails(&other_epoch, "key", "my-key", &sealed),
        Some(OpenError::WrongEpoch)
    );
    // The epoch in the record is authenticated, too.
    let mut moved = sealed;
    moved[4] = 2;
    assert_eq!(fails(&other_epoch, "key", "my-key", &moved), refused);
}

#[test]
fn every_changed_or_missing_byte_is_noticed() {
    let sealed = sealed();
    let sealer = Sealer::new(&root(1), CLUSTER, 1);
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(sealer.open("key", "my-key", &changed).is_err(), "byte {at}");
        assert!(
            sealer.open("key", "my-key", &sealed[..at]).is_err(),
            "cut at {at}"
        );
    }
}

proptest! {
    #[test]
    fn anything_can_be_sealed(plaintext: Vec<u8>, name: String, random: [u8; 28], epoch: u32) {
        let sealer = Sealer::new(&root(4), CLUSTER, epoch);
        let sealed = sealer.seal("key", &name, &plaintext, &random).expect("sealed");
        prop_assert_eq!(sealed.len(), plaintext.len() + OVERHEAD);
        prop_assert_eq!(epoch_of(&sealed), Some(epoch));
        let opened = sealer.open("key", &name, &sealed).expect("opened");
        prop_assert_eq!(opened.expose(), plaintext);
    }

    #[test]
    fn nothing_that_is_read_panics(bytes: Vec<u8>, text: String) {
        let sealer = Sealer::new(&root(4), CLUSTER, 1);
        prop_assert!(sealer.open("key", "name", &bytes).is_err());
        prop_assert!(RootKey::parse(&text).is_err());
        let prefixed = format!("kes:root:v1:{text}");
        prop_assert!(RootKey::parse(&prefixed).is_err());
    }
}

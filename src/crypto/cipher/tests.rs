//! Tests of the ciphers: steps, tampering, hostile input.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::base::base64;
use crate::crypto::random;
use crate::crypto::vectors::{self, Vector, counting, hex};

const CIPHERS: [Cipher; 2] = [Cipher::Aes256, Cipher::ChaCha20];

fn decode(text: &str) -> Vec<u8> {
    base64::decode(text.as_bytes()).unwrap()
}

fn counting_key(cipher: Cipher, first: u8) -> SecretKey {
    SecretKey::new(cipher, Key256::new(counting(first)))
}

fn zero_key(cipher: Cipher) -> SecretKey {
    SecretKey::new(cipher, Key256::new([0; 32]))
}

fn key_of(vector: &Value) -> SecretKey {
    let cipher = Cipher::parse(vector.text("cipher")).unwrap();
    SecretKey::new(cipher, vector.key("key"))
}

#[test]
fn ciphertexts_match_the_vectors() {
    let vectors = vectors::load(include_str!("../testdata/ciphertexts.json"));
    assert!(!vectors.is_empty());
    for vector in vectors {
        let note = vector.text("note");
        let opened = key_of(&vector).open(&vector.base64("ciphertext"), &vector.base64("context"));
        assert_eq!(opened.is_ok(), vector.is("ok"), "{note}");
        if let Ok(plaintext) = opened {
            assert_eq!(plaintext.expose(), vector.base64("plaintext"), "{note}");
        }
    }
}

#[test]
fn sealing_matches_the_vectors() {
    let vectors = vectors::load(include_str!("../testdata/ciphertexts.json"));
    let mut sealed = 0;
    for vector in vectors {
        if vector.text("format") != "raw" || !vector.is("ok") || vector.text("iv").is_empty() {
            continue;
        }
        let random = [vector.hex("iv"), vector.hex("nonce")].concat();
        let ciphertext = key_of(&vector)
            .seal(
                &random.try_into().unwrap(),
                &vector.base64("plaintext"),
                &vector.base64("context"),
            )
            .unwrap();
        assert_eq!(ciphertext, vector.base64("ciphertext"));
        sealed += 1;
    }
    assert_eq!(sealed, 30);
}

#[test]
fn each_step_matches_its_vector() {
    let iv: [u8; 16] = counting(0x10);
    let random: [u8; 28] = counting(0x10);
    for (cipher, one_time_key, sealed) in [
        (
            Cipher::Aes256,
            "86f2d4036cb3c26f4de2b22ed89a59175c50e5db265b4085914ddead565b672b",
            "c7b8a3af23f135e435f98ec8617bf4081b893d0bcda735bc2a",
        ),
        (
            Cipher::ChaCha20,
            "0bde6e74ec830a779b754eec40483c2c3dda34a9267b79b25ac58f5b2e114251",
            "967cce08e17a517ef0ae5b806f51b90ef8d88abccbdf492218",
        ),
    ] {
        let key = counting_key(cipher, 0);
        assert_eq!(key.derive(cipher, &iv).as_slice(), hex(one_time_key));
        // The nonce of these vectors is 20 21 …, which continues the iv 10 11 … 1f.
        let ciphertext = key.seal(&random, b"hello kes", b"ctx").unwrap();
        assert_eq!(ciphertext, [hex(sealed), random.to_vec()].concat());
    }
    let empty = counting_key(Cipher::Aes256, 0).seal(&random, b"", b"");
    let tag = hex("f7dda06dd5876b24b9b08c7ae83df5b7");
    assert_eq!(empty, Ok([tag, random.to_vec()].concat()));
}

#[test]
fn ciphertexts_of_the_original_open() {
    let key = |cipher| {
        let bytes = decode("dDHbTWgo+Yh3u804SYB5OyVMy6RiLeJYBQth1f6KlEU=");
        SecretKey::new(cipher, Key256::from_slice(&bytes).unwrap())
    };
    for (key, context, ciphertext, plaintext) in [
        (
            zero_key(Cipher::Aes256),
            &[][..],
            "zwdDgHeRlIFRnJ7+DIhs/ka7GFK2CFSfDELqg1VCyTQzZ58o7MAdupMLk3ZjlMo2ZUDwldL2o41nAWDc",
            "AAAAAAAAAAAAAAAAAAAAAA==",
        ),
        (
            key(Cipher::Aes256),
            &[0; 16],
            "s2gmfQHeGdlyL8x1yEWSACUV3GrSoz3t160hugMgzKWgyqesXDVUJ5Dw5Mt076rR1PNiU9X4YjLH14D8a81t2r2xsz4gVZac",
            "CLcJoykFCWZDkEIiUq9bJRqwCwW9ZDvdgu8EMA==",
        ),
        (
            key(Cipher::ChaCha20),
            &[0; 16],
            "gO4woRIswAJdjUjW7z2ApsSQxJlwB24yjLrmH4eI7sB0uh5nfEJfk9ybTPFft5FRFaZCVBmzhx7OJs9n0WWtxH3sySIxecIK",
            "CLcJoykFCWZDkEIiUq9bJRqwCwW9ZDvdgu8EMA==",
        ),
    ] {
        let opened = key.open(&decode(ciphertext), context).ok().unwrap();
        assert_eq!(opened.expose(), decode(plaintext));
    }
}

#[test]
fn files_of_the_encrypted_file_keystore_match() {
    let random: [u8; 28] = counting(0);
    for (cipher, file) in [
        (
            Cipher::Aes256,
            "BsMBn7DgD5qPgEKHgTVMq2G/GrrLAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==",
        ),
        (
            Cipher::ChaCha20,
            "eXfoRaKa03t8dyvEIqazEZBxsZ5KAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGw==",
        ),
    ] {
        let sealed = counting_key(cipher, 0x64).seal(&random, b"hello", b"name=my-key");
        assert_eq!(sealed, Ok(decode(file)));
    }
}

/// Legacy ciphertexts of 16 zero bytes under the zero key.
const LEGACY_JSON_AES: &str = r#"{"aead":"AES-256-GCM-HMAC-SHA-256","iv":"xLxIN3tSCkg2xMafuvwUwg==","nonce":"gu0mGwUkwcvMEoi5","bytes":"WVgRjeIJm3w50C/l+y7y2i6mbNg5NCAqN1zvOYWZKmc="}"#;
const LEGACY_JSON_CHACHA: &str = r#"{"aead":"ChaCha20Poly1305","iv":"s3fSZ6vk5m+DfQA8yZWeUg==","nonce":"8/kHMnCMs3h9NZ2a","bytes":"cw22HjLq/4cx8507SW4hhSrYbDiMuRao4b5+GE+XfbE="}"#;
const LEGACY_JSON_ID: &str = r#"{"aead":"ChaCha20Poly1305","id":"66687aadf862bd776c8fc18b8e9f8e20","iv":"EC0eZp7Pqt+LnkOae5xaAg==","nonce":"X1ejXKmH/ugFZPkk","bytes":"wIGBTDs6aOvsqJfekZ0PYRT/OHyFX2TXqeNwl1SLXOI="}"#;
const LEGACY_PACK_AES: &str = "lbFBRVMyNTYtR0NNX1NIQTI1NtkgNjY2ODdhYWRmODYyYmQ3NzZjOGZjMThiOGU5ZjhlMjDEEExv7LAd4oz0SaHZrX5LBufEDEKME1ow1CDfUFrqv8QgJuy7Sw+jVqz99TK1HV851LT3K4mwwDv46TB2ngWkAJQ=";
const LEGACY_PACK_CHACHA: &str = "lbJYQ0hBQ0hBMjAtUE9MWTEzMDXZIDY2Njg3YWFkZjg2MmJkNzc2YzhmYzE4YjhlOWY4ZTIwxBBAr+aptD4x2+qfOhiErbnkxAxYs8RmNC1JJXD1hiHEIJ2KqM0jjkME7ndx8nyVseesN83Np0rM5ejVUun+fNFu";

#[test]
fn legacy_ciphertexts_open_with_the_algorithm_they_name() {
    for ciphertext in [
        LEGACY_JSON_AES.as_bytes(),
        LEGACY_JSON_CHACHA.as_bytes(),
        LEGACY_JSON_ID.as_bytes(),
        &decode(LEGACY_PACK_AES),
        &decode(LEGACY_PACK_CHACHA),
    ] {
        // Also with a key of the other cipher: keys of before 2022 have none recorded.
        for cipher in CIPHERS {
            let opened = zero_key(cipher).open(ciphertext, b"");
            assert!(opened.is_ok_and(|plaintext| plaintext.expose() == [0; 16]));
            assert!(zero_key(cipher).open(ciphertext, b"x").is_err());
            assert!(counting_key(cipher, 0).open(ciphertext, b"").is_err());
        }
    }
}

#[test]
fn malformed_legacy_ciphertexts_do_not_open() {
    for (was, becomes) in [
        ("AES-256-GCM-HMAC-SHA-256", "AES-256-GCM"),
        ("xLxIN3tSCkg2xMafuvwUwg==", "EjOY4JKqjIrPmQ5z1KSR8zlhggY="),
        ("gu0mGwUkwcvMEoi5", "SXAbms731/c="),
        (
            "WVgRjeIJm3w50C/l+y7y2i6mbNg5NCAqN1zvOYWZKmc=",
            "QTza1g5oX3f9cGJMbY1xJwWPj1F7R2VnNl6XpFKYQy0=",
        ),
        (",", ""),
        ("\"iv\":\"xLxIN3tSCkg2xMafuvwUwg==\"", "\"iv\":5"),
    ] {
        let changed = LEGACY_JSON_AES.replacen(was, becomes, 1);
        assert_ne!(changed, LEGACY_JSON_AES);
        assert!(
            zero_key(Cipher::Aes256)
                .open(changed.as_bytes(), b"")
                .is_err(),
            "{changed}"
        );
    }
    let pack = decode(LEGACY_PACK_AES);
    let trailing = [&pack[..], &[0]].concat();
    assert!(zero_key(Cipher::Aes256).open(&trailing, b"").is_err());
    for length in 0..pack.len() {
        assert!(zero_key(Cipher::Aes256).open(&pack[..length], b"").is_err());
    }
}

#[test]
fn legacy_members_are_found_in_any_case() {
    let shouted = LEGACY_JSON_AES
        .replace("\"iv\"", "\"IV\"")
        .replace("\"bytes\"", "\"Bytes\"");
    assert!(
        zero_key(Cipher::Aes256)
            .open(shouted.as_bytes(), b"")
            .is_ok()
    );
}

/// One in 128 ciphertexts begins like a legacy one; those must open all the same.
#[test]
fn ciphertexts_that_begin_like_legacy_ones_open() {
    for cipher in CIPHERS {
        let key = counting_key(cipher, 1);
        let mut markers = std::collections::BTreeSet::new();
        for number in 0..=u16::MAX {
            let mut random = [0; RANDOM_BYTES];
            random[..2].copy_from_slice(&number.to_be_bytes());
            let sealed = key.seal(&random, b"plaintext", b"").unwrap();
            if sealed[0] == 0x95 || sealed[0] == b'{' {
                markers.insert(sealed[0]);
                assert!(
                    key.open(&sealed, b"")
                        .is_ok_and(|opened| opened.expose() == b"plaintext")
                );
            }
            if markers.len() == 2 {
                break;
            }
        }
        assert_eq!(markers.len(), 2);
    }
}

#[test]
fn a_change_of_any_bit_is_noticed() {
    for cipher in CIPHERS {
        let key = counting_key(cipher, 0);
        let random = random::array().unwrap();
        let sealed = key.seal(&random, b"plaintext", b"context").unwrap();
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert!(key.open(&changed, b"context").is_err(), "bit {at}");
        }
        for length in 0..sealed.len() {
            assert!(key.open(&sealed[..length], b"context").is_err());
        }
        assert!(key.open(&sealed, b"").is_err());
        assert!(counting_key(cipher, 1).open(&sealed, b"context").is_err());
    }
}

#[test]
fn sealing_appends() {
    let mut out = b"before".to_vec();
    let key = counting_key(Cipher::Aes256, 0);
    key.seal_into(&[3; 28], b"plaintext", b"", &mut out)
        .unwrap();
    assert_eq!(out.len(), 6 + 9 + OVERHEAD);
    assert_eq!(&out[..6], b"before");
    assert_eq!(
        Ok(&out[6..]),
        key.seal(&[3; 28], b"plaintext", b"").as_deref()
    );
}

#[test]
fn ciphers_have_two_names_and_print_the_current_one() {
    for (name, current) in [
        ("AES256", "AES256"),
        ("AES256-GCM_SHA256", "AES256"),
        ("ChaCha20", "ChaCha20"),
        ("XCHACHA20-POLY1305", "ChaCha20"),
    ] {
        assert_eq!(Cipher::parse(name).unwrap().to_string(), current);
    }
    for name in ["", "aes256", "AES-256-GCM", "ChaCha20Poly1305", "AES256 "] {
        assert_eq!(Cipher::parse(name), None, "{name}");
    }
}

fn any_cipher() -> impl Strategy<Value = Cipher> {
    prop_oneof![Just(Cipher::Aes256), Just(Cipher::ChaCha20)]
}

proptest! {
    #[test]
    fn what_is_sealed_opens(
        cipher in any_cipher(),
        key: [u8; 32],
        random: [u8; RANDOM_BYTES],
        plaintext in proptest::collection::vec(any::<u8>(), 0..300),
        context in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let key = SecretKey::new(cipher, Key256::new(key));
        let sealed = key.seal(&random, &plaintext, &context).unwrap();
        prop_assert_eq!(sealed.len(), plaintext.len() + OVERHEAD);
        let opened = key.open(&sealed, &context);
        prop_assert!(opened.is_ok_and(|opened| opened.expose() == plaintext));
    }

    #[test]
    fn any_bytes_are_refused(
        cipher in any_cipher(),
        first in prop_oneof![Just(vec![]), Just(vec![0x95]), Just(vec![b'{'])],
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let ciphertext = [first, bytes].concat();
        prop_assert!(zero_key(cipher).open(&ciphertext, b"").is_err());
    }

    #[test]
    fn changed_message_pack_is_refused_or_means_the_same(
        at in 0..115usize,
        byte: u8,
    ) {
        let mut pack = decode(LEGACY_PACK_AES);
        let at = at % pack.len();
        pack[at] = byte;
        if let Ok(opened) = zero_key(Cipher::Aes256).open(&pack, b"") {
            prop_assert_eq!(opened.expose(), [0; 16]);
        }
    }
}

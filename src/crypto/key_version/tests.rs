//! Tests of stored keys: both formats, hostile input.

use proptest::prelude::*;

use super::*;
use crate::crypto::vectors::{self, Vector, hex};

fn counting(first: u8) -> Key256 {
    Key256::new(vectors::counting(first))
}

fn counting_version(cipher: Cipher, nanos: u32, created_by: &str) -> KeyVersion {
    KeyVersion {
        key: SecretKey::new(cipher, counting(0)),
        hmac: Some(HmacKey::new(counting(0x20))),
        created_at: Timestamp {
            seconds: 1_700_000_000,
            nanos,
        },
        created_by: created_by.to_owned(),
    }
}

/// The seconds of the last second of the year 9999, which the time library does not parse.
const LAST_SECOND: Timestamp = Timestamp {
    seconds: 253_402_300_799,
    nanos: 999_999_999,
};

#[test]
fn stored_keys_match_the_vectors() {
    let vectors = vectors::load(include_str!("../testdata/stored_keys.json"));
    assert!(!vectors.is_empty());
    for vector in vectors {
        let note = vector.text("note");
        let stored = vector.base64("file_base64");
        let decoded = KeyVersion::decode(&stored);
        assert_eq!(decoded.is_ok(), vector.is("ok"), "{note}");
        let Ok(version) = decoded else { continue };
        assert_eq!(
            version.key.cipher().as_str(),
            vector.text("cipher"),
            "{note}"
        );
        assert!(*version.key.bytes() == vector.key("key"), "{note}");
        assert_eq!(version.hmac.is_some(), vector.is("has_hmac"), "{note}");
        let created_at = match vector.text("created_at") {
            "9999-12-31T23:59:59.999999999Z" => LAST_SECOND,
            text => Timestamp::parse_rfc3339(text).unwrap(),
        };
        assert_eq!(version.created_at, created_at, "{note}");
        assert_eq!(version.created_by, vector.text("created_by"), "{note}");
        match &version.hmac {
            Some(hmac) => {
                assert!(*hmac.bytes() == vector.key("hmac_key"), "{note}");
                let same = version
                    .encode()
                    .is_ok_and(|encoded| encoded.expose() == stored);
                assert_eq!(same, vector.is("reencodes_to_same_bytes"), "{note}");
            }
            None => assert_eq!(version.encode().err(), Some(EncodeError::NoHmacKey)),
        }
    }
}

/// The texts of the original, where it does not print zero for whatever number it found.
#[test]
fn errors_say_what_is_wrong() {
    let vectors = vectors::load(include_str!("../testdata/stored_keys.json"));
    let mut compared = 0;
    for vector in vectors {
        let expected = vector.text("error");
        let same_text = ["length", "not supported", "illegal base64"];
        if same_text.iter().any(|part| expected.contains(part)) {
            let error = KeyVersion::decode(&vector.base64("file_base64"))
                .err()
                .unwrap();
            assert_eq!(error.to_string(), expected);
            compared += 1;
        }
    }
    assert!(compared >= 8, "{compared} texts");
    let typed = |number| stored::SecretKey {
        key: vec![0; 32],
        r#type: number,
    };
    assert_eq!(
        decode_secret_key(&typed(3)).err(),
        Some(DecodeError::SecretKeyType(3))
    );
}

#[test]
fn the_current_form_is_written_to_the_byte() {
    for (version, stored) in [
        (
            counting_version(
                Cipher::Aes256,
                123_456_789,
                "c84cc9b91ae2399b043da7eca616048d4b4200edf2ff418d8af3835911db945d",
            ),
            "CiQKIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fEAESJAogICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8QARoLCIDiz6oGEJWa7zoiQGM4NGNjOWI5MWFlMjM5OWIwNDNkYTdlY2E2MTYwNDhkNGI0MjAwZWRmMmZmNDE4ZDhhZjM4MzU5MTFkYjk0NWQ=",
        ),
        (
            counting_version(Cipher::ChaCha20, 0, "disabled"),
            "CiQKIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fEAISJAogICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8QARoGCIDiz6oGIghkaXNhYmxlZA==",
        ),
        (
            counting_version(Cipher::ChaCha20, 0, ""),
            "CiQKIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fEAISJAogICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8QARoGCIDiz6oG",
        ),
    ] {
        let encoded = version.encode().ok().unwrap();
        assert_eq!(encoded.expose(), stored.as_bytes());
        let mut with_newline = stored.as_bytes().to_vec();
        with_newline.push(b'\n');
        assert!(KeyVersion::decode(&with_newline).is_ok());
    }
}

#[test]
fn a_key_of_the_original_works() {
    let version = KeyVersion::decode(
        b"CiQKIMiHG7XrN94FuwblJJor4f7f6rbqAl7DwsLaiIoyz0D2EAESJAognLXl4yqa4cjZTcSbsU6sNnN8kP9ARWkXwa20YQZa9HgQARoMCNithK0GEID67qYDIkAzZWNmY2RmMzhmY2JlMTQxYWUyNmExMDMwZjgxZTk2Yjc1MzM2NWE0Njc2MGFlNmI1Nzg2OThhOTdjNTlmZDIy",
    )
    .ok()
    .unwrap();
    assert_eq!(
        version.created_at.to_rfc3339(),
        "2024-01-12T10:39:20.886816Z"
    );
    assert_eq!(
        version.hmac.unwrap().sum(b"Hello World").as_slice(),
        hex("ca30097dd549ceb5cb4748739af12c8a0df309d0dbc74d6792e90a56d06ee8e0")
    );
}

#[test]
fn legacy_keys_are_read() {
    for (stored, cipher) in [
        (
            r#"{"bytes":"J8qmOyEV2ce2yoAC+5t0Y7CSP/hTMppL7XHpAnyc+0E=","algorithm":"AES256-GCM_SHA256","created_at":"2009-11-10T23:00:00Z","created_by":"40235905b7b83e0537a002db523cd019d6709b899adc249c957860cd00fa9f78"}"#,
            Cipher::Aes256,
        ),
        (
            r#"{"version":"v1","bytes":"9ew6BCae3+13sniOUwttEJ62amg98YXc0OW0WBhNiCY=","algorithm":"XCHACHA20-POLY1305","created_at":"2009-11-10T23:00:00Z"}"#,
            Cipher::ChaCha20,
        ),
        (
            "\n {\"bytes\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"} \n",
            Cipher::Aes256,
        ),
        (
            r#"{"b\u0079tes":"\u0041AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#,
            Cipher::Aes256,
        ),
    ] {
        let version = KeyVersion::decode(stored.as_bytes()).ok().unwrap();
        assert_eq!(version.key.cipher(), cipher);
        assert!(version.hmac.is_none());
    }
}

#[test]
fn malformed_legacy_keys_are_refused() {
    for stored in [
        r#""bytes":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#,
        r#"{bytes":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#,
        r#"{"bytes""AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#,
        r#""bytes":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=""#,
        r#"[{"bytes":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]"#,
        r#"{"bytes":["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]}"#,
    ] {
        assert!(KeyVersion::decode(stored.as_bytes()).is_err(), "{stored}");
    }
}

/// A string where an object is expected is what the parser's own message would quote.
#[test]
fn errors_do_not_quote_keys() {
    let secret = "J8qmOyEV2ce2yoAC+5t0Y7CSP/hTMppL7XHpAnyc+0E=";
    for stored in [
        format!("\"{secret}\""),
        format!("{{\"bytes\":[\"{secret}\"]}}"),
        format!("{{\"bytes\":\"{secret}\",\"created_at\":\"{secret}\"}}"),
        format!("{{\"bytes\":\"{secret}{secret}\"}}"),
    ] {
        let error = KeyVersion::decode(stored.as_bytes()).err().unwrap();
        assert!(!format!("{error} {error:?}").contains(&secret[..8]));
    }
}

#[test]
fn a_key_without_hmac_key_is_read() {
    let message = stored::KeyVersion {
        key: Some(stored::SecretKey {
            key: vec![7; 32],
            r#type: 1,
        }),
        ..Default::default()
    };
    let version = KeyVersion::decode(base64::encode(&message.encode_to_vec()).as_bytes());
    assert!(version.is_ok_and(|version| version.hmac.is_none()));
    assert_eq!(
        KeyVersion::decode(b"").err(),
        Some(DecodeError::NoSecretKey)
    );
}

#[test]
fn nanoseconds_are_carried_into_seconds() {
    for (nanos, expected) in [
        (-1, (9, 999_999_999)),
        (1_000_000_001, (11, 1)),
        (i32::MIN, (7, 852_516_352)),
    ] {
        let time = decode_timestamp(prost_types::Timestamp { seconds: 10, nanos });
        assert_eq!((time.seconds, time.nanos), expected);
    }
    let mut version = counting_version(Cipher::Aes256, 1_000_000_000, "");
    assert_eq!(version.encode().err(), Some(EncodeError::InvalidTime));
    version.created_at.nanos = u32::MAX;
    assert_eq!(version.encode().err(), Some(EncodeError::InvalidTime));
}

#[test]
fn new_keys_are_fresh() {
    let generate = || KeyVersion::generate(Cipher::ChaCha20, Timestamp::ZERO, "me").unwrap();
    let (first, second) = (generate(), generate());
    assert!(first.key.bytes() != second.key.bytes());
    let import = || {
        KeyVersion::import(Cipher::Aes256, counting(0), Timestamp::ZERO, "me")
            .unwrap()
            .hmac
            .unwrap()
    };
    assert!(import().bytes() != import().bytes());
    assert!(first.hmac.unwrap().bytes() != first.key.bytes());
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(
        key: [u8; 32],
        hmac: [u8; 32],
        chacha: bool,
        seconds: i64,
        nanos in 0..1_000_000_000u32,
        created_by in ".{0,80}",
    ) {
        let cipher = if chacha { Cipher::ChaCha20 } else { Cipher::Aes256 };
        let version = KeyVersion {
            key: SecretKey::new(cipher, Key256::new(key)),
            hmac: Some(HmacKey::new(Key256::new(hmac))),
            created_at: Timestamp { seconds, nanos },
            created_by,
        };
        let encoded = version.encode().ok().unwrap();
        let decoded = KeyVersion::decode(encoded.expose()).ok().unwrap();
        prop_assert_eq!(decoded.key.cipher(), cipher);
        prop_assert!(decoded.key.bytes() == version.key.bytes());
        prop_assert!(decoded.hmac.unwrap().bytes() == version.hmac.unwrap().bytes());
        prop_assert_eq!(decoded.created_at, version.created_at);
        prop_assert_eq!(decoded.created_by, version.created_by);
    }

    #[test]
    fn any_bytes_are_a_key_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = KeyVersion::decode(&bytes);
        let _ = KeyVersion::decode(base64::encode(&bytes).as_bytes());
    }

    #[test]
    fn any_json_is_a_key_or_an_error(
        json in r#"\{("(bytes|Algorithm|created_at|x)":("[A-Za-z0-9+/=:]{0,44}"|null|[0-9]{1,3}|\[\]),?){0,4}\}?"#,
    ) {
        let _ = KeyVersion::decode(json.as_bytes());
    }

    #[test]
    fn a_changed_key_never_panics(at in 0..160usize, byte: u8) {
        let encoded = counting_version(Cipher::Aes256, 5, "me").encode().ok().unwrap();
        let mut changed = encoded.expose().to_vec();
        let at = at % changed.len();
        changed[at] = byte;
        let _ = KeyVersion::decode(&changed);
    }
}

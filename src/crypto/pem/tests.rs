//! Tests of PEM files: OpenSSL's output, encryption, hostile input.

use proptest::prelude::*;

use super::*;
use crate::base::secret::Key256;

const RSA_PKCS1: &str = include_str!("../testdata/pem/rsa-pkcs1.pem");
const RSA_PKCS8: &str = include_str!("../testdata/pem/rsa-pkcs8.pem");
const EC_SEC1: &str = include_str!("../testdata/pem/ec-sec1.pem");
const EC_SEC1_AES256: &str = include_str!("../testdata/pem/ec-sec1-aes256.pem");
const ED25519: &str = include_str!("../testdata/pem/ed25519-pkcs8.pem");
const CA_WITH_TEXT: &str = include_str!("../testdata/pem/ca-with-text.pem");
const EMAIL_SAN: &str = include_str!("../testdata/pem/email-san.pem");

fn key(pem: &str, password: Option<&str>) -> Result<PrivateKeyDer<'static>, PemError> {
    private_key(pem.as_bytes(), password)
}

fn count(pem: &str) -> Result<usize, PemError> {
    certificates(pem.as_bytes()).map(|certificates| certificates.len())
}

#[test]
fn certificate_files_hold_certificates() {
    assert_eq!(count(EMAIL_SAN), Ok(1));
    assert_eq!(count(CA_WITH_TEXT), Ok(1));
    assert_eq!(
        count(&format!("\n\n{EMAIL_SAN}\n{CA_WITH_TEXT}\n \n")),
        Ok(2)
    );
    assert_eq!(count(&EMAIL_SAN.replace('\n', "\r\n")), Ok(1));
    let chain = certificates(format!("{EMAIL_SAN}{CA_WITH_TEXT}").as_bytes()).unwrap();
    let first = certificates(EMAIL_SAN.as_bytes()).unwrap();
    assert_eq!(chain[0], first[0]);
}

#[test]
fn certificate_files_hold_nothing_else() {
    for (pem, error) in [
        (String::new(), PemError::NoPem),
        (" \n".to_owned(), PemError::NoPem),
        ("text".to_owned(), PemError::NoPem),
        (format!("{EMAIL_SAN}text"), PemError::NoPem),
        (EMAIL_SAN.replace("END", "FIN"), PemError::NoPem),
        (format!("{EMAIL_SAN}{ED25519}"), PemError::UnsupportedBlock),
        (ED25519.to_owned(), PemError::UnsupportedBlock),
    ] {
        assert_eq!(count(&pem), Err(error), "{pem}");
    }
}

#[test]
fn the_kind_of_a_private_key_follows_from_its_content() {
    assert!(matches!(key(RSA_PKCS1, None), Ok(PrivateKeyDer::Pkcs1(_))));
    assert!(matches!(key(RSA_PKCS8, None), Ok(PrivateKeyDer::Pkcs8(_))));
    assert!(matches!(key(EC_SEC1, None), Ok(PrivateKeyDer::Sec1(_))));
    assert!(matches!(key(ED25519, None), Ok(PrivateKeyDer::Pkcs8(_))));
    let mislabeled = RSA_PKCS1.replace("RSA PRIVATE", "PRIVATE");
    assert!(matches!(
        key(&mislabeled, None),
        Ok(PrivateKeyDer::Pkcs1(_))
    ));
    let mislabeled = EC_SEC1.replace("EC PRIVATE", "MY OWN PRIVATE");
    assert!(matches!(key(&mislabeled, None), Ok(PrivateKeyDer::Sec1(_))));
}

#[test]
fn the_first_private_key_counts() {
    let first = key(&format!("{CA_WITH_TEXT}\n{EC_SEC1}{RSA_PKCS1}"), None);
    assert_eq!(first, key(EC_SEC1, None));
}

#[test]
fn key_files_without_a_usable_key_are_refused() {
    let parameters = include_str!("../testdata/pem/ec-with-parameters.pem");
    let encrypted = include_str!("../testdata/pem/encrypted-pkcs8.pem");
    let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (pem, error) in [
        ("", PemError::NoPrivateKey),
        ("text", PemError::NoPem),
        (EMAIL_SAN, PemError::NoPrivateKey),
        (parameters, PemError::UnsupportedBlock),
        (encrypted, PemError::EncryptedPkcs8),
        (garbage, PemError::UnknownPrivateKey),
    ] {
        assert_eq!(key(pem, Some("swordfish")), Err(error), "{pem}");
    }
}

#[test]
fn keys_encrypted_by_openssl_are_read() {
    let expected = key(EC_SEC1, None).unwrap();
    for pem in [
        include_str!("../testdata/pem/ec-sec1-des.pem"),
        include_str!("../testdata/pem/ec-sec1-des3.pem"),
        include_str!("../testdata/pem/ec-sec1-aes128.pem"),
        include_str!("../testdata/pem/ec-sec1-aes192.pem"),
        EC_SEC1_AES256,
    ] {
        assert!(is_encrypted(pem.as_bytes()));
        assert_eq!(key(pem, Some("swordfish")).as_ref(), Ok(&expected));
        assert_eq!(key(pem, None), Err(PemError::PasswordRequired));
        assert_eq!(key(pem, Some("")), Err(PemError::PasswordRequired));
        for wrong in 0..600 {
            let error = key(pem, Some(&format!("wrong {wrong}")));
            assert_eq!(error, Err(PemError::IncorrectPassword));
        }
    }
    assert!(!is_encrypted(EC_SEC1.as_bytes()));
    assert!(!is_encrypted(b"text"));
    assert_eq!(key(EC_SEC1, Some("ignored")).as_ref(), Ok(&expected));
}

#[test]
fn malformed_encryption_is_refused() {
    let iv = EC_SEC1_AES256
        .split_once("CBC,")
        .unwrap()
        .1
        .split_once('\n')
        .unwrap()
        .0;
    for (was, becomes, error) in [
        ("AES-256-CBC,", "AES-256-CBC", PemError::MalformedDekInfo),
        (iv, &iv[2..], PemError::MalformedDekInfo),
        (iv, "", PemError::MalformedDekInfo),
        (iv, &"x".repeat(32), PemError::MalformedDekInfo),
        (iv, &"é".repeat(16), PemError::MalformedDekInfo),
        (
            "AES-256-CBC",
            "RC2-CBC",
            PemError::UnknownEncryption("RC2-CBC".to_owned()),
        ),
    ] {
        let pem = EC_SEC1_AES256.replacen(was, becomes, 1);
        assert_eq!(key(&pem, Some("swordfish")), Err(error));
    }
    let empty = format!(
        "-----BEGIN PRIVATE KEY-----\nDEK-Info: AES-256-CBC,{iv}\n-----END PRIVATE KEY-----"
    );
    assert_eq!(key(&empty, Some("swordfish")), Err(PemError::PartialBlock));
}

#[test]
fn keys_are_written_and_read() {
    let api_key = ApiKey::from_seed(Key256::new([7; 32]));
    let der = api_key.to_pkcs8_der();
    let plain = encode_private_key(der.expose());
    let encrypted = encrypt_private_key(der.expose(), "swordfish").unwrap();
    for (pem, password) in [(&plain, None), (&encrypted, Some("swordfish"))] {
        let read = key(pem.expose(), password).unwrap();
        assert_eq!(read.secret_der(), der.expose());
        let read = api_key_of_pkcs8(read.secret_der()).unwrap();
        assert!(read.seed() == api_key.seed());
    }
    let lines: Vec<&str> = encrypted.expose().lines().collect();
    assert_eq!(
        lines[..2],
        ["-----BEGIN PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"]
    );
    assert_eq!(lines[2].len(), "DEK-Info: AES-256-CBC,".len() + 32);
    assert_eq!(lines[3], "");
    assert_eq!(lines.last(), Some(&"-----END PRIVATE KEY-----"));
    let again = encrypt_private_key(der.expose(), "swordfish").unwrap();
    assert_ne!(again.expose(), encrypted.expose());
}

#[test]
fn written_pem_is_that_of_openssl() {
    let block = &blocks(ED25519.as_bytes())[0];
    assert_eq!(encode_private_key(&block.der).expose(), ED25519);
    let certificate = &certificates(EMAIL_SAN.as_bytes()).unwrap()[0];
    let text = encode_certificate(certificate);
    assert_eq!(text, EMAIL_SAN);
    assert_eq!(text.capacity(), text.len());
}

#[test]
fn blocks_are_found_among_other_things() {
    let file = "\
text
-----BEGIN A-----
Name: value: more
 Other :x

aGk=
-----END A-----
 -----BEGIN INDENTED-----
aGk=
-----END INDENTED-----
-----BEGIN MISMATCH-----
aGk=
-----END OTHER-----
-----BEGIN NOT BASE64-----
a-k=
-----END NOT BASE64-----
-----BEGIN UNFINISHED-----
aGk=
-----BEGIN B-----
-----END B-----\x20\t
-----BEGIN C D-----
aG\x20
k=\t
-----END C D-----
-----BEGIN LAST-----
aGk=
";
    let blocks = blocks(file.as_bytes());
    let labels: Vec<&str> = blocks.iter().map(|block| block.label.as_str()).collect();
    assert_eq!(labels, ["A", "B", "C D"]);
    assert_eq!(blocks[0].header("Name"), Some("value: more"));
    assert_eq!(blocks[0].header("Other"), Some("x"));
    assert_eq!(blocks[0].header("name"), None);
    let contents: Vec<&[u8]> = blocks.iter().map(|block| block.der.as_slice()).collect();
    assert_eq!(contents, [&b"hi"[..], b"", b"hi"]);
}

fn read_all(pem: &[u8]) {
    let _ = certificates(pem);
    let _ = private_key(pem, None);
    let _ = private_key(pem, Some("swordfish"));
    let _ = is_encrypted(pem);
    for block in blocks(pem) {
        let _ = api_key_of_pkcs8(&block.der);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_pem_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
        let label = "-----BEGIN PRIVATE KEY-----\n".as_bytes();
        read_all(&[label, &bytes, b"\n-----END PRIVATE KEY-----"].concat());
        let framed = encode_private_key(&bytes);
        read_all(framed.expose().as_bytes());
        prop_assert_eq!(&*blocks(framed.expose().as_bytes())[0].der, &bytes);
    }

    #[test]
    fn any_lines_are_pem_or_not(
        lines in proptest::collection::vec(
            "-----(BEGIN|END) (A|PRIVATE KEY|CERTIFICATE)-----|DEK-Info: .{0,40}|[A-Za-z0-9+/=]{0,20}",
            0..12,
        ),
    ) {
        read_all(lines.join("\n").as_bytes());
    }

    #[test]
    fn a_changed_encrypted_key_never_panics(at in 0..400usize, byte: u8) {
        let mut pem = EC_SEC1_AES256.as_bytes().to_vec();
        let at = at % pem.len();
        pem[at] = byte;
        read_all(&pem);
    }

    #[test]
    fn what_is_encrypted_decrypts(
        content in proptest::collection::vec(any::<u8>(), 0..100),
        password in ".{1,20}",
    ) {
        let (dek_info, encrypted) = encryption::encrypt(&content, password.as_bytes()).unwrap();
        let decrypted = encryption::decrypt(&dek_info, &encrypted, password.as_bytes());
        prop_assert_eq!(&*decrypted.unwrap(), &content);
    }
}

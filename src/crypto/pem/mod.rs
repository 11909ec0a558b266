//! PEM files of certificates and private keys, as the configuration and the command line name them.

mod block;
mod encryption;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

pub use block::{PemBlock, blocks};

use super::api_key::ApiKey;
use super::der;
use super::random::RandomError;
use crate::base::secret::SecretString;

const CERTIFICATE: &str = "CERTIFICATE";
const PRIVATE_KEY: &str = "PRIVATE KEY";
const DEK_INFO: &str = "DEK-Info";

/// A PEM file is not what it should be.
#[derive(thiserror::Error, Clone, PartialEq, Eq, Debug)]
pub enum PemError {
    /// No PEM at all, or something else behind it.
    #[error("https: no valid PEM data")]
    NoPem,
    /// A block that has no place in this file.
    #[error("https: unsupported PEM data block")]
    UnsupportedBlock,
    /// Only other blocks.
    #[error("https: no PEM-encoded private key found")]
    NoPrivateKey,
    /// The block of the private key holds something else.
    #[error("https: private key is neither PKCS#8, PKCS#1 nor SEC 1")]
    UnknownPrivateKey,
    /// The private key has the one kind of encryption that is not supported.
    #[error(
        "https: encrypted PKCS#8 private keys are not supported: use a PEM block with a DEK-Info header"
    )]
    EncryptedPkcs8,
    /// The private key is encrypted.
    #[error("https: private key is encrypted: password required")]
    PasswordRequired,
    /// The private key cannot be decrypted with this password.
    #[error("x509: decryption password incorrect")]
    IncorrectPassword,
    /// The header that says how the private key is encrypted does not.
    #[error("x509: malformed DEK-Info header")]
    MalformedDekInfo,
    /// The private key is encrypted with an unknown algorithm.
    #[error("x509: unknown encryption mode '{0}'")]
    UnknownEncryption(String),
    /// Part of the encrypted private key is missing.
    #[error("x509: encrypted private key is not a multiple of the block size")]
    PartialBlock,
    /// No initialization vector.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The certificates of a file that must hold nothing else, in their order.
///
/// Text may precede a block, white space may follow the last.
///
/// # Errors
///
/// [`PemError`] if there is no certificate, another block, or text behind the last one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let mut certificates = Vec::new();
    let mut rest = pem.trim_ascii();
    while !rest.is_empty() {
        let (mut block, behind) = block::next(rest).ok_or(PemError::NoPem)?;
        if block.label != CERTIFICATE {
            return Err(PemError::UnsupportedBlock);
        }
        certificates.push(CertificateDer::from(std::mem::take(&mut *block.der)));
        rest = behind.trim_ascii();
    }
    if certificates.is_empty() {
        return Err(PemError::NoPem);
    }
    Ok(certificates)
}

/// The first private key of a file, decrypted with `password` if it is encrypted.
///
/// Its kind (PKCS#8, PKCS#1, SEC 1) follows from its content, not from the label. Certificates may
/// precede it, other blocks may not. The caller wipes the key when done with it.
///
/// # Errors
///
/// [`PemError`] if there is no such key or it cannot be decrypted.
pub fn private_key(pem: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, PemError> {
    let block = private_key_block(pem)?;
    let Some(dek_info) = block.header(DEK_INFO) else {
        return typed_private_key(&block.der).ok_or(if block.label == "ENCRYPTED PRIVATE KEY" {
            PemError::EncryptedPkcs8
        } else {
            PemError::UnknownPrivateKey
        });
    };
    let password = password
        .filter(|password| !password.is_empty())
        .ok_or(PemError::PasswordRequired)?;
    let decrypted = encryption::decrypt(dek_info, &block.der, password.as_bytes())?;
    typed_private_key(&decrypted).ok_or_else(|| {
        // One wrong password in 256 leaves what looks like padding, but hardly ever DER.
        match der::only(der::SEQUENCE, &decrypted) {
            Some(_) => PemError::UnknownPrivateKey,
            None => PemError::IncorrectPassword,
        }
    })
}

/// Whether the private key that [`private_key`] would read needs a password.
pub fn is_encrypted(pem: &[u8]) -> bool {
    private_key_block(pem).is_ok_and(|block| block.header(DEK_INFO).is_some())
}

/// The block of the first private key of a file.
fn private_key_block(pem: &[u8]) -> Result<PemBlock, PemError> {
    let mut rest = pem.trim_ascii();
    while !rest.is_empty() {
        let (block, behind) = block::next(rest).ok_or(PemError::NoPem)?;
        if block.is_private_key() {
            return Ok(block);
        }
        if block.label != CERTIFICATE {
            return Err(PemError::UnsupportedBlock);
        }
        rest = behind.trim_ascii();
    }
    Err(PemError::NoPrivateKey)
}

/// Tells the kind of a private key by what follows its version number.
fn typed_private_key(der: &[u8]) -> Option<PrivateKeyDer<'static>> {
    let content = der::only(der::SEQUENCE, der)?;
    let (_version, rest) = der::take(der::INTEGER, content)?;
    match *rest.first()? {
        der::SEQUENCE => Some(PrivateKeyDer::Pkcs8(der.to_vec().into())),
        der::INTEGER => Some(PrivateKeyDer::Pkcs1(der.to_vec().into())),
        der::OCTET_STRING => Some(PrivateKeyDer::Sec1(der.to_vec().into())),
        _ => None,
    }
}

/// The Ed25519 key in `der`, which is PKCS#8 of version 1 or 2; `None` if it is not.
pub fn api_key_of_pkcs8(der: &[u8]) -> Option<ApiKey> {
    ApiKey::from_pkcs8_der(der)
}

/// A certificate as PEM.
pub fn encode_certificate(der: &[u8]) -> String {
    block::encode(CERTIFICATE, "", der)
}

/// A private key in PKCS#8 as PEM.
pub fn encode_private_key(pkcs8: &[u8]) -> SecretString {
    SecretString::new(block::encode(PRIVATE_KEY, "", pkcs8))
}

/// A private key in PKCS#8 as PEM, encrypted with AES-256-CBC as in RFC 1423.
///
/// This is weak against guessing, the password being hashed once only, but it is what the original
/// writes and reads.
///
/// # Errors
///
/// [`PemError::Random`] if the operating system has no random bytes.
pub fn encrypt_private_key(pkcs8: &[u8], password: &str) -> Result<SecretString, PemError> {
    let (dek_info, encrypted) = encryption::encrypt(pkcs8, password.as_bytes())?;
    let headers = format!("Proc-Type: 4,ENCRYPTED\n{DEK_INFO}: {dek_info}\n\n");
    Ok(SecretString::new(block::encode(
        PRIVATE_KEY,
        &headers,
        &encrypted,
    )))
}

/// The decrypted content of a block; not to be copied.
type Decrypted = Zeroizing<Vec<u8>>;

#[cfg(test)]
mod tests;

//! The encryption of private keys in PEM blocks (RFC 1423): CBC under a key that is the MD5 of the
//! password. Obsolete, and still what operators have on disk.
//!
//! There is no authentication: that a password is wrong shows in the padding, most of the time.

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt};
use cbc::cipher::{KeyInit, KeyIvInit};
use des::{Des, TdesEde3};
use md5::{Digest, Md5};
use zeroize::{Zeroize, Zeroizing};

use super::{Decrypted, PemError};
use crate::crypto::random;

const SALT_BYTES: usize = 8;
const AES_BLOCK_BYTES: usize = 16;
const DES_BLOCK_BYTES: usize = 8;

/// What a private key is encrypted with.
#[derive(Clone, Copy)]
enum Algorithm {
    Des,
    DesEde3,
    Aes128,
    Aes192,
    Aes256,
}

impl Algorithm {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "DES-CBC" => Some(Self::Des),
            "DES-EDE3-CBC" => Some(Self::DesEde3),
            "AES-128-CBC" => Some(Self::Aes128),
            "AES-192-CBC" => Some(Self::Aes192),
            "AES-256-CBC" => Some(Self::Aes256),
            _ => None,
        }
    }

    fn key_bytes(self) -> usize {
        match self {
            Self::Des => 8,
            Self::Aes128 => 16,
            Self::DesEde3 | Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    fn block_bytes(self) -> usize {
        match self {
            Self::Des | Self::DesEde3 => DES_BLOCK_BYTES,
            Self::Aes128 | Self::Aes192 | Self::Aes256 => AES_BLOCK_BYTES,
        }
    }
}

/// Decrypts the content of a block with this `DEK-Info` header.
pub(super) fn decrypt(
    dek_info: &str,
    encrypted: &[u8],
    password: &[u8],
) -> Result<Decrypted, PemError> {
    let (name, iv) = dek_info.split_once(',').ok_or(PemError::MalformedDekInfo)?;
    let algorithm =
        Algorithm::parse(name).ok_or_else(|| PemError::UnknownEncryption(name.to_owned()))?;
    let iv = parse_hex(iv)
        .filter(|iv| iv.len() == algorithm.block_bytes())
        .ok_or(PemError::MalformedDekInfo)?;
    if encrypted.is_empty() || !encrypted.len().is_multiple_of(algorithm.block_bytes()) {
        return Err(PemError::PartialBlock);
    }
    let key = derive_key(password, &iv[..SALT_BYTES], algorithm.key_bytes());
    let mut data = Zeroizing::new(encrypted.to_vec());
    match algorithm {
        Algorithm::Des => decrypt_blocks::<Des>(&key, &iv, &mut data),
        Algorithm::DesEde3 => decrypt_blocks::<TdesEde3>(&key, &iv, &mut data),
        Algorithm::Aes128 => decrypt_blocks::<Aes128>(&key, &iv, &mut data),
        Algorithm::Aes192 => decrypt_blocks::<Aes192>(&key, &iv, &mut data),
        Algorithm::Aes256 => decrypt_blocks::<Aes256>(&key, &iv, &mut data),
    }?;
    let length = unpadded_length(&data, algorithm.block_bytes());
    data.truncate(length.ok_or(PemError::IncorrectPassword)?);
    Ok(data)
}

/// Encrypts with AES-256-CBC under a fresh IV: the `DEK-Info` header, and the content.
pub(super) fn encrypt(content: &[u8], password: &[u8]) -> Result<(String, Vec<u8>), PemError> {
    let iv = random::array::<AES_BLOCK_BYTES>()?;
    let key = derive_key(password, &iv[..SALT_BYTES], Algorithm::Aes256.key_bytes());
    let padding = AES_BLOCK_BYTES - content.len() % AES_BLOCK_BYTES;
    let mut data = Zeroizing::new(Vec::with_capacity(content.len() + padding));
    data.extend_from_slice(content);
    data.resize(content.len() + padding, u8::try_from(padding).unwrap_or(0));
    encrypt_blocks::<Aes256>(&key, &iv, &mut data)?;
    let iv: String = iv.iter().map(|byte| format!("{byte:02x}")).collect();
    let encrypted = std::mem::take(&mut *data);
    Ok((format!("AES-256-CBC,{iv}"), encrypted))
}

/// `EVP_BytesToKey` of OpenSSL with MD5 and one iteration: hashes of the hash before, the password
/// and the salt, until they are `length` bytes.
fn derive_key(password: &[u8], salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    let mut hash = Zeroizing::new(Vec::with_capacity(16));
    while key.len() < length {
        let mut output = Md5::new()
            .chain_update(&*hash)
            .chain_update(password)
            .chain_update(salt)
            .finalize();
        hash.clear();
        hash.extend_from_slice(&output);
        output.as_mut_slice().zeroize();
        key.extend_from_slice(&hash);
    }
    key.truncate(length);
    key
}

fn decrypt_blocks<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    iv: &[u8],
    data: &mut [u8],
) -> Result<(), PemError> {
    let mut mode =
        cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| PemError::MalformedDekInfo)?;
    for block in data.chunks_exact_mut(iv.len()) {
        let block = block.try_into().map_err(|_| PemError::PartialBlock)?;
        mode.decrypt_block(block);
    }
    Ok(())
}

fn encrypt_blocks<C: BlockCipherEncrypt + KeyInit>(
    key: &[u8],
    iv: &[u8],
    data: &mut [u8],
) -> Result<(), PemError> {
    let mut mode =
        cbc::Encryptor::<C>::new_from_slices(key, iv).map_err(|_| PemError::MalformedDekInfo)?;
    for block in data.chunks_exact_mut(iv.len()) {
        let block = block.try_into().map_err(|_| PemError::PartialBlock)?;
        mode.encrypt_block(block);
    }
    Ok(())
}

/// Length without padding, of which each byte is the number of its bytes; `None` if it is not so.
fn unpadded_length(data: &[u8], block_bytes: usize) -> Option<usize> {
    let last = *data.last()?;
    let padding = usize::from(last);
    if padding == 0 || padding > block_bytes {
        return None;
    }
    let (content, padding) = data.split_at_checked(data.len().checked_sub(padding)?)?;
    padding
        .iter()
        .all(|byte| *byte == last)
        .then_some(content.len())
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok())
        .collect()
}

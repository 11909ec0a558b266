//! Ciphertexts of former versions: MessagePack (2022 to 2024) and JSON (2020 to 2022). Read only.
//!
//! Their first byte tells them apart, but a current ciphertext may begin with the same one: what
//! does not parse is not refused here, it is simply no legacy ciphertext.

use std::borrow::Cow;

use super::cipher::{Cipher, IV_BYTES, NONCE_BYTES, RANDOM_BYTES};
use super::json;
use crate::base::base64;

/// First byte of a MessagePack array of five.
const ARRAY_OF_FIVE: u8 = 0x95;

/// The parts of a legacy ciphertext.
pub(super) struct LegacyCiphertext<'a> {
    /// The algorithm that the ciphertext names.
    pub(super) cipher: Cipher,
    /// The iv, then the nonce.
    pub(super) random: [u8; RANDOM_BYTES],
    /// The sealed plaintext, then the tag.
    pub(super) sealed: Cow<'a, [u8]>,
}

impl<'a> LegacyCiphertext<'a> {
    fn new(cipher: Cipher, iv: &[u8], nonce: &[u8], sealed: Cow<'a, [u8]>) -> Option<Self> {
        let iv: &[u8; IV_BYTES] = iv.try_into().ok()?;
        let nonce: &[u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let mut random = [0; RANDOM_BYTES];
        random[..IV_BYTES].copy_from_slice(iv);
        random[IV_BYTES..].copy_from_slice(nonce);
        Some(Self {
            cipher,
            random,
            sealed,
        })
    }
}

/// Parses a legacy ciphertext; `None` if it is none.
pub(super) fn parse(ciphertext: &[u8]) -> Option<LegacyCiphertext<'_>> {
    match ciphertext.split_first()? {
        (&ARRAY_OF_FIVE, elements) => parse_message_pack(elements),
        (b'{', _) => parse_json(ciphertext),
        _ => None,
    }
}

/// Parses algorithm, key id, iv, nonce and sealed bytes. The key id is not compared.
fn parse_message_pack(elements: &[u8]) -> Option<LegacyCiphertext<'_>> {
    let mut elements = MessagePack(elements);
    let cipher = Cipher::parse(std::str::from_utf8(elements.text()?).ok()?)?;
    elements.text()?;
    let iv = elements.binary()?;
    let nonce = elements.binary()?;
    let sealed = elements.binary()?;
    if !elements.0.is_empty() {
        return None;
    }
    LegacyCiphertext::new(cipher, iv, nonce, sealed.into())
}

fn parse_json(ciphertext: &[u8]) -> Option<LegacyCiphertext<'_>> {
    let [aead, iv, nonce, sealed] =
        json::string_members(ciphertext, ["aead", "iv", "nonce", "bytes"]).ok()?;
    let cipher = match aead?.as_str() {
        "AES-256-GCM-HMAC-SHA-256" => Cipher::Aes256,
        "ChaCha20Poly1305" => Cipher::ChaCha20,
        _ => return None,
    };
    let iv = base64::decode(iv?.as_bytes()).ok()?;
    let nonce = base64::decode(nonce?.as_bytes()).ok()?;
    let sealed = base64::decode(sealed?.as_bytes()).ok()?;
    LegacyCiphertext::new(cipher, &iv, &nonce, sealed.into())
}

/// The rest of a MessagePack document.
struct MessagePack<'a>(&'a [u8]);

impl<'a> MessagePack<'a> {
    /// Takes a string: fixstr, str 8, str 16 or str 32.
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = match self.byte()? {
            marker @ 0xa0..=0xbf => u32::from(marker & 0x1f),
            0xd9 => self.length::<1>()?,
            0xda => self.length::<2>()?,
            0xdb => self.length::<4>()?,
            _ => return None,
        };
        self.take(length)
    }

    /// Takes bytes: bin 8, bin 16 or bin 32.
    fn binary(&mut self) -> Option<&'a [u8]> {
        let length = match self.byte()? {
            0xc4 => self.length::<1>()?,
            0xc5 => self.length::<2>()?,
            0xc6 => self.length::<4>()?,
            _ => return None,
        };
        self.take(length)
    }

    fn byte(&mut self) -> Option<u8> {
        self.length::<1>().and_then(|byte| byte.try_into().ok())
    }

    /// Takes a big-endian number of `N` bytes, at most four.
    fn length<const N: usize>(&mut self) -> Option<u32> {
        let (digits, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(
            digits
                .iter()
                .fold(0, |number, digit| number << 8 | u32::from(*digit)),
        )
    }

    fn take(&mut self, length: u32) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length.try_into().ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}

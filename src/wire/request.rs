//! The bodies of requests: parsers for the server, writers for the client.
//!
//! The parsers must accept exactly what Go's decoder accepts (`object.rs` says what), neither more nor
//! less: an empty body in particular is an error, because a well-known client bug sends one instead of
//! the context it means.

use serde::de::MapAccess;

use super::object::{self, Members, is};
use super::response;
use crate::base::secret::SecretBytes;

/// The body is not the JSON that the route expects.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid request body")]
pub struct InvalidBody;

/// The body of `/v1/key/import/`.
#[derive(Default)]
pub struct ImportRequest {
    /// The key, of whatever length the client sent. Also read from `bytes`, its name until 2023.
    pub key: SecretBytes,
    /// The name of the cipher as sent; empty if there was none. Also read from `algorithm`.
    pub cipher: String,
    /// Whether the body has the members of 2023 and before, `bytes` or `algorithm`. There, a missing
    /// cipher means AES-256.
    pub is_legacy: bool,
    has_key: bool,
    has_cipher: bool,
}

/// The body of `/v1/key/encrypt/`.
#[derive(Default)]
pub struct EncryptRequest {
    /// What to encrypt; may be empty.
    pub plaintext: SecretBytes,
    /// Bound to the ciphertext but not part of it.
    pub context: Vec<u8>,
}

/// The body of `/v1/key/generate/`.
#[derive(Default)]
pub struct GenerateRequest {
    /// Bound to the ciphertext but not part of it.
    pub context: Vec<u8>,
}

/// The body of `/v1/key/decrypt/`.
#[derive(Default)]
pub struct DecryptRequest {
    /// What to decrypt.
    pub ciphertext: Vec<u8>,
    /// The context it was encrypted with.
    pub context: Vec<u8>,
}

/// The body of `/v1/key/hmac/`.
#[derive(Default)]
pub struct HmacRequest {
    /// What to authenticate.
    pub message: Vec<u8>,
}

macro_rules! parser {
    ($(#[$doc:meta])* $name:ident -> $request:ty) => {
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// [`InvalidBody`] if it is empty, not JSON, or a member has a value of the wrong type.
        pub fn $name(body: &[u8]) -> Result<$request, InvalidBody> {
            object::parse(body).map_err(|_| InvalidBody)
        }
    };
}

parser!(
    /// Parses the body of an import.
    parse_import -> ImportRequest
);
parser!(
    /// Parses the body of an encryption. Hot path.
    parse_encrypt -> EncryptRequest
);
parser!(
    /// Parses the body of a data key generation. Whether there is a body to parse at all is the caller's
    /// decision. Hot path.
    parse_generate -> GenerateRequest
);
parser!(
    /// Parses the body of a decryption. Hot path.
    parse_decrypt -> DecryptRequest
);
parser!(
    /// Parses the body of an HMAC computation. Hot path.
    parse_hmac -> HmacRequest
);

/// Writes the body of an import.
pub fn import(key: &[u8], cipher: &str) -> Vec<u8> {
    // The cipher is escaped on its own, so that the key is written by the one writer for secrets.
    let cipher = super::go_json::string(cipher);
    let mut body = response::members_of_bytes(&[("key", key)], cipher.len() + 10);
    body.truncate(body.len() - 2);
    body.extend_from_slice(b",\"cipher\":");
    body.extend_from_slice(cipher.as_bytes());
    body.extend_from_slice(b"}\n");
    body
}

/// Writes the body of an encryption.
pub fn encrypt(plaintext: &[u8], context: &[u8]) -> Vec<u8> {
    with_context(("plaintext", plaintext), context)
}

/// Writes the body of a data key generation.
pub fn generate(context: &[u8]) -> Vec<u8> {
    match context {
        [] => b"{}\n".to_vec(),
        _ => response::members_of_bytes(&[("context", context)], 0),
    }
}

/// Writes the body of a decryption.
pub fn decrypt(ciphertext: &[u8], context: &[u8]) -> Vec<u8> {
    with_context(("ciphertext", ciphertext), context)
}

/// Writes the body of an HMAC computation.
pub fn hmac(message: &[u8]) -> Vec<u8> {
    response::members_of_bytes(&[("message", message)], 0)
}

fn with_context(member: (&str, &[u8]), context: &[u8]) -> Vec<u8> {
    match context {
        [] => response::members_of_bytes(&[member], 0),
        _ => response::members_of_bytes(&[member, ("context", context)], 0),
    }
}

impl<'de> Members<'de> for ImportRequest {
    fn read<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        // Today's names win over the older ones, whatever their order.
        if is(name, "key") {
            self.key = object::secret(map)?;
            (self.has_key, self.is_legacy) = (true, false);
        } else if is(name, "cipher") {
            self.cipher = object::text(map)?;
            self.has_cipher = true;
        } else if is(name, "bytes") && !self.has_key {
            self.key = object::secret(map)?;
            self.is_legacy = true;
        } else if is(name, "algorithm") && !self.has_cipher {
            self.cipher = object::text(map)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl<'de> Members<'de> for EncryptRequest {
    fn read<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        if is(name, "plaintext") {
            self.plaintext = object::secret(map)?;
        } else if is(name, "context") {
            self.context = object::bytes(map)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl<'de> Members<'de> for GenerateRequest {
    fn read<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        let known = is(name, "context");
        if known {
            self.context = object::bytes(map)?;
        }
        Ok(known)
    }
}

impl<'de> Members<'de> for DecryptRequest {
    fn read<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        if is(name, "ciphertext") {
            self.ciphertext = object::bytes(map)?;
        } else if is(name, "context") {
            self.context = object::bytes(map)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

impl<'de> Members<'de> for HmacRequest {
    fn read<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        let known = is(name, "message");
        if known {
            self.message = object::bytes(map)?;
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests;

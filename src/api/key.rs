//! Handlers of `/v1/key/`.
//!
//! Hot path: encrypt, decrypt, generate and HMAC with a cached key ask no actor and wait for nothing.

use bytes::Bytes;

use super::audited::audited;
use super::context::Api;
use super::dispatch::{Admitted, Body};
use super::error::{ApiError, Verb};
use super::reply::Reply;
use crate::base::clock::Timestamp;
use crate::base::limits::{INLINE_BODY_BYTES_MAX, LIST_RESPONSE_BYTES_MAX};
use crate::base::name::{KeyName, ListPattern};
use crate::base::secret::{Key256, SecretBytes};
use crate::crypto::cipher::{Cipher, RANDOM_BYTES};
use crate::crypto::key_version::KeyVersion;
use crate::crypto::random;
use crate::keystore::StoreError;
use crate::wire;

/// Length of a data key.
const DATA_KEY_BYTES: usize = 32;

/// Names asked of the keystore at once while a listing is put together.
const LIST_PAGE: usize = 4096;

pub(super) async fn encrypt(
    api: &Api,
    request: &Admitted<'_>,
    body: Body,
) -> Result<Reply, ApiError> {
    let name = key_name(request)?;
    let parse = |body: &[u8]| wire::request::parse_encrypt(body).map_err(|_| ApiError::InvalidBody);
    with_key(api, name, complete(body)?, parse, |key, request| {
        let random = random::array::<RANDOM_BYTES>().map_err(|_| ApiError::EncryptFailed)?;
        let ciphertext = key
            .key
            .seal(&random, request.plaintext.expose(), &request.context)
            .map_err(|_| ApiError::EncryptFailed)?;
        Ok(Reply::json(wire::response::ciphertext(&ciphertext)))
    })
    .await
}

pub(super) async fn decrypt(
    api: &Api,
    request: &Admitted<'_>,
    body: Body,
) -> Result<Reply, ApiError> {
    let name = key_name(request)?;
    let parse = |body: &[u8]| wire::request::parse_decrypt(body).map_err(|_| ApiError::InvalidBody);
    with_key(api, name, complete(body)?, parse, |key, request| {
        let plaintext = key
            .key
            .open(&request.ciphertext, &request.context)
            .map_err(|_| ApiError::NotAuthentic)?;
        Ok(Reply::secret_json(SecretBytes::new(
            wire::response::plaintext(plaintext.expose()),
        )))
    })
    .await
}

pub(super) async fn generate(
    api: &Api,
    request: &Admitted<'_>,
    body: Body,
) -> Result<Reply, ApiError> {
    let name = key_name(request)?;
    // A body of unknown length must be there: a client that fails over sends an empty one by
    // mistake, and must not get a data key that is bound to the wrong context.
    let parse: fn(&[u8]) -> Result<Vec<u8>, ApiError> = match request.body_bytes {
        Some(0) => |_| Ok(Vec::new()),
        _ => |body| match wire::request::parse_generate(body) {
            Ok(request) => Ok(request.context),
            Err(_) => Err(ApiError::InvalidBody),
        },
    };
    with_key(api, name, complete(body)?, parse, |key, context| {
        let mut random = random::array::<{ DATA_KEY_BYTES + RANDOM_BYTES }>()
            .map_err(|_| ApiError::GenerateFailed)?;
        let (data_key, seal_random) = random
            .split_first_chunk::<DATA_KEY_BYTES>()
            .ok_or(ApiError::GenerateFailed)?;
        let seal_random = seal_random
            .first_chunk::<RANDOM_BYTES>()
            .ok_or(ApiError::GenerateFailed)?;
        let ciphertext = key
            .key
            .seal(seal_random, data_key, context)
            .map_err(|_| ApiError::GenerateFailed)?;
        let reply = wire::response::data_key(data_key, &ciphertext);
        zeroize::Zeroize::zeroize(&mut random);
        Ok(Reply::secret_json(SecretBytes::new(reply)))
    })
    .await
}

pub(super) async fn hmac(api: &Api, request: &Admitted<'_>, body: Body) -> Result<Reply, ApiError> {
    let name = key_name(request)?;
    let parse = |body: &[u8]| wire::request::parse_hmac(body).map_err(|_| ApiError::InvalidBody);
    with_key(api, name, complete(body)?, parse, |key, request| {
        let hmac = key.hmac.as_ref().ok_or(ApiError::NoHmacKey)?;
        let sum = hmac.sum(&request.message);
        Ok(Reply::secret_json(SecretBytes::new(wire::response::hmac(
            &sum,
        ))))
    })
    .await
}

pub(super) async fn describe(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let name = key_name(request)?;
    let describe = |key: &KeyVersion| wire::key::KeyDescription {
        id: String::new(),
        name: name.as_str().to_owned(),
        algorithm: key.key.cipher().as_str().to_owned(),
        created_at: key.created_at.to_rfc3339(),
        created_by: key.created_by.clone(),
    };
    let described = match api.cache.with_cached(name, describe) {
        Some(described) => described,
        None => describe(api.cache.load(name).await?.key()),
    };
    Ok(Reply::json(wire::go_json::to_go_json(&described)))
}

pub(super) async fn create(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let name = key_name(request)?;
    let key = KeyVersion::generate(
        Cipher::preferred(),
        Timestamp::now(),
        request.identity.as_str(),
    )
    .map_err(|_| ApiError::CreateFailed)?;
    store(api, request, name, &key).await
}

pub(super) async fn import(
    api: &Api,
    request: &Admitted<'_>,
    body: Body,
) -> Result<Reply, ApiError> {
    let name = key_name(request)?;
    let Body::Complete(body) = body else {
        return Err(ApiError::InvalidImportBody);
    };
    let mut parsed = wire::request::parse_import(&body).map_err(|_| ApiError::InvalidImportBody)?;
    if parsed.is_legacy && parsed.cipher.is_empty() {
        Cipher::Aes256.as_str().clone_into(&mut parsed.cipher);
    }
    let Some(cipher) = Cipher::parse(&parsed.cipher) else {
        return Err(ApiError::UnsupportedAlgorithm(parsed.cipher));
    };
    let Some(key) = Key256::from_slice(parsed.key.expose()) else {
        return Err(ApiError::InvalidKeySize(parsed.cipher));
    };
    let key = KeyVersion::import(cipher, key, Timestamp::now(), request.identity.as_str())
        .map_err(|_| ApiError::CreateFailed)?;
    store(api, request, name, &key).await
}

/// Stores a new key and leaves the audit record.
async fn store(
    api: &Api,
    request: &Admitted<'_>,
    name: KeyName<'_>,
    key: &KeyVersion,
) -> Result<Reply, ApiError> {
    let value = key.encode().map_err(|_| ApiError::CreateFailed)?;
    let (cache, key) = (api.cache.clone(), name.as_str().to_owned());
    let create = async move {
        let created = match KeyName::parse(&key) {
            Some(name) => cache.create(name, value).await,
            None => Err(StoreError::InvalidName { store: "kes" }),
        };
        created.map_err(|error| ApiError::store(Verb::Create, error))
    };
    let message = format!("secret key '{name}' created");
    audited(api, request, message, create).await
}

pub(super) async fn delete(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let name = key_name(request)?;
    let (cache, key) = (api.cache.clone(), name.as_str().to_owned());
    let delete = async move {
        let deleted = match KeyName::parse(&key) {
            Some(name) => cache.delete(name).await,
            None => Err(StoreError::InvalidName { store: "kes" }),
        };
        deleted.map_err(|error| ApiError::store(Verb::Delete, error))
    };
    let message = format!("secret key '{name}' deleted");
    audited(api, request, message, delete).await
}

pub(super) async fn list(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let pattern = ListPattern::parse(request.resource())
        .ok_or_else(|| ApiError::InvalidPattern(request.resource().to_owned()))?;
    let mut names: Vec<String> = Vec::new();
    let mut bytes = 0;
    let mut start = pattern.start();
    loop {
        let page = api
            .gateway
            .list(pattern.prefix, start.as_deref(), LIST_PAGE)
            .await
            .map_err(|error| ApiError::store(Verb::List, error))?;
        for name in page.names {
            bytes += name.len() + 3; // quotes and comma
            if bytes > LIST_RESPONSE_BYTES_MAX {
                return Ok(listing(names, pattern.token(&name)));
            }
            names.push(name);
        }
        match page.next {
            Some(next) => start = Some(next),
            None => return Ok(listing(names, String::new())),
        }
    }
}

fn listing(names: Vec<String>, continue_at: String) -> Reply {
    Reply::json(wire::go_json::to_go_json(&wire::key::KeyList {
        names,
        continue_at,
    }))
}

fn key_name<'a>(request: &'a Admitted<'_>) -> Result<KeyName<'a>, ApiError> {
    let resource = request.resource();
    KeyName::parse(resource).ok_or_else(|| ApiError::InvalidKeyName(resource.to_owned()))
}

pub(super) fn complete(body: Body) -> Result<Bytes, ApiError> {
    match body {
        Body::Complete(body) => Ok(body),
        Body::TooLarge | Body::TimedOut | Body::Overloaded => Err(ApiError::InvalidBody),
    }
}

/// Parses the body, then runs `work` with it and the key of that name: here and at once if the key
/// is cached, on the blocking pool if the body is large.
async fn with_key<P: Send + 'static, R: Send + 'static>(
    api: &Api,
    name: KeyName<'_>,
    body: Bytes,
    parse: fn(&[u8]) -> Result<P, ApiError>,
    work: fn(&KeyVersion, &P) -> Result<R, ApiError>,
) -> Result<R, ApiError> {
    if body.len() <= INLINE_BODY_BYTES_MAX {
        let parsed = parse(&body)?;
        if let Some(result) = api.cache.with_cached(name, |key| work(key, &parsed)) {
            return result;
        }
        let key = api.cache.load(name).await?;
        return work(key.key(), &parsed);
    }
    let parsed = on_blocking_pool(move || parse(&body)).await?;
    let key = api.cache.load(name).await?;
    on_blocking_pool(move || work(key.key(), &parsed)).await
}

/// Runs what takes too long for a connection's thread.
pub(super) async fn on_blocking_pool<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ApiError::Overloaded)?
}

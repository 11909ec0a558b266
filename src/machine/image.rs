//! A whole state as a stream of bytes: what a snapshot and a backup hold. Equal states give equal
//! bytes, so replicas can compare theirs.
//!
//! ```text
//! magic "kes-imag" ‖ version (1) ‖ number of records of each kind, in the order of the kinds (8 each)
//! ‖ records in ascending order of their ids: id length (1) ‖ value length (4) ‖ id ‖ value
//! ‖ SHA-256 of all before
//! ```
//!
//! Integers are big endian. The digest tells damage, not forgery: authenticity is a matter of the
//! channel or of the backup around it.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::codec::CodecError;
use super::record::{Digest32, RecordId, RecordKind};
use super::state::State;
use crate::base::limits::{
    CLUSTER_ANSWERS_MAX, CLUSTER_IDENTITIES_MAX, CLUSTER_KEYS_MAX, CLUSTER_POLICIES_MAX,
    CLUSTER_RESERVATIONS_MAX, RECORD_BYTES_MAX,
};

const MAGIC: [u8; 8] = *b"kes-imag";

/// The only version there is.
const VERSION: u8 = 1;

/// Bytes before the id of a record.
const PREFIX_BYTES: usize = 5;

/// An image cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Reading or writing failed.
    #[error("the image cannot be read or written: {0}")]
    Io(#[source] io::Error),
    /// The image ends early.
    #[error("the image is incomplete")]
    Truncated,
    /// It is something else.
    #[error("not an image of a cluster's state")]
    NotAnImage,
    /// Written by another, most likely a newer, version of this program.
    #[error("image in version {0}, but this program knows only version {VERSION}")]
    UnknownVersion(u8),
    /// More records than a state may have, or larger ones.
    #[error("the image is larger than a state can be")]
    TooLarge,
    /// Records are not in their order.
    #[error("the records of the image are out of order")]
    OutOfOrder,
    /// A record is damaged.
    #[error("a record of the image is invalid: {0}")]
    Record(#[source] CodecError),
    /// The digest is another.
    #[error("the image is damaged: its digest does not match")]
    Damaged,
    /// There is more after the end.
    #[error("something follows the image")]
    TrailingBytes,
}

impl From<io::Error> for ImageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Io(error),
        }
    }
}

/// Writes the image of `state` and returns the digest it ends with. Makes many small writes.
///
/// # Errors
///
/// [`ImageError::Io`] if `writer` fails.
pub fn write<W: Write>(state: &State, writer: &mut W) -> Result<Digest32, ImageError> {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update(bytes);
        writer.write_all(bytes)
    };
    put(&MAGIC)?;
    put(&[VERSION])?;
    for count in counts(state) {
        put(&count.to_be_bytes())?;
    }
    for (id, value) in state.records() {
        put(&prefix(&id, &value))?;
        put(&value)?;
    }
    let digest: Digest32 = hash.finalize().into();
    writer.write_all(&digest)?;
    Ok(digest)
}

/// Reads an image, which need not be trusted, up to its end. Makes many small reads.
///
/// # Errors
///
/// [`ImageError`] unless `reader` holds exactly one undamaged image.
pub fn read<R: Read>(reader: &mut R) -> Result<State, ImageError> {
    let mut input = Input {
        reader,
        hash: Sha256::new(),
    };
    if input.array()? != MAGIC {
        return Err(ImageError::NotAnImage);
    }
    match input.array()? {
        [VERSION] => {}
        [version] => return Err(ImageError::UnknownVersion(version)),
    }
    let state = read_records(&mut input)?;
    let digest: Digest32 = input.hash.clone().finalize().into();
    if input.array()? != digest {
        return Err(ImageError::Damaged);
    }
    match io::copy(&mut input.reader.take(1), &mut io::sink())? {
        0 => Ok(state),
        _ => Err(ImageError::TrailingBytes),
    }
}

/// What stands before the value of a record; also what the digest of a state is made of.
pub(super) fn prefix(id: &RecordId, value: &[u8]) -> Vec<u8> {
    let id = id.to_bytes();
    // Neither is ever cut: a state takes only valid names, and records of RECORD_BYTES_MAX.
    let id_bytes = u8::try_from(id.len()).unwrap_or(u8::MAX);
    let value_bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
    let mut prefix = Vec::with_capacity(PREFIX_BYTES + id.len());
    prefix.push(id_bytes);
    prefix.extend_from_slice(&value_bytes.to_be_bytes());
    prefix.extend_from_slice(&id);
    prefix
}

fn counts(state: &State) -> [u64; RecordKind::ALL.len()] {
    let counts = state.counts();
    RecordKind::ALL.map(|kind| match kind {
        RecordKind::Header => u64::from(state.has_header()),
        RecordKind::Policy => counts.policies as u64,
        RecordKind::Identity => counts.identities as u64,
        RecordKind::Key => counts.keys as u64,
        RecordKind::Reservation => counts.reservations as u64,
        RecordKind::Answer => state.answers.size() as u64,
    })
}

fn count_max(kind: RecordKind) -> u64 {
    match kind {
        RecordKind::Header => 1,
        RecordKind::Policy => CLUSTER_POLICIES_MAX as u64,
        RecordKind::Identity => CLUSTER_IDENTITIES_MAX as u64,
        RecordKind::Key => CLUSTER_KEYS_MAX as u64,
        RecordKind::Reservation => CLUSTER_RESERVATIONS_MAX as u64,
        RecordKind::Answer => CLUSTER_ANSWERS_MAX as u64,
    }
}

/// What is read goes into the digest.
struct Input<'a, R> {
    reader: &'a mut R,
    hash: Sha256,
}

impl<R: Read> Input<'_, R> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.hash.update(bytes);
        Ok(bytes)
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, ImageError> {
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        self.hash.update(&bytes);
        Ok(bytes)
    }
}

fn read_records<R: Read>(input: &mut Input<'_, R>) -> Result<State, ImageError> {
    let mut counts = [0; RecordKind::ALL.len()];
    for (count, kind) in counts.iter_mut().zip(RecordKind::ALL) {
        *count = u64::from_be_bytes(input.array()?);
        if *count > count_max(kind) {
            return Err(ImageError::TooLarge);
        }
    }
    let mut state = State::default();
    let mut last = None;
    for (count, kind) in counts.into_iter().zip(RecordKind::ALL) {
        for _ in 0..count {
            let id = read_record(input, &mut state)?;
            let in_order = last.as_ref().is_none_or(|last| *last < id);
            if !in_order || id.kind != kind {
                return Err(ImageError::OutOfOrder);
            }
            last = Some(id);
        }
    }
    Ok(state)
}

fn read_record<R: Read>(
    input: &mut Input<'_, R>,
    state: &mut State,
) -> Result<RecordId, ImageError> {
    let [id_bytes] = input.array()?;
    let value_bytes = u32::from_be_bytes(input.array()?);
    let value_bytes = usize::try_from(value_bytes).unwrap_or(usize::MAX);
    if value_bytes > RECORD_BYTES_MAX {
        return Err(ImageError::TooLarge);
    }
    let id = input.bytes(usize::from(id_bytes))?;
    let value = input.bytes(value_bytes)?;
    state.load(&id, &value).map_err(ImageError::Record)
}

#[cfg(test)]
mod tests;

//! Tests of backups: what was not written as a whole is not read as a whole.

use proptest::prelude::*;

use super::*;
use crate::crypto::at_rest::RootKey;
use crate::crypto::vectors::{self, Vector as _};

const CLUSTER: ClusterId = ClusterId([7; 16]);
const RANDOM: [u8; BACKUP_RANDOM_BYTES] = [9; BACKUP_RANDOM_BYTES];
const SEALED_CHUNK: usize = CHUNK_BYTES + TAG_BYTES;

fn sealer(root: u8, cluster_id: ClusterId, epoch: Epoch) -> Sealer {
    Sealer::new(
        &RootKey::from_bytes(Key256::new([root; 32])),
        cluster_id,
        epoch,
    )
}

fn ours() -> Sealer {
    sealer(1, CLUSTER, 3)
}

fn seal(plaintext: &[u8]) -> Vec<u8> {
    let mut writer = ours().seal_backup(Vec::new(), &RANDOM).expect("a header");
    writer.write_all(plaintext).expect("chunks");
    writer.flush().expect("memory");
    writer.finish().expect("the last chunk")
}

fn open_with(sealer: &Sealer, mut backup: &[u8]) -> Result<Vec<u8>, BackupError> {
    let header = BackupHeader::read(&mut backup)?;
    let mut reader = sealer.open_backup(&header, backup)?;
    let mut plaintext = Vec::new();
    match reader.read_to_end(&mut plaintext) {
        Ok(_) => Ok(plaintext),
        Err(error) => {
            // It does not go on after that.
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(reader.read(&mut [0]).is_err());
            Err(BackupError::NotAuthentic)
        }
    }
}

fn open(backup: &[u8]) -> Result<Vec<u8>, BackupError> {
    open_with(&ours(), backup)
}

/// Bytes that tell their chunk.
fn plaintext(length: usize) -> Vec<u8> {
    let number = |at: usize| u8::try_from(at / CHUNK_BYTES + at % 251 % 7).expect("small");
    (0..length).map(number).collect()
}

/// The bytes were computed by another program (Python's `hmac`, and AES-GCM of OpenSSL) from the
/// description in this module.
#[test]
fn the_format_does_not_change() {
    for vector in vectors::load(include_str!("../../testdata/backups.json")) {
        let plaintext = vector.hex("plaintext");
        assert_eq!(seal(&plaintext), vector.hex("backup"));
        assert_eq!(open(&vector.hex("backup")).expect("opened"), plaintext);
    }
}

#[test]
fn backups_of_any_length_are_read_as_written() {
    for length in [
        0,
        1,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        3 * CHUNK_BYTES,
        3 * CHUNK_BYTES + 77,
    ] {
        let backup = seal(&plaintext(length));
        let chunks = length.div_ceil(CHUNK_BYTES).max(1);
        assert_eq!(backup.len(), HEADER_BYTES + length + chunks * TAG_BYTES);
        assert!(
            open(&backup).expect("opened") == plaintext(length),
            "{length}"
        );
    }
}

#[test]
fn another_root_key_does_not_open_it() {
    let backup = seal(b"secret");
    for other in [
        sealer(2, CLUSTER, 3),
        sealer(1, ClusterId([8; 16]), 3),
        sealer(1, CLUSTER, 4),
    ] {
        let opened = open_with(&other, &backup);
        assert!(matches!(opened, Err(BackupError::OtherRootKey)));
        // Not either if the header is made to say so.
        let mut forged = other
            .chunks(&BackupHeader {
                root_key_id: other.root_key_id(),
                epoch: other.epoch(),
                cluster_id: other.cluster_id(),
                random: RANDOM,
            })
            .header;
        forged.extend_from_slice(&backup[HEADER_BYTES..]);
        let opened = open_with(&other, &forged);
        assert!(matches!(opened, Err(BackupError::NotAuthentic)));
    }
}

#[test]
fn every_changed_or_missing_byte_of_a_small_one_is_noticed() {
    let backup = seal(b"secret");
    for at in 0..backup.len() {
        assert!(open(&backup[..at]).is_err(), "cut at {at}");
        let mut changed = backup.clone();
        changed[at] ^= 1;
        assert!(open(&changed).is_err(), "byte {at}");
    }
    assert!(open(&[&backup[..], &[0]].concat()).is_err());
    assert!(open(&[&backup[..], &backup[..]].concat()).is_err());
}

#[test]
fn chunks_cannot_be_cut_changed_or_moved() {
    let backup = seal(&plaintext(3 * CHUNK_BYTES + 77));
    let (header, chunks) = backup.split_at(HEADER_BYTES);
    let chunks: Vec<&[u8]> = chunks.chunks(SEALED_CHUNK).collect();
    let refused = |order: &[usize]| {
        let mut other = header.to_vec();
        order
            .iter()
            .for_each(|&chunk| other.extend_from_slice(chunks[chunk]));
        matches!(open(&other), Err(BackupError::NotAuthentic))
    };
    assert!(!refused(&[0, 1, 2, 3]));
    for order in [
        &[][..],
        &[0],
        &[0, 1],
        &[0, 1, 2],
        &[1, 2, 3],
        &[0, 2, 3],
        &[0, 1, 3],
        &[3],
        &[1, 0, 2, 3],
        &[0, 2, 1, 3],
        &[0, 0, 1, 2, 3],
        &[0, 1, 2, 3, 3],
        &[0, 1, 2, 2],
    ] {
        assert!(refused(order), "{order:?}");
    }
    for (number, chunk) in chunks.iter().enumerate() {
        let start = HEADER_BYTES + number * SEALED_CHUNK;
        for at in [start, start + 20, start + chunk.len() - 1] {
            let mut changed = backup.clone();
            changed[at] ^= 0x80;
            assert!(open(&changed).is_err(), "byte {at}");
            assert!(open(&backup[..at]).is_err(), "cut at {at}");
        }
    }
}

/// Chunks of another backup under the same root key do not fit either.
#[test]
fn chunks_of_two_backups_do_not_mix() {
    let first = seal(b"secret");
    let mut random = RANDOM;
    random[0] ^= 1;
    let mut writer = ours().seal_backup(Vec::new(), &random).expect("a header");
    writer.write_all(b"secret").expect("memory");
    let second = writer.finish().expect("the last chunk");
    let mixed = [&first[..HEADER_BYTES], &second[HEADER_BYTES..]].concat();
    assert!(matches!(open(&mixed), Err(BackupError::NotAuthentic)));
}

/// An output that takes some bytes, fails once, and then would take more.
struct Failing(usize);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(bytes.len()) {
            Some(left) => self.0 = left,
            None => {
                self.0 = usize::MAX;
                return Err(io::Error::other("the disk is full"));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_follows_a_failed_chunk() {
    assert!(ours().seal_backup(Failing(0), &RANDOM).is_err());
    let mut writer = ours()
        .seal_backup(Failing(HEADER_BYTES), &RANDOM)
        .expect("a header");
    assert!(writer.write_all(&plaintext(CHUNK_BYTES + 1)).is_err());
    let later = writer.write_all(&plaintext(CHUNK_BYTES + 1));
    assert!(later.is_err());
    assert!(writer.finish().is_err());
}

#[test]
fn what_is_no_backup_is_named() {
    let error = |bytes: &[u8]| open(bytes).expect_err("an error").to_string();
    assert_eq!(error(b""), "not a backup of a cluster");
    assert_eq!(error(b"kes-imag\x01"), "not a backup of a cluster");
    assert_eq!(
        error(b"kes-bkup\x02"),
        "backup in version 2, but this program knows only version 1"
    );
}

proptest! {
    #[test]
    fn byte_soup_is_no_reason_to_panic(bytes: Vec<u8>) {
        prop_assert!(open(&bytes).is_err());
        let mut backup = seal(b"")[..HEADER_BYTES].to_vec();
        backup.extend_from_slice(&bytes);
        prop_assert!(open(&backup).is_err());
    }

    #[test]
    fn how_it_is_written_and_read_makes_no_difference(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..9),
        step in 1..50_usize,
    ) {
        let mut writer = ours().seal_backup(Vec::new(), &RANDOM).expect("a header");
        for part in &parts {
            writer.write_all(part).expect("memory");
        }
        let backup = writer.finish().expect("the last chunk");
        prop_assert_eq!(&backup, &seal(&parts.concat()));
        let mut rest = backup.as_slice();
        let header = BackupHeader::read(&mut rest).expect("a header");
        let mut reader = ours().open_backup(&header, rest).expect("the key");
        let mut opened = Vec::new();
        let mut buffer = vec![0; step];
        loop {
            match reader.read(&mut buffer).expect("a chunk") {
                0 => break,
                read => opened.extend_from_slice(&buffer[..read]),
            }
        }
        prop_assert_eq!(opened, parts.concat());
    }
}

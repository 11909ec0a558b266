//! Tests of images: every state comes back as it was, every damage is noticed.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::base::secret::Key256;
use crate::crypto::at_rest::{BACKUP_RANDOM_BYTES, BackupHeader, RootKey, Sealer};
use crate::machine::samples::{
    CLUSTER, assignment, command, founding, key, policy, proposal, proposals, reservation,
};
use crate::machine::{Op, Proposal};

fn image_of(state: &State) -> Vec<u8> {
    let mut image = Vec::new();
    let digest = write(state, &mut image).expect("an image");
    assert_eq!(image[image.len() - 32..], digest);
    image
}

fn parse(mut image: &[u8]) -> Result<State, ImageError> {
    read(&mut image)
}

/// A state with one record of each kind.
fn sample() -> State {
    let name = || "n".to_owned();
    let ops = [
        Op::PutPolicy {
            name: name(),
            policy: policy("/v1/*"),
        },
        Op::AssignIdentity {
            identity: name(),
            assignment: assignment("n"),
        },
        Op::CreateKey {
            name: name(),
            record: key(1, 2),
        },
        Op::Reserve {
            name: name(),
            reservation: reservation(1, 3),
        },
    ];
    let mut proposals = vec![founding()];
    proposals.extend((5..).zip(ops).map(|(id, op)| proposal(id, op)));
    let mut state = State::default();
    state.apply(&command(&proposals));
    state
}

/// Puts the right digest at the end of an image that was changed.
fn with_digest(mut image: Vec<u8>) -> Vec<u8> {
    image.truncate(image.len() - 32);
    let digest: Digest32 = Sha256::digest(&image).into();
    image.extend_from_slice(&digest);
    image
}

/// What is in `testdata/image.json`. The digests were computed by another program from the image.
#[derive(Deserialize)]
struct Golden {
    image: String,
    digest: String,
    content_digest: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_format_does_not_change() {
    let golden: Golden =
        serde_json::from_str(include_str!("../testdata/image.json")).expect("an image");
    let state = sample();
    assert_eq!(hex(&image_of(&state)), golden.image);
    assert_eq!(hex(&state.digest()), golden.digest);
    assert_eq!(hex(&state.content_digest()), golden.content_digest);
}

#[test]
fn every_changed_or_missing_byte_is_noticed() {
    let image = image_of(&sample());
    assert_eq!(parse(&image).expect("a state"), sample());
    for at in 0..image.len() {
        assert!(parse(&image[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut changed = image.clone();
            changed[at] ^= 1 << bit;
            assert!(parse(&changed).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn what_is_no_image_is_named() {
    let image = image_of(&sample());
    let changed = |at: usize, byte: u8| {
        let mut changed = image.clone();
        changed[at] = byte;
        parse(&with_digest(changed)).expect_err("an error")
    };
    assert!(matches!(changed(0, b'x'), ImageError::NotAnImage));
    assert!(matches!(changed(8, 2), ImageError::UnknownVersion(2)));
    // The count of headers, of keys, and the length of the header.
    assert!(matches!(changed(16, 2), ImageError::TooLarge));
    assert!(matches!(changed(33, 1), ImageError::TooLarge));
    assert!(matches!(changed(58, 1), ImageError::TooLarge));
    // The id of the header, which becomes that of something unknown.
    assert!(matches!(changed(62, 9), ImageError::Record(_)));
    assert!(matches!(parse(&image[..70]), Err(ImageError::Truncated)));
    let longer = [image.as_slice(), &[0]].concat();
    assert!(matches!(parse(&longer), Err(ImageError::TrailingBytes)));
}

/// Two policies, so that they can change places.
#[test]
fn records_out_of_order_are_refused() {
    let put = |name: &str| {
        let request_id = name.as_bytes()[0].into();
        let (name, policy) = (name.to_owned(), policy("/v1/*"));
        proposal(request_id, Op::PutPolicy { name, policy })
    };
    let mut state = State::default();
    state.apply(&command(&[founding(), put("a"), put("b")]));
    let image = image_of(&state);
    let rename = |from: &[u8], to: u8| {
        let mut changed = image.clone();
        let at = changed.windows(2).position(|bytes| bytes == from);
        changed[at.expect("the id") + 1] = to;
        parse(&with_digest(changed))
    };
    assert!(rename(b"\x02a", b'A').is_ok());
    assert!(matches!(
        rename(b"\x02a", b'c'),
        Err(ImageError::OutOfOrder)
    ));
    assert!(matches!(
        rename(b"\x02a", b'b'),
        Err(ImageError::OutOfOrder)
    ));
}

/// A disk that fails after some bytes.
struct Failing(usize);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0 {
            0 => Err(io::Error::other("the disk is full")),
            room => {
                let written = bytes.len().min(room);
                self.0 -= written;
                Ok(written)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_failing_disk_is_reported() {
    for room in [0, 8, 100, image_of(&sample()).len() - 1] {
        let written = write(&sample(), &mut Failing(room));
        assert!(matches!(written, Err(ImageError::Io(_))), "{room}");
    }
}

#[test]
fn an_image_travels_in_a_backup() {
    let root = RootKey::from_bytes(Key256::new([1; 32]));
    let sealer = Sealer::new(&root, CLUSTER, 1);
    let mut backup = sealer
        .seal_backup(Vec::new(), &[2; BACKUP_RANDOM_BYTES])
        .expect("a header");
    write(&sample(), &mut backup).expect("an image");
    let backup = backup.finish().expect("the last chunk");
    let restore = |mut backup: &[u8]| {
        let header = BackupHeader::read(&mut backup).expect("a header");
        read(&mut sealer.open_backup(&header, backup).expect("the key"))
    };
    assert_eq!(restore(&backup).expect("a state"), sample());
    let cut = restore(&backup[..backup.len() - 1]).expect_err("an error");
    assert_eq!(
        cut.to_string(),
        "the image cannot be read or written: the backup is damaged or incomplete"
    );
}

fn applied(proposals: &[Proposal]) -> State {
    let mut state = State::default();
    state.apply(&command(proposals));
    state
}

proptest! {
    #[test]
    fn an_image_and_the_rest_of_the_log_give_the_same_state(
        proposals in proposals(),
        at: prop::sample::Index,
    ) {
        let whole = applied(&proposals);
        let (before, after) = proposals.split_at(at.index(proposals.len() + 1));
        let mut state = parse(&image_of(&applied(before))).expect("a state");
        state.apply(&command(after));
        prop_assert_eq!(state.digest(), whole.digest());
        prop_assert_eq!(image_of(&state), image_of(&whole));
        prop_assert_eq!(state, whole);
    }

    #[test]
    fn byte_soup_is_no_reason_to_panic(bytes: Vec<u8>) {
        prop_assert!(parse(&bytes).is_err());
        let mut image = MAGIC.to_vec();
        image.push(VERSION);
        image.extend_from_slice(&bytes);
        prop_assert!(parse(&image).is_err());
    }

    /// As the last one, with counts that are plausible and a digest that fits.
    #[test]
    fn plausible_soup_is_no_reason_to_panic(counts: [bool; 6], records: Vec<u8>) {
        let mut image = MAGIC.to_vec();
        image.push(VERSION);
        for count in counts {
            image.extend_from_slice(&u64::from(count).to_be_bytes());
        }
        image.extend_from_slice(&records);
        image.extend_from_slice(&[0; 32]);
        let _ = parse(&with_digest(image));
    }
}

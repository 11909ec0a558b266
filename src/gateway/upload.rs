//! An upload: the backup that is to be restored, collected piece by piece in a file on the disk of
//! the data directory.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;

use tokio::time::Instant;

use crate::base::limits::{RESTORE_BYTES_MAX, RESTORE_FREE_BYTES_MIN};
use crate::machine::RestoreId;

/// A piece is not taken. The upload is as before.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// A piece before it is missing, or it covers the end of what is there.
    #[error("expected the piece at offset {expected}")]
    OutOfOrder {
        /// Where the next piece belongs.
        expected: u64,
    },
    /// There is another piece at that place.
    #[error("another piece was received for that offset")]
    Differs,
    /// No backup is that large.
    #[error("a backup has at most {RESTORE_BYTES_MAX} bytes")]
    TooLarge,
    /// The disk is needed for other things.
    #[error("the disk of the data directory has no room for the backup")]
    NoRoom,
    /// The disk fails.
    #[error("the backup cannot be stored: {0}")]
    Io(#[from] io::Error),
}

/// What was received of one backup.
pub(super) struct Upload {
    id: RestoreId,
    file: File,
    bytes: u64,
    touched: Instant,
}

impl Upload {
    /// An upload into `file`, which is empty.
    pub(super) fn new(id: RestoreId, file: File) -> Self {
        Self {
            id,
            file,
            bytes: 0,
            touched: Instant::now(),
        }
    }

    /// What it is called.
    pub(super) fn id(&self) -> RestoreId {
        self.id
    }

    /// When something was last added.
    pub(super) fn touched(&self) -> Instant {
        self.touched
    }

    /// Takes the piece at `offset`: the next one, or one that came before and comes again. Blocks.
    ///
    /// # Errors
    ///
    /// [`UploadError`].
    pub(super) fn take(&mut self, offset: u64, piece: &[u8]) -> Result<(), UploadError> {
        self.touched = Instant::now();
        let expected = self.bytes;
        let end = offset.saturating_add(piece.len() as u64);
        if offset != expected {
            return match end <= expected {
                true => self.compare(offset, piece),
                false => Err(UploadError::OutOfOrder { expected }),
            };
        }
        if end > RESTORE_BYTES_MAX {
            return Err(UploadError::TooLarge);
        }
        let room = rustix::fs::fstatvfs(&self.file).map_err(io::Error::from)?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if free < RESTORE_FREE_BYTES_MIN.saturating_add(piece.len() as u64) {
            return Err(UploadError::NoRoom);
        }
        // After a failure the next try overwrites what is there of it.
        self.file.write_all_at(piece, offset)?;
        self.bytes = end;
        Ok(())
    }

    fn compare(&self, offset: u64, piece: &[u8]) -> Result<(), UploadError> {
        let mut known = vec![0; piece.len()];
        self.file.read_exact_at(&mut known, offset)?;
        match known == piece {
            true => Ok(()),
            false => Err(UploadError::Differs),
        }
    }

    /// All that was received, from its beginning.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(super) fn into_reader(mut self) -> io::Result<impl Read> {
        self.file.rewind()?;
        Ok(self.file.take(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload() -> Upload {
        Upload::new(7, tempfile::tempfile().expect("a file"))
    }

    fn content(upload: Upload) -> Vec<u8> {
        let mut content = Vec::new();
        let mut reader = upload.into_reader().expect("a reader");
        reader.read_to_end(&mut content).expect("content");
        content
    }

    #[test]
    fn pieces_are_taken_in_order_and_may_be_repeated() {
        let mut upload = upload();
        upload.take(0, b"abcd").expect("the first");
        upload.take(4, b"ef").expect("the second");
        upload.take(0, b"abcd").expect("again");
        upload.take(2, b"cde").expect("a part that is there");
        upload.take(6, b"g").expect("the third");
        assert_eq!(content(upload), b"abcdefg");
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut upload = upload();
        upload.take(0, b"abcd").expect("the first");
        for offset in [3, 5, u64::MAX] {
            let refused = upload.take(offset, b"xy");
            assert!(
                matches!(refused, Err(UploadError::OutOfOrder { expected: 4 })),
                "{offset}: {refused:?}"
            );
        }
        let differs = upload.take(1, b"bx");
        assert!(matches!(differs, Err(UploadError::Differs)), "{differs:?}");
        upload.bytes = RESTORE_BYTES_MAX;
        let large = upload.take(RESTORE_BYTES_MAX, b"x");
        assert!(matches!(large, Err(UploadError::TooLarge)), "{large:?}");
        upload.bytes = 4;
        assert_eq!(content(upload), b"abcd");
    }
}

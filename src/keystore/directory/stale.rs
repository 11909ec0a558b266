//! Temporary files: their names, and those that dead processes left behind.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, Dir, FileType, statat, unlinkat};
use rustix::io::Errno;

use crate::crypto::random;

/// Temporary files start with it. A key name has no dot.
const TEMPORARY_PREFIX: &str = ".tmp-";

/// Hex digits after [`TEMPORARY_PREFIX`].
const TEMPORARY_DIGITS: usize = 32;

/// Older temporary files were left behind by a process that died: no write takes that long.
pub(super) const TEMPORARY_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// A name that no other temporary file has.
pub(super) fn temporary_name() -> Result<String, random::RandomError> {
    let digits = u128::from_ne_bytes(random::array::<{ TEMPORARY_DIGITS / 2 }>()?);
    Ok(format!("{TEMPORARY_PREFIX}{digits:032x}"))
}

/// Removes temporary files of processes that died. `path` is the directory's, for messages.
pub(super) fn remove_stale(directory: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if !is_temporary_name(name) || !is_stale(directory, name) {
            continue;
        }
        // Another process may do the same at this moment.
        if let Err(error) = unlinkat(directory, name, AtFlags::empty())
            && error != Errno::NOENT
        {
            let path = path.join(name);
            tracing::warn!(path = %path.display(), %error, "failed to remove a stale temporary file");
        }
    }
    Ok(())
}

fn is_temporary_name(name: &str) -> bool {
    name.strip_prefix(TEMPORARY_PREFIX).is_some_and(|digits| {
        digits.len() == TEMPORARY_DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn is_stale(directory: BorrowedFd<'_>, name: &str) -> bool {
    let Ok(found) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return false;
    };
    let seconds = u64::try_from(found.st_mtime).unwrap_or_default();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let age = SystemTime::now().duration_since(modified);
    FileType::from_raw_mode(found.st_mode).is_file() && age.is_ok_and(|age| age > TEMPORARY_AGE_MAX)
}

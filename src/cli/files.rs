//! Files of the command line: read with bounds, written without anybody else's eyes on them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::base::secret::SecretBytes;

/// Largest key or certificate file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A file could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}: {}", path.display(), reason(source))]
pub(super) struct FileError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The reason alone, as the original words it: without Rust's `(os error 2)`.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        io::ErrorKind::AlreadyExists => "file exists".to_owned(),
        _ => error.to_string(),
    }
}

/// The content of the file at `path`, which may be secret.
///
/// # Errors
///
/// [`FileError`] if it cannot be read, or has more than 1 MiB.
pub(super) fn read(path: &Path) -> Result<SecretBytes, FileError> {
    let failed = |operation: &'static str| {
        move |source| FileError {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    let file = File::open(path).map_err(failed("open"))?;
    read_bounded(file).map_err(failed("read"))
}

/// The content of standard input, as [`read`].
///
/// # Errors
///
/// As [`read`].
pub(super) fn read_stdin() -> Result<SecretBytes, FileError> {
    read_bounded(io::stdin().lock()).map_err(|source| FileError {
        operation: "read",
        path: PathBuf::from("standard input"),
        source,
    })
}

fn read_bounded(source: impl Read) -> io::Result<SecretBytes> {
    let mut content = Vec::new();
    let read = source.take(FILE_BYTES_MAX + 1).read_to_end(&mut content);
    // Wiped even if it is not used.
    let content = SecretBytes::new(content);
    if read? as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("file is too large"));
    }
    Ok(content)
}

/// Writes a new file that only its owner can read. With `replace`, an existing one is replaced as a
/// whole: nobody ever sees half of it, and its old permissions do not carry over.
///
/// # Errors
///
/// [`FileError`] if it cannot be written, or exists and must not be replaced.
pub(super) fn write_private(path: &Path, content: &[u8], replace: bool) -> Result<(), FileError> {
    let failed = |source| FileError {
        operation: "open",
        path: path.to_owned(),
        source,
    };
    if !replace {
        return create(path, content).map_err(failed);
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = create(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Not there, if that was the failure.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .inspect_err(|_| {
            let _ = fs::remove_file(path);
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("nofile"))
            .err()
            .map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some("open nofile: no such file or directory")
        );
    }

    #[test]
    fn existing_files_stay_unless_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        assert!(write_private(&path, b"new", false).is_err());
        assert_eq!(fs::read(&path).expect("read"), b"old");
        write_private(&path, b"new", true).expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).expect("listed").count(), 1);
    }
}

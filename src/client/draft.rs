//! A file that appears under its name only once it is complete, and that only its owner can read.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::error::ClientError;
use super::retry;

/// A file being written. Dropped before [`Self::finish`], it leaves nothing behind.
pub(super) struct Draft {
    file: File,
    path: PathBuf,
    /// Where it is meanwhile; `None` once it is no longer there.
    temporary: Option<PathBuf>,
}

impl Draft {
    /// Starts a file that will replace the one at `path`, if there is one.
    pub(super) async fn create(path: &Path) -> Result<Self, ClientError> {
        let failed = |source| ClientError::file("open", path, source);
        // Renaming would replace a device or a directory entry of another kind, too.
        match fs::symlink_metadata(path).await {
            Ok(metadata) if !metadata.is_file() => {
                return Err(failed(io::Error::other("not a regular file")));
            }
            _ => {}
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{:08x}.tmp", retry::random_number()));
        let temporary = PathBuf::from(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .await
            .map_err(failed)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            temporary: Some(temporary),
        })
    }

    /// Appends `bytes`.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        let written = self.file.write_all(bytes).await;
        written.map_err(|source| ClientError::file("write", &self.path, source))
    }

    /// Gives the file its name, after it has reached the disk.
    pub(super) async fn finish(mut self) -> Result<(), ClientError> {
        let finished = self.publish().await;
        finished.map_err(|source| ClientError::file("write", &self.path, source))
    }

    async fn publish(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path).await?;
            self.temporary = None;
        }
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory).await?.sync_all().await
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // There is nobody to tell, and the name says what it is.
            let _ = std::fs::remove_file(temporary);
        }
    }
}

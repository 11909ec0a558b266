//! Uploads a backup into a cluster that has no keys, piece by piece. All pieces go to the server that
//! began: it collects them, and no other server knows of them.

use std::io;
use std::path::Path;

use percent_encoding::utf8_percent_encode;
use reqwest::Method;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::cluster::REWRITE_TIMEOUT;
use super::endpoint::Endpoint;
use super::error::ClientError;
use super::snapshot::SNAPSHOT_BYTES_MAX;
use super::transport::Call;
use super::{Client, PATH_SEGMENT, RESPONSE_BYTES_MAX, read};
use crate::wire::cluster::{self, RESTORE_CHUNK_BYTES_MAX, RestoreSummary};

impl Client {
    /// Restores the backup in the file `path`, and tells what is there now.
    ///
    /// Nothing changes before the whole file has arrived. After an error it can be started over; a new
    /// restore replaces an unfinished one. The last request is sent once: if its
    /// answer is lost, only the status of the cluster tells what became of it.
    ///
    /// # Errors
    ///
    /// Also [`ClientError::File`].
    pub async fn restore_snapshot(&self, path: &Path) -> Result<RestoreSummary, ClientError> {
        let mut file = open(path).await?;
        let call = Call::new(Method::POST, "/v1/cluster/restore/begin");
        let answer = self.send(&call).await?;
        let endpoint = answer.endpoint.clone();
        let begun = read(answer, RESPONSE_BYTES_MAX, cluster::parse_restore_begun).await?;
        let id = utf8_percent_encode(&begun.id, PATH_SEGMENT).to_string();
        self.upload(&endpoint, &id, path, &mut file).await?;
        let path = format!("/v1/cluster/restore/commit/{id}");
        let call = Call::new(Method::POST, path).with_timeout(REWRITE_TIMEOUT);
        let answer = self.transport.send(&endpoint, &call).await?;
        read(answer, RESPONSE_BYTES_MAX, cluster::parse_restore_summary).await
    }

    /// Sends the pieces in order. One whose answer is lost is sent again to the same place.
    async fn upload(
        &self,
        endpoint: &Endpoint,
        id: &str,
        path: &Path,
        file: &mut File,
    ) -> Result<(), ClientError> {
        let mut offset = 0;
        loop {
            let chunk = next_chunk(file)
                .await
                .map_err(|source| ClientError::file("read", path, source))?;
            if chunk.is_empty() {
                return Ok(());
            }
            let size = chunk.len() as u64;
            let path = format!("/v1/cluster/restore/data/{id}/{offset}");
            let call = Call::new(Method::PUT, path).with_body(chunk);
            self.send_to(endpoint, &call).await?.into_success().await?;
            offset += size;
        }
    }
}

/// Opens a backup, if it can be one.
async fn open(path: &Path) -> Result<File, ClientError> {
    let failed = |operation: &'static str| move |source| ClientError::file(operation, path, source);
    let file = File::open(path).await.map_err(failed("open"))?;
    let metadata = file.metadata().await.map_err(failed("stat"))?;
    let problem = match metadata.len() {
        _ if !metadata.is_file() => "not a regular file",
        0 => "file is empty",
        size if size > SNAPSHOT_BYTES_MAX => "file is too large",
        _ => return Ok(file),
    };
    Err(failed("read")(io::Error::other(problem)))
}

/// The next piece, as large as may be; empty at the end of the file.
async fn next_chunk(file: &mut File) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(RESTORE_CHUNK_BYTES_MAX);
    let limit = RESTORE_CHUNK_BYTES_MAX as u64;
    file.take(limit).read_to_end(&mut chunk).await?;
    Ok(chunk)
}

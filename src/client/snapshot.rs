//! Downloads a backup of a cluster into a file. It is encrypted: nothing of it can be read here.

use std::path::Path;
use std::time::Duration;

use reqwest::Method;

use super::Client;
use super::draft::Draft;
use super::error::ClientError;
use super::transport::{Answer, Call};
use crate::wire::cluster::SNAPSHOT_CONTENT_TYPE;

const SNAPSHOT: &str = "/v1/cluster/snapshot";

/// Largest backup: several times what the largest number of keys takes.
pub(super) const SNAPSHOT_BYTES_MAX: u64 = 16 << 30;
/// Time until the server begins to send, retries included.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// Time without any data while it sends.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

impl Client {
    /// `GET /v1/cluster/snapshot`: writes a backup to `path`, and gives its size.
    ///
    /// The file is complete when it appears, replaces an older one, and can be read by its owner only.
    ///
    /// # Errors
    ///
    /// Also [`ClientError::File`]; then, as after any error, the older file is what it was.
    pub async fn save_snapshot(&self, path: &Path) -> Result<u64, ClientError> {
        let mut answer = self.request_snapshot().await?;
        let mut draft = Draft::create(path).await?;
        let mut size = 0;
        while let Some(chunk) = answer.chunk_within(STALL_TIMEOUT).await? {
            size += chunk.len() as u64;
            if size > SNAPSHOT_BYTES_MAX {
                let limit = usize::try_from(SNAPSHOT_BYTES_MAX).unwrap_or(usize::MAX);
                return Err(ClientError::ResponseTooLarge { limit });
            }
            draft.write(&chunk).await?;
        }
        match size {
            0 => Err(ClientError::InvalidResponse("EOF".to_owned())),
            _ => draft.finish().await.map(|()| size),
        }
    }

    /// The answer, of which only the head has been read.
    async fn request_snapshot(&self) -> Result<Answer, ClientError> {
        let mut call = Call::new(Method::GET, SNAPSHOT);
        call.timeout = None;
        let answer = tokio::time::timeout(PREPARE_TIMEOUT, self.send(&call)).await;
        let Ok(answer) = answer else {
            let first = self.texts.first().map_or("", String::as_str);
            return Err(ClientError::Connection {
                method: "Get".to_owned(),
                url: format!("{first}{SNAPSHOT}"),
                cause: format!("no answer for {} seconds", PREPARE_TIMEOUT.as_secs()),
                is_timeout: true,
            });
        };
        let answer = answer?.into_success().await?;
        match answer.content_type() {
            // The page of a proxy must not pass for a backup until the day it is needed.
            SNAPSHOT_CONTENT_TYPE => Ok(answer),
            other => Err(ClientError::InvalidResponse(format!(
                "kes: invalid server response: expected a snapshot, not '{other}'"
            ))),
        }
    }
}

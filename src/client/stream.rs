//! The log of a server as it is written.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::error::ClientError;
use super::transport::Answer;

/// Largest event that is read.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// The events of a log, from the moment of the request on. Ends when the server closes it, or with the
/// first error.
pub struct LogStream<T> {
    /// `None` once the stream has ended.
    answer: Option<Answer>,
    buffer: Vec<u8>,
    events: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> LogStream<T> {
    pub(super) fn new(answer: Answer) -> Self {
        Self {
            answer: Some(answer),
            buffer: Vec::new(),
            events: PhantomData,
        }
    }

    /// Waits for the next event. `None` when the server has closed the log.
    ///
    /// Can be dropped while it waits without losing an event.
    pub async fn next(&mut self) -> Option<Result<T, ClientError>> {
        loop {
            match self.take_event() {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) => {}
                Err(error) => return self.fail(error),
            }
            match self.answer.as_mut()?.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) if self.buffer.trim_ascii().is_empty() => {
                    self.answer = None;
                    return None;
                }
                Ok(None) => {
                    let cut = ClientError::InvalidResponse("unexpected EOF".to_owned());
                    return self.fail(cut);
                }
                Err(error) => return self.fail(error),
            }
        }
    }

    fn fail(&mut self, error: ClientError) -> Option<Result<T, ClientError>> {
        self.answer = None;
        self.buffer.clear();
        Some(Err(error))
    }

    /// Takes the event at the front of the buffer; `None` if it is not there in full.
    fn take_event(&mut self) -> Result<Option<T>, ClientError> {
        let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<T>();
        let event = match values.next() {
            Some(Ok(event)) => Some(event),
            Some(Err(error)) if !error.is_eof() => {
                return Err(ClientError::from_json(&error, &self.buffer));
            }
            Some(Err(_)) | None => None,
        };
        match event.is_some() {
            true => {
                let end = values.byte_offset();
                self.buffer.drain(..end);
            }
            false if self.buffer.len() > EVENT_BYTES_MAX => {
                let limit = EVENT_BYTES_MAX;
                return Err(ClientError::ResponseTooLarge { limit });
            }
            false => {}
        }
        Ok(event)
    }
}

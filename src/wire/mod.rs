//! Layer 1: the JSON of the API, shared by server and client.
//!
//! The rules are those of Go's `encoding/json`, because every client and the original use it:
//! lenient when reading, with its own escapes when writing.

pub mod error;
mod go_json;
pub mod log;
pub mod request;
pub mod response;

pub use go_json::{push_json_string, to_go_json};

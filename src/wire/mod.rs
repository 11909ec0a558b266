//! Layer 1: the JSON of the KES API, for both ends: the server parses requests and writes responses, the
//! client does the reverse.
//!
//! Nothing here knows of HTTP, of keys or of policies; a type of this module says what is on the wire.

pub mod cluster;
pub mod error;
pub mod go_json;
pub mod identity;
pub mod key;
pub mod log;
pub mod policy;
pub mod policy_request;
pub mod request;
pub mod response;
pub mod status;

mod lenient;
mod object;

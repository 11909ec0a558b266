//! Layer 6: decrypted keys in memory.
//!
//! [`KeyCache`] is what others hold. A hit takes no lock and asks nobody. The actor has the timers
//! that let keys go; when it is dead hits go on, and so do loads.

pub(crate) mod actor;
mod counter;
mod entry;
mod flights;
mod handle;
mod map;
pub(crate) mod messages;
mod sweep;

use std::time::Duration;

pub use entry::CachedKey;
pub use handle::{KeyCache, LoadError};

/// When keys leave the cache. Zero turns a timer off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expiry {
    /// All keys go this often.
    pub any: Duration,
    /// Keys go that were not used for this long; an idle one stays at least for half of it.
    pub unused: Duration,
    /// If not zero, the other two are suspended while the keystore is offline, and all keys go this
    /// often instead.
    pub offline: Duration,
}

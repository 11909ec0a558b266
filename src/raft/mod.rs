//! Layer 4: consensus: who leads, what is committed, and how nodes talk to each other.
//!
//! [`RaftHandle`] is what others hold: it makes changes through whichever node leads, proves that
//! nothing was missed, and lends the applied state. The actor groups proposals into entries.

pub(crate) mod actor;
mod alone;
mod bootstrap;
mod error;
mod handle;
pub(crate) mod messages;
mod peers;
mod rounds;
mod settings;
mod start;
mod view;

pub use error::{ClusterError, ProposeError};
pub use handle::{RaftHandle, request_id};
pub use settings::{Settings, TimingError};
pub use start::{ClusterNode, Found, StartError};
pub use view::{ClusterView, MemberView, Role};

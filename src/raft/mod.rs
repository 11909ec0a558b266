//! Layer 4: consensus: who leads, what is committed, and how nodes talk to each other.
//!
//! [`RaftHandle`] is what others hold: it makes changes through whichever node leads, proves that
//! nothing was missed, and lends the applied state. The actor groups proposals into entries.

pub(crate) mod actor;
mod bootstrap;
mod error;
mod handle;
mod membership;
pub(crate) mod messages;
mod peers;
mod rounds;
mod service;
mod settings;
mod start;
pub mod transport;
mod view;

pub use error::{ClusterError, ProposeError};
pub use handle::{RaftHandle, request_id};
pub use membership::MembershipError;
pub use settings::{Settings, TimingError};
pub use start::{ClusterNode, Found, Parts, StartError};
pub use view::{ClusterView, MemberView, Role};

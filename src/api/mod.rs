//! Layer 7: the KES HTTP API: routes, order of checks, handlers, answers. No sockets: the ingress
//! brings requests and takes answers, over whatever protocol.

mod audited;
mod backup;
mod cluster;
mod context;
pub mod deadline;
mod dispatch;
mod drain;
mod error;
mod identity;
mod key;
mod log;
mod path;
mod policy;
mod reply;
mod respond;
mod route;
mod status;

pub use context::{Api, Context, Peer, RequestHead};
pub use dispatch::{Admission, Admitted, Body};
pub use drain::{DrainSignal, Draining, drain_signal};
pub use error::{ApiError, AuthenticationError, Verb};
pub use reply::{CutOff, Reply, ReplyBody, StreamBody};
pub use respond::error_reply;
pub use route::{RouteOverride, RouteTable};

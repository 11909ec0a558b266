//! What the ingress actor is told.

use actix::Message;
use tokio::sync::oneshot;

use super::tls::TlsState;

/// New handshakes use these settings; connections that are there go on.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ReplaceTls {
    pub(crate) tls: TlsState,
    /// Told when the settings are published.
    pub(crate) reply: oneshot::Sender<()>,
}

/// Stop accepting, let active requests end, then cut connections.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Drain {
    /// Told when no connection is left.
    pub(crate) reply: oneshot::Sender<()>,
}

//! What the authorization actor is told.

use actix::Message;
use tokio::sync::oneshot;

use super::policy_set::PolicySet;

/// From now on these policies, and this admin, hold.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ReplacePolicies {
    pub(crate) policies: PolicySet,
    /// Told when the policies are published.
    pub(crate) reply: oneshot::Sender<()>,
}

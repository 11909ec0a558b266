//! What the authorization actor is told.

use actix::Message;
use tokio::sync::oneshot;

use super::policy_set::PolicySet;
use super::replicated::ReplicatedPolicies;

/// From now on these policies of the configuration, and its admin, hold. What the cluster agreed on
/// stays.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ReplacePolicies {
    pub(crate) policies: PolicySet,
    /// Told when the policies are published.
    pub(crate) reply: oneshot::Sender<()>,
}

/// From now on these policies of the cluster hold. What comes from the configuration stays.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ReplaceReplicated {
    pub(crate) replicated: ReplicatedPolicies,
    /// Told when the policies are published.
    pub(crate) reply: oneshot::Sender<()>,
}

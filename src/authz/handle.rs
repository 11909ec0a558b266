//! The decision of every request: who may do what.
//!
//! Hot path: one load of the published policy set, one lookup, a few prefix comparisons.

use std::sync::Arc;

use super::policy_set::PolicySet;
use crate::base::identity::Identity;
use crate::base::snapshot::Published;

/// Proof that a request was authorized. Only [`Authorizer::authorize`] makes one, and handlers ask for it.
#[derive(Clone, Copy, Debug)]
pub struct Permit(());

/// Why a request was refused. The client learns only that it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Denied {
    /// The identity has no policy and is not the admin.
    #[error("access denied: identity not found")]
    UnknownIdentity,
    /// The policy of the identity does not allow the path.
    #[error("access denied: rejected by policy '{policy}'")]
    Policy {
        /// Name of the policy.
        policy: String,
    },
}

/// Decides by the policies that are published at that moment. Clones share them.
#[derive(Clone)]
pub struct Authorizer {
    policies: Published<PolicySet>,
}

impl Authorizer {
    pub(crate) fn new(policies: Published<PolicySet>) -> Self {
        Self { policies }
    }

    /// Decides whether `identity` may call `path`, percent-decoded and with its leading slash.
    ///
    /// # Errors
    ///
    /// [`Denied`], with the reason for the log.
    pub fn authorize(&self, identity: &Identity, path: &str) -> Result<Permit, Denied> {
        let policies = self.policies.load();
        if policies.is_admin(identity) {
            return Ok(Permit(()));
        }
        let Some(assigned) = policies.assigned(identity) else {
            return Err(Denied::UnknownIdentity);
        };
        if assigned.policy.allows(path) {
            Ok(Permit(()))
        } else {
            Err(Denied::Policy {
                policy: assigned.name.to_string(),
            })
        }
    }

    /// The permit of a route that is open to everybody.
    pub fn open_to_all(&self) -> Permit {
        Permit(())
    }

    /// The policies of this moment.
    pub fn policies(&self) -> Arc<PolicySet> {
        self.policies.load_full()
    }
}

//! The authorization actor: owns the policies of both sources, the configuration and the cluster,
//! and publishes them as one set.

use actix::{Actor, Addr, Context, Handler};

use super::handle::Authorizer;
use super::messages::{ReplacePolicies, ReplaceReplicated};
use super::policy_set::PolicySet;
use super::replicated::{ReplicatedPolicies, Shadowed};
use crate::base::exit::DeathWatch;
use crate::base::limits::MAILBOX_CAPACITY;
use crate::base::snapshot::Published;

/// The one writer of the policy set.
pub(crate) struct AuthzActor {
    configured: PolicySet,
    replicated: ReplicatedPolicies,
    /// What the operator was told of.
    shadowed: Shadowed,
    policies: Published<PolicySet>,
    _watch: DeathWatch,
}

impl AuthzActor {
    /// Starts the actor with a first policy set, that of the configuration.
    pub(crate) fn start_with(configured: PolicySet, watch: DeathWatch) -> (Addr<Self>, Authorizer) {
        let policies = Published::new(configured.clone());
        let authorizer = Authorizer::new(policies.clone());
        let actor = Self {
            configured,
            replicated: ReplicatedPolicies::default(),
            shadowed: Shadowed::default(),
            policies,
            _watch: watch,
        };
        (actor.start(), authorizer)
    }

    fn publish(&mut self) {
        let (policies, shadowed) = self.configured.joined(&self.replicated);
        self.policies.publish(policies);
        if self.shadowed != shadowed && !shadowed.is_empty() {
            tracing::warn!(
                policies = shadowed.policies.join(", "),
                identities = shadowed.identities.join(", "),
                "policies or identities of the cluster are not in force: the configuration has its \
                 own of that name"
            );
        }
        self.shadowed = shadowed;
    }
}

impl Actor for AuthzActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX_CAPACITY);
    }
}

impl Handler<ReplacePolicies> for AuthzActor {
    type Result = ();

    fn handle(&mut self, message: ReplacePolicies, _: &mut Self::Context) {
        self.configured = message.policies;
        self.publish();
        // Nobody waits any more: the policies hold all the same.
        let _ = message.reply.send(());
    }
}

impl Handler<ReplaceReplicated> for AuthzActor {
    type Result = ();

    fn handle(&mut self, message: ReplaceReplicated, _: &mut Self::Context) {
        self.replicated = message.replicated;
        self.publish();
        let _ = message.reply.send(());
    }
}

#[cfg(test)]
mod tests;

//! The authorization actor: owns the policies and publishes them.

use actix::{Actor, Addr, Context, Handler};

use super::handle::Authorizer;
use super::messages::ReplacePolicies;
use super::policy_set::PolicySet;
use crate::base::exit::DeathWatch;
use crate::base::limits::MAILBOX_CAPACITY;
use crate::base::snapshot::Published;

/// The one writer of the policy set.
pub(crate) struct AuthzActor {
    policies: Published<PolicySet>,
    _watch: DeathWatch,
}

impl AuthzActor {
    /// Starts the actor with a first policy set.
    pub(crate) fn start_with(policies: PolicySet, watch: DeathWatch) -> (Addr<Self>, Authorizer) {
        let policies = Published::new(policies);
        let authorizer = Authorizer::new(policies.clone());
        (
            Self {
                policies,
                _watch: watch,
            }
            .start(),
            authorizer,
        )
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
        self.policies.publish(message.policies);
        // Nobody waits any more: the policies hold all the same.
        let _ = message.reply.send(());
    }
}

//! Policies and assignments that a cluster agrees on at run time: changes of them, and what is in
//! force of them.
//!
//! What the configuration says is not replicated and cannot be changed here.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::authz::Authorizer;
use crate::authz::policy::Policy;
use crate::authz::policy_set::{Assigned, Defined, Origin};
use crate::authz::replicated::{Assignment, ReplicatedPolicies};
use crate::base::clock::Timestamp;
use crate::base::identity::Identity;
use crate::base::limits::POLICIES_IN_FORCE_TIMEOUT;
use crate::machine::{AssignmentRecord, Op, PolicyRecord, Rejection, State};
use crate::raft::{ClusterError, ProposeError, RaftHandle};

/// Why a policy or an assignment was not changed. Nothing is different then, unless it was not
/// learned what became of the change.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PolicyChangeError {
    /// There is no such policy.
    #[error("policy does not exist")]
    PolicyNotFound,
    /// The identity is under no policy.
    #[error("identity does not exist")]
    IdentityNotFound,
    /// Nobody can be put under a policy.
    #[error("identity is unknown")]
    UnknownIdentity,
    /// Nobody chooses their own policy.
    #[error("identity cannot assign policy to itself")]
    Oneself,
    /// The admin needs no policy.
    #[error("cannot assign policy to system admin")]
    AssignAdmin,
    /// The admin is in the configuration.
    #[error("cannot delete system admin")]
    DeleteAdmin,
    /// The policy is in the configuration.
    #[error("policy '{0}' is defined in the configuration file and can be changed only there")]
    ConfiguredPolicy(String),
    /// The assignment is in the configuration.
    #[error("identity '{0}' is assigned in the configuration file and can be changed only there")]
    ConfiguredIdentity(Identity),
    /// The rules have more text than the cluster takes.
    #[error("policy is too large")]
    TooLarge,
    /// There are as many as the cluster takes.
    #[error("there are too many policies or identities")]
    TooMany,
    /// The cluster did not take the change, or not in time.
    #[error(transparent)]
    Propose(ProposeError),
}

impl From<ProposeError> for PolicyChangeError {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Rejected(Rejection::PolicyNotFound) => Self::PolicyNotFound,
            ProposeError::Rejected(Rejection::TooLarge) => Self::TooLarge,
            ProposeError::Rejected(Rejection::TooMany) => Self::TooMany,
            ProposeError::Rejected(Rejection::RestoreInProgress) => {
                Self::Propose(ClusterError::Restoring.into())
            }
            ProposeError::Rejected(Rejection::NotFounded) => {
                Self::Propose(ClusterError::NotMember.into())
            }
            error => Self::Propose(error),
        }
    }
}

/// Changes what the cluster says about policies. Clones are the same.
///
/// Each change is in force on this node when it is answered, and on the others as soon as they
/// learn of it.
#[derive(Clone)]
pub struct PolicyAdmin {
    raft: RaftHandle,
    authorizer: Authorizer,
    in_force: watch::Receiver<u64>,
}

impl PolicyAdmin {
    /// Changes go through `raft`. `authorizer` knows what is in force, and `in_force` tells up to
    /// which revision of [`replicated_policies`] that goes.
    pub fn new(raft: RaftHandle, authorizer: Authorizer, in_force: watch::Receiver<u64>) -> Self {
        Self {
            raft,
            authorizer,
            in_force,
        }
    }

    /// Writes a policy, over the one of that name.
    ///
    /// # Errors
    ///
    /// [`PolicyChangeError`].
    pub async fn write(
        &self,
        name: &str,
        allow: Vec<String>,
        deny: Vec<String>,
        by: &Identity,
    ) -> Result<(), PolicyChangeError> {
        self.check_policy(name)?;
        let policy = PolicyRecord {
            allow,
            deny,
            created_at: Timestamp::now(),
            created_by: by.to_string(),
        };
        let name = name.to_owned();
        self.change(Op::PutPolicy { name, policy }).await
    }

    /// Deletes a policy, and what assigns it.
    ///
    /// # Errors
    ///
    /// [`PolicyChangeError`].
    pub async fn delete(&self, name: &str) -> Result<(), PolicyChangeError> {
        self.check_policy(name)?;
        let name = name.to_owned();
        let deleted = self.change(Op::DeletePolicy { name }).await;
        deleted.map_err(|error| named(error, PolicyChangeError::PolicyNotFound))
    }

    /// Puts `identity` under a policy, whatever it was under.
    ///
    /// # Errors
    ///
    /// [`PolicyChangeError`].
    pub async fn assign(
        &self,
        policy: &str,
        identity: &Identity,
        by: &Identity,
    ) -> Result<(), PolicyChangeError> {
        if identity.is_unknown() {
            return Err(PolicyChangeError::UnknownIdentity);
        }
        if identity == by {
            return Err(PolicyChangeError::Oneself);
        }
        if self.authorizer.policies().is_admin(identity) {
            return Err(PolicyChangeError::AssignAdmin);
        }
        self.check_policy(policy)?;
        self.check_identity(identity)?;
        let assignment = AssignmentRecord {
            policy: policy.to_owned(),
            created_at: Timestamp::now(),
            created_by: by.to_string(),
        };
        let identity = identity.to_string();
        let op = Op::AssignIdentity {
            identity,
            assignment,
        };
        self.change(op).await
    }

    /// Takes `identity` from under its policy.
    ///
    /// # Errors
    ///
    /// [`PolicyChangeError`].
    pub async fn delete_identity(&self, identity: &Identity) -> Result<(), PolicyChangeError> {
        if self.authorizer.policies().is_admin(identity) {
            return Err(PolicyChangeError::DeleteAdmin);
        }
        self.check_identity(identity)?;
        let identity = identity.to_string();
        let deleted = self.change(Op::DeleteIdentity { identity }).await;
        deleted.map_err(|error| named(error, PolicyChangeError::IdentityNotFound))
    }

    /// A policy of the configuration is not the cluster's.
    fn check_policy(&self, name: &str) -> Result<(), PolicyChangeError> {
        match self.authorizer.policies().policy(name) {
            Some(Defined { origin, .. }) if !origin.is_replicated => {
                Err(PolicyChangeError::ConfiguredPolicy(name.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Nor is an assignment there.
    fn check_identity(&self, identity: &Identity) -> Result<(), PolicyChangeError> {
        match self.authorizer.policies().assigned(identity) {
            Some(Assigned { origin, .. }) if !origin.is_replicated => {
                Err(PolicyChangeError::ConfiguredIdentity(identity.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Makes a change and waits until it is in force here: the next request of the same client must
    /// meet it.
    async fn change(&self, op: Op) -> Result<(), PolicyChangeError> {
        self.raft.propose(op).await?;
        let (_, revision) = self.raft.state_of_policies();
        let mut in_force = self.in_force.clone();
        let reached = in_force.wait_for(|in_force| *in_force >= revision);
        let error = match tokio::time::timeout(POLICIES_IN_FORCE_TIMEOUT, reached).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(_)) => ClusterError::Stopped("it is shutting down".to_owned()),
            Err(_elapsed) => ClusterError::TimedOut,
        };
        Err(PolicyChangeError::Propose(error.into()))
    }
}

/// `error`, or `not_found` if what was to be deleted does not exist.
fn named(error: PolicyChangeError, not_found: PolicyChangeError) -> PolicyChangeError {
    match error {
        PolicyChangeError::Propose(ProposeError::Rejected(Rejection::NotFound)) => not_found,
        error => error,
    }
}

/// What the cluster says about policies, as this node has applied it, and the revision of that.
pub fn replicated_policies(raft: &RaftHandle) -> (ReplicatedPolicies, u64) {
    let (state, revision) = raft.state_of_policies();
    (of_state(&state), revision)
}

fn of_state(state: &State) -> ReplicatedPolicies {
    // Half of a backup may give rights that the whole does not.
    if state.restoring().is_some() {
        return ReplicatedPolicies::default();
    }
    let origin = |created_at, created_by: &str| Origin {
        is_replicated: true,
        created_at,
        created_by: created_by.into(),
    };
    let policies: Vec<_> = state
        .policies()
        .map(|(name, record)| {
            let rules = Policy::new(
                record.allow.iter().map(String::as_str),
                record.deny.iter().map(String::as_str),
            );
            let origin = origin(record.created_at, &record.created_by);
            (Arc::<str>::from(name), Arc::new(rules), origin)
        })
        .collect();
    // Each name is in memory once, however many identities are under it.
    let names: HashMap<&str, &Arc<str>> = policies
        .iter()
        .map(|(name, _, _)| (name.as_ref(), name))
        .collect();
    let assignments = state.identities().filter_map(|(identity, record)| {
        let policy = names.get(record.policy.as_str())?;
        Some(Assignment {
            identity: identity.into(),
            policy: Arc::clone(policy),
            origin: origin(record.created_at, &record.created_by),
        })
    });
    let assignments = assignments.collect();
    ReplicatedPolicies {
        policies,
        assignments,
    }
}

#[cfg(test)]
mod tests;

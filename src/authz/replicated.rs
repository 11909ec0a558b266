//! What a cluster agreed on at run time about policies, and how it joins what the configuration
//! says: the configuration always wins.

use std::sync::Arc;

use super::policy::Policy;
use super::policy_set::{Assigned, Defined, Origin, PolicySet};
use crate::base::identity::Identity;

/// The policies and assignments of a cluster.
#[derive(Clone, Debug, Default)]
pub struct ReplicatedPolicies {
    /// Name, rules and origin of each policy.
    pub policies: Vec<(Arc<str>, Arc<Policy>, Origin)>,
    /// The identities under them.
    pub assignments: Vec<Assignment>,
}

/// That an identity is under a policy.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The identity.
    pub identity: Identity,
    /// Name of the policy.
    pub policy: Arc<str>,
    /// Who assigned it.
    pub origin: Origin,
}

/// What of the cluster is not in force because the configuration has its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shadowed {
    /// Names of policies.
    pub policies: Vec<String>,
    /// Identities.
    pub identities: Vec<String>,
}

impl Shadowed {
    /// Whether everything is in force.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.identities.is_empty()
    }
}

impl PolicySet {
    /// This set, which is that of the configuration, and what the cluster adds to it.
    ///
    /// An identity that the cluster put under a policy of its own never gets the rules of another
    /// policy that the configuration happens to call the same: it has no policy then.
    pub fn joined(&self, replicated: &ReplicatedPolicies) -> (Self, Shadowed) {
        let mut set = self.clone();
        let mut shadowed = Shadowed::default();
        for (name, policy, origin) in &replicated.policies {
            if self.policy(name).is_some() {
                shadowed.policies.push(name.as_ref().to_owned());
                continue;
            }
            let defined = Defined {
                policy: Arc::clone(policy),
                origin: origin.clone(),
            };
            set.policies.insert(Arc::clone(name), defined);
        }
        for assignment in &replicated.assignments {
            let identity = &assignment.identity;
            let is_taken = self.is_admin(identity) || self.assigned(identity).is_some();
            match set.policy(&assignment.policy) {
                Some(defined) if !is_taken && defined.origin.is_replicated => {
                    let assigned = Assigned {
                        name: Arc::clone(&assignment.policy),
                        policy: Arc::clone(&defined.policy),
                        origin: assignment.origin.clone(),
                    };
                    set.identities.insert(identity.clone());
                    set.assigned.insert(identity.clone(), assigned);
                }
                _ => shadowed.identities.push(identity.to_string()),
            }
        }
        (set, shadowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;

    fn origin() -> Origin {
        Origin {
            is_replicated: true,
            created_at: Timestamp::ZERO,
            created_by: "carol".into(),
        }
    }

    fn configured() -> PolicySet {
        let policies = [(
            "ops".to_owned(),
            vec!["/v1/metrics".to_owned()],
            Vec::new(),
            vec![Identity::from("bob")],
        )];
        PolicySet::new("root".into(), Timestamp::ZERO, policies.into_iter()).expect("policies")
    }

    fn replicated(policies: &[&str], assignments: &[(&str, &str)]) -> ReplicatedPolicies {
        let policy = |name: &&str| {
            let rules = Policy::new(["/v1/key/*"], []);
            (Arc::from(*name), Arc::new(rules), origin())
        };
        let assignment = |&(identity, policy): &(&str, &str)| Assignment {
            identity: identity.into(),
            policy: policy.into(),
            origin: origin(),
        };
        ReplicatedPolicies {
            policies: policies.iter().map(policy).collect(),
            assignments: assignments.iter().map(assignment).collect(),
        }
    }

    #[test]
    fn both_are_in_force_and_listed() {
        let replicated = replicated(&["app"], &[("amy", "app")]);
        let (set, shadowed) = configured().joined(&replicated);
        assert!(shadowed.is_empty(), "{shadowed:?}");
        let amy = set.assigned(&"amy".into()).expect("amy has a policy");
        assert!(amy.origin.is_replicated && amy.policy.allows("/v1/key/create/x"));
        let bob = set.assigned(&"bob".into()).expect("bob has a policy");
        assert!(!bob.origin.is_replicated && bob.policy.allows("/v1/metrics"));
        assert_eq!(set.policy_names("").collect::<Vec<_>>(), ["app", "ops"]);
        let everybody: Vec<_> = set.identities("").map(Identity::as_str).collect();
        assert_eq!(everybody, ["amy", "bob", "root"]);
    }

    #[test]
    fn the_configuration_wins() {
        let replicated = replicated(
            &["app", "ops"],
            &[("amy", "ops"), ("bob", "app"), ("root", "app")],
        );
        let (set, shadowed) = configured().joined(&replicated);
        let ops = set.policy("ops").expect("a policy");
        assert!(!ops.origin.is_replicated && !ops.policy.allows("/v1/key/create/x"));
        assert!(set.assigned(&"amy".into()).is_none());
        assert_eq!(
            set.assigned(&"bob".into()).expect("bob").name.as_ref(),
            "ops"
        );
        assert!(set.assigned(&"root".into()).is_none());
        assert_eq!(shadowed.policies, ["ops"]);
        assert_eq!(shadowed.identities, ["amy", "bob", "root"]);
    }
}

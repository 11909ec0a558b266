//! All policies in force, and who is under which. Immutable: every change makes a new set.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::authz::policy::Policy;
use crate::base::clock::Timestamp;
use crate::base::identity::Identity;
use crate::base::name::is_valid_name;

/// Why policies cannot be put in force. The texts are the original's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PolicySetError {
    /// The name of a policy is not a valid name.
    #[error("kes: policy name '{0}' is empty, too long or contains invalid characters")]
    InvalidPolicyName(String),
    /// Two policies have one name.
    #[error("kes: policy '{0}' is defined multiple times")]
    DuplicatePolicy(String),
    /// An identity under a policy is not a valid name.
    #[error("kes: identity '{0}' is empty, too long or contains invalid characters")]
    InvalidIdentity(Identity),
    /// An identity is under two policies, or twice under the same.
    #[error("kes: cannot assign policy '{policy}' to '{identity}': identity already has a policy")]
    AlreadyAssigned {
        /// The second policy.
        policy: String,
        /// Whom it is about.
        identity: Identity,
    },
}

/// Where a policy or an assignment comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// From the cluster, which can change it at run time; otherwise from the configuration, which
    /// nobody but its operator changes.
    pub is_replicated: bool,
    /// When it was made, as the API reports it.
    pub created_at: Timestamp,
    /// Who made it, as the API reports it.
    pub created_by: Identity,
}

/// A policy in force.
#[derive(Clone, Debug)]
pub struct Defined {
    /// Its rules.
    pub policy: Arc<Policy>,
    /// Where it comes from.
    pub origin: Origin,
}

/// The policy that an identity is under.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// Name of the policy.
    pub name: Arc<str>,
    /// Its rules.
    pub policy: Arc<Policy>,
    /// Where the assignment comes from.
    pub origin: Origin,
}

/// The admin, the policies, and the identities under them.
#[derive(Clone, Debug)]
pub struct PolicySet {
    admin: Identity,
    created_at: Timestamp,
    pub(super) policies: BTreeMap<Arc<str>, Defined>,
    pub(super) assigned: HashMap<Identity, Assigned>,
    /// Everybody with a policy and the admin, in the order of listings.
    pub(super) identities: BTreeSet<Identity>,
}

impl PolicySet {
    /// Builds the set of a configuration from policies: name, allow rules, deny rules, identities.
    ///
    /// `created_at` is what the API reports as the time at which policies and identities were made.
    ///
    /// # Errors
    ///
    /// The first invalid or duplicate name, or invalid or doubly assigned identity.
    pub fn new(
        admin: Identity,
        created_at: Timestamp,
        policies: impl Iterator<Item = (String, Vec<String>, Vec<String>, Vec<Identity>)>,
    ) -> Result<Self, PolicySetError> {
        let origin = Origin {
            is_replicated: false,
            created_at,
            created_by: admin.clone(),
        };
        let mut set = Self {
            identities: BTreeSet::from([admin.clone()]),
            admin,
            created_at,
            policies: BTreeMap::new(),
            assigned: HashMap::new(),
        };
        for (name, allow, deny, identities) in policies {
            if !is_valid_name(&name) {
                return Err(PolicySetError::InvalidPolicyName(name));
            }
            let assigned = Assigned {
                name: Arc::from(name.as_str()),
                policy: Arc::new(Policy::new(allow, deny)),
                origin: origin.clone(),
            };
            let defined = Defined {
                policy: Arc::clone(&assigned.policy),
                origin: origin.clone(),
            };
            let known = set.policies.insert(Arc::clone(&assigned.name), defined);
            if known.is_some() {
                return Err(PolicySetError::DuplicatePolicy(name));
            }
            for identity in identities {
                set.assign(identity, &assigned)?;
            }
        }
        Ok(set)
    }

    fn assign(&mut self, identity: Identity, assigned: &Assigned) -> Result<(), PolicySetError> {
        if !is_valid_name(identity.as_str()) {
            return Err(PolicySetError::InvalidIdentity(identity));
        }
        self.identities.insert(identity.clone());
        match self.assigned.insert(identity.clone(), assigned.clone()) {
            None => Ok(()),
            Some(_) => Err(PolicySetError::AlreadyAssigned {
                policy: assigned.name.as_ref().to_owned(),
                identity,
            }),
        }
    }

    /// Tells whether `identity` is the admin, who may do everything. Nobody's identity never is.
    pub fn is_admin(&self, identity: &Identity) -> bool {
        !identity.is_unknown() && *identity == self.admin
    }

    /// The policy that `identity` is under. Hot path.
    pub fn assigned(&self, identity: &Identity) -> Option<&Assigned> {
        self.assigned.get(identity)
    }

    /// The policy with that name.
    pub fn policy(&self, name: &str) -> Option<&Defined> {
        self.policies.get(name)
    }

    /// The admin's identity; it may be one that no key can have, which disables the admin.
    pub fn admin(&self) -> &Identity {
        &self.admin
    }

    /// When the admin, and what else comes from the configuration, was made, as the API reports it.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// The names of policies that start with `prefix`, sorted bytewise.
    pub fn policy_names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.policies.keys().map(AsRef::as_ref);
        names.filter(move |name: &&str| name.starts_with(prefix))
    }

    /// The identities that start with `prefix`, the admin included, sorted bytewise.
    pub fn identities<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Identity> {
        let identities = self.identities.iter();
        identities.filter(move |identity| identity.as_str().starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Source = (String, Vec<String>, Vec<String>, Vec<Identity>);

    fn source(name: &str, allow: &[&str], identities: &[&str]) -> Source {
        (
            name.to_owned(),
            allow.iter().map(|&pattern| pattern.to_owned()).collect(),
            Vec::new(),
            identities.iter().map(|&id| Identity::from(id)).collect(),
        )
    }

    fn build(sources: Vec<Source>) -> Result<PolicySet, PolicySetError> {
        PolicySet::new("root".into(), Timestamp::ZERO, sources.into_iter())
    }

    #[test]
    fn identities_find_their_policies() {
        let set = build(vec![
            source("ops", &["/v1/metrics"], &["zoe", "bob"]),
            source("app", &["/v1/key/*"], &["amy"]),
        ])
        .expect("valid policies");
        let bob = set.assigned(&"bob".into()).expect("bob has a policy");
        assert_eq!(bob.name.as_ref(), "ops");
        assert!(bob.policy.allows("/v1/metrics"));
        assert!(set.assigned(&"root".into()).is_none());
        assert!(set.policy("app").is_some());
        assert!(set.is_admin(&"root".into()));
        assert!(!set.is_admin(&"bob".into()));
        assert_eq!(set.policy_names("").collect::<Vec<_>>(), ["app", "ops"]);
        assert_eq!(set.policy_names("o").collect::<Vec<_>>(), ["ops"]);
        let everybody: Vec<_> = set.identities("").map(Identity::as_str).collect();
        assert_eq!(everybody, ["amy", "bob", "root", "zoe"]);
        assert_eq!(set.identities("z").count(), 1);
    }

    #[test]
    fn nobody_is_never_the_admin() {
        let set = PolicySet::new("".into(), Timestamp::ZERO, std::iter::empty()).expect("a set");
        assert!(!set.is_admin(&Identity::unknown()));
    }

    #[test]
    fn errors_are_those_of_the_original() {
        let table = [
            (
                vec![source("bad name", &[], &[])],
                "kes: policy name 'bad name' is empty, too long or contains invalid characters",
            ),
            (
                vec![source("p1", &[], &["*"])],
                "kes: identity '*' is empty, too long or contains invalid characters",
            ),
            (
                vec![source("p1", &[], &[""])],
                "kes: identity '' is empty, too long or contains invalid characters",
            ),
            (
                vec![source("p1", &[], &["x"]), source("p2", &[], &["x"])],
                "kes: cannot assign policy 'p2' to 'x': identity already has a policy",
            ),
            (
                vec![source("p1", &[], &["x", "x"])],
                "kes: cannot assign policy 'p1' to 'x': identity already has a policy",
            ),
            (
                vec![source("p1", &[], &[]), source("p1", &[], &[])],
                "kes: policy 'p1' is defined multiple times",
            ),
        ];
        for (sources, expected) in table {
            assert_eq!(build(sources).expect_err(expected).to_string(), expected);
        }
    }
}

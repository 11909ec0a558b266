//! A policy: what a group of identities may do. Deny comes before allow; what no rule allows is
//! rejected.

use crate::authz::pattern::Pattern;

/// Two sets of rules. The empty policy rejects everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
}

impl Policy {
    /// Makes a policy of its rules. Their order means nothing, and duplicates collapse.
    pub fn new<P: Into<Pattern>>(
        allow: impl IntoIterator<Item = P>,
        deny: impl IntoIterator<Item = P>,
    ) -> Self {
        Self {
            allow: sorted(allow),
            deny: sorted(deny),
        }
    }

    /// Tells whether a request for `path` passes: no deny rule matches it, and some allow rule does.
    ///
    /// `path` is the percent-decoded path of the URL with its leading slash. Hot path: allocates
    /// nothing.
    pub fn allows(&self, path: impl AsRef<[u8]>) -> bool {
        let path = path.as_ref();
        !any_matches(&self.deny, path) && any_matches(&self.allow, path)
    }

    /// Tells whether `other` allows, rule by rule, at least what this policy allows.
    ///
    /// Every allow rule must fall under one of `other`, and where one of `other`'s deny rules falls
    /// under it, this policy must deny that too. The rules are compared as text, so the answer is
    /// `false` for some policies that are subsets of each other in effect.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.allow.iter().all(|allowed| {
            any_matches(&other.allow, allowed.as_str().as_bytes())
                && other
                    .deny
                    .iter()
                    .filter(|denied| allowed.matches(denied.as_str()))
                    .all(|denied| any_matches(&self.deny, denied.as_str().as_bytes()))
        })
    }

    /// The allow rules, sorted.
    pub fn allow(&self) -> &[Pattern] {
        &self.allow
    }

    /// The deny rules, sorted.
    pub fn deny(&self) -> &[Pattern] {
        &self.deny
    }
}

fn any_matches(patterns: &[Pattern], path: &[u8]) -> bool {
    patterns.iter().any(|pattern| pattern.matches(path))
}

fn sorted<P: Into<Pattern>>(patterns: impl IntoIterator<Item = P>) -> Vec<Pattern> {
    let mut patterns: Vec<Pattern> = patterns.into_iter().map(Into::into).collect();
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Decision {
        #[serde(default)]
        allow: Vec<String>,
        #[serde(default)]
        deny: Vec<String>,
        path: String,
        allowed: bool,
    }

    #[test]
    fn decisions_are_those_of_the_original() {
        let vectors: Vec<Decision> =
            serde_json::from_str(include_str!("testdata/policy.json")).expect("vectors");
        assert!(vectors.len() > 300);
        for vector in vectors {
            let policy = Policy::new(vector.allow, vector.deny);
            assert_eq!(
                policy.allows(&vector.path),
                vector.allowed,
                "{policy:?} {}",
                vector.path
            );
        }
    }

    #[derive(Deserialize)]
    struct Inclusion {
        p_allow: Option<Vec<String>>,
        p_deny: Option<Vec<String>>,
        o_allow: Option<Vec<String>>,
        o_deny: Option<Vec<String>>,
        p_is_subset_of_o: bool,
    }

    #[test]
    fn subsets_are_those_of_the_original() {
        let vectors: Vec<Inclusion> =
            serde_json::from_str(include_str!("testdata/policy_subset.json")).expect("vectors");
        assert!(vectors.len() > 300);
        for vector in vectors {
            let p = Policy::new(
                vector.p_allow.unwrap_or_default(),
                vector.p_deny.unwrap_or_default(),
            );
            let o = Policy::new(
                vector.o_allow.unwrap_or_default(),
                vector.o_deny.unwrap_or_default(),
            );
            assert_eq!(p.is_subset_of(&o), vector.p_is_subset_of_o, "{p:?} {o:?}");
        }
    }

    #[test]
    fn no_allow_rule_overrides_a_deny_rule() {
        let policy = Policy::new(
            ["/v1/key/create/my-key1", "/v1/key/create/my*"],
            ["/v1/key/create/my-key*"],
        );
        assert!(!policy.allows("/v1/key/create/my-key1"));
        assert!(policy.allows("/v1/key/create/my-minio-key"));
        assert!(!Policy::default().allows("/version"));
    }

    #[test]
    fn rules_are_sorted_and_unique() {
        let policy = Policy::new(["b", "a", "b"], []);
        let rules: Vec<_> = policy.allow().iter().map(Pattern::as_str).collect();
        assert_eq!(rules, ["a", "b"]);
        assert!(policy.deny().is_empty());
    }
}

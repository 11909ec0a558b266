//! Layer 2: who may do what. Policies, and the set of them that is in force.

pub mod pattern;
pub mod policy;
pub mod policy_set;

//! Layer 2: who may do what. Policies, the set of them that is in force, and the decision.

pub(crate) mod actor;
mod handle;
pub(crate) mod messages;
pub mod pattern;
pub mod policy;
pub mod policy_set;
pub mod replicated;

pub use handle::{Authorizer, Denied, Permit};

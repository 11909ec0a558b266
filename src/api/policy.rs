//! Handlers of `/v1/policy/`.

use super::context::Api;
use super::dispatch::Admitted;
use super::error::ApiError;
use super::reply::Reply;
use crate::authz::pattern::Pattern;
use crate::base::name::{ListPattern, is_valid_name};
use crate::wire::go_json::to_go_json;
use crate::wire::policy::{Patterns, PolicyDescription, PolicyList, PolicyResponse};

pub(super) fn describe(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let name = policy_name(request)?;
    let policies = api.authorizer.policies();
    policies.policy(name).ok_or(ApiError::PolicyNotFound)?;
    Ok(Reply::json(to_go_json(&PolicyDescription {
        name: name.to_owned(),
        created_at: policies.created_at().to_rfc3339_local(),
        created_by: policies.admin().to_string(),
    })))
}

pub(super) fn read(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let name = policy_name(request)?;
    let policies = api.authorizer.policies();
    let policy = policies.policy(name).ok_or(ApiError::PolicyNotFound)?;
    Ok(Reply::json(to_go_json(&PolicyResponse {
        name: name.to_owned(),
        allow: rules(policy.allow()),
        deny: rules(policy.deny()),
        created_at: policies.created_at().to_rfc3339_local(),
        created_by: policies.admin().to_string(),
    })))
}

pub(super) fn list(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let pattern = pattern(request)?;
    let policies = api.authorizer.policies();
    let names = policies
        .policy_names(pattern.prefix)
        .map(str::to_owned)
        .collect();
    Ok(Reply::json(to_go_json(&PolicyList {
        names,
        continue_at: String::new(),
    })))
}

/// Patterns as the members of a JSON object, sorted.
pub(super) fn rules(patterns: &[Pattern]) -> Patterns {
    patterns.iter().map(Pattern::as_str).collect()
}

/// The pattern of a list call.
pub(super) fn pattern<'a>(request: &'a Admitted<'_>) -> Result<ListPattern<'a>, ApiError> {
    // Only key listings are continued.
    ListPattern::parse(request.resource())
        .filter(|pattern| !pattern.is_token())
        .ok_or_else(|| ApiError::InvalidPattern(request.resource().to_owned()))
}

fn policy_name<'a>(request: &'a Admitted<'_>) -> Result<&'a str, ApiError> {
    let name = request.resource();
    if is_valid_name(name) {
        Ok(name)
    } else {
        Err(ApiError::InvalidPolicyName(name.to_owned()))
    }
}

//! Handlers of `/v1/policy/`.

use super::audited::audited;
use super::context::Api;
use super::dispatch::{Admitted, Body};
use super::error::ApiError;
use super::key::{complete, on_blocking_pool};
use super::reply::Reply;
use crate::authz::pattern::Pattern;
use crate::base::identity::Identity;
use crate::base::limits::INLINE_BODY_BYTES_MAX;
use crate::base::name::{ListPattern, is_valid_name};
use crate::gateway::PolicyAdmin;
use crate::wire::go_json::to_go_json;
use crate::wire::policy::{Patterns, PolicyDescription, PolicyList, PolicyResponse};
use crate::wire::policy_request::{parse_assign_request, parse_policy_request};

pub(super) fn describe(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let name = policy_name(request)?;
    let policies = api.authorizer.policies();
    let defined = policies.policy(name).ok_or(ApiError::PolicyNotFound)?;
    Ok(Reply::json(to_go_json(&PolicyDescription {
        name: name.to_owned(),
        created_at: defined.origin.created_at.to_rfc3339_local(),
        created_by: defined.origin.created_by.to_string(),
    })))
}

pub(super) fn read(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let name = policy_name(request)?;
    let policies = api.authorizer.policies();
    let defined = policies.policy(name).ok_or(ApiError::PolicyNotFound)?;
    Ok(Reply::json(to_go_json(&PolicyResponse {
        name: name.to_owned(),
        allow: rules(defined.policy.allow()),
        deny: rules(defined.policy.deny()),
        created_at: defined.origin.created_at.to_rfc3339_local(),
        created_by: defined.origin.created_by.to_string(),
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

pub(super) async fn write(
    api: &Api,
    request: &Admitted<'_>,
    body: Body,
) -> Result<Reply, ApiError> {
    let name = policy_name(request)?.to_owned();
    let body = complete(body)?;
    let is_small = body.len() <= INLINE_BODY_BYTES_MAX;
    let parse = move || parse_policy_request(&body).map_err(|_| ApiError::InvalidBody);
    let rules = match is_small {
        true => parse()?,
        false => on_blocking_pool(parse).await?,
    };
    let (policies, by) = (policy_admin(api)?.clone(), request.identity.clone());
    let message = format!("policy '{name}' written");
    let write = async move {
        let allow = rules.allow.0.into_iter().collect();
        let deny = rules.deny.0.into_iter().collect();
        Ok(policies.write(&name, allow, deny, &by).await?)
    };
    audited(api, request, message, write).await
}

pub(super) async fn assign(
    api: &Api,
    request: &Admitted<'_>,
    body: Body,
) -> Result<Reply, ApiError> {
    let name = policy_name(request)?.to_owned();
    let parsed = parse_assign_request(&complete(body)?).map_err(|_| ApiError::InvalidBody)?;
    // Nobody has an answer of its own.
    if !parsed.identity.is_empty() && !is_valid_name(&parsed.identity) {
        return Err(ApiError::InvalidIdentity(parsed.identity));
    }
    let identity = Identity::from(parsed.identity);
    let (policies, by) = (policy_admin(api)?.clone(), request.identity.clone());
    let message = format!("policy '{name}' assigned to identity '{identity}'");
    let assign = async move { Ok(policies.assign(&name, &identity, &by).await?) };
    audited(api, request, message, assign).await
}

pub(super) async fn delete(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let name = policy_name(request)?.to_owned();
    let policies = policy_admin(api)?.clone();
    let message = format!("policy '{name}' deleted");
    let delete = async move { Ok(policies.delete(&name).await?) };
    audited(api, request, message, delete).await
}

/// What changes policies. The dispatcher lets nobody come here without a cluster.
pub(super) fn policy_admin(api: &Api) -> Result<&PolicyAdmin, ApiError> {
    api.policies.as_ref().ok_or(ApiError::NotAvailable)
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

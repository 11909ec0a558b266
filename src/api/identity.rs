//! Handlers of `/v1/identity/`.

use super::audited::audited;
use super::context::Api;
use super::dispatch::Admitted;
use super::error::ApiError;
use super::policy::{pattern, policy_admin, rules};
use super::reply::Reply;
use crate::base::identity::Identity;
use crate::base::name::is_valid_name;
use crate::wire::go_json::to_go_json;
use crate::wire::identity::{IdentityDescription, IdentityList, SelfDescription};
use crate::wire::policy::Patterns;

pub(super) fn describe(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let identity = named_identity(request)?;
    let policies = api.authorizer.policies();
    if policies.is_admin(&identity) {
        let created_at = policies.created_at().to_rfc3339_local();
        let described = IdentityDescription {
            admin: true,
            policy: String::new(),
            created_at,
            created_by: String::new(),
        };
        return Ok(Reply::json(to_go_json(&described)));
    }
    let assigned = policies
        .assigned(&identity)
        .ok_or(ApiError::IdentityNotFound)?;
    Ok(Reply::json(to_go_json(&IdentityDescription {
        admin: false,
        policy: assigned.name.to_string(),
        created_at: assigned.origin.created_at.to_rfc3339_local(),
        created_by: assigned.origin.created_by.to_string(),
    })))
}

pub(super) async fn delete(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let identity = named_identity(request)?;
    let policies = policy_admin(api)?.clone();
    let message = format!("identity '{identity}' deleted");
    let delete = async move { Ok(policies.delete_identity(&identity).await?) };
    audited(api, request, message, delete).await
}

pub(super) fn list(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let pattern = pattern(request)?;
    let policies = api.authorizer.policies();
    let identities = policies
        .identities(pattern.prefix)
        .map(Identity::to_string)
        .collect();
    Ok(Reply::json(to_go_json(&IdentityList {
        identities,
        continue_at: String::new(),
    })))
}

pub(super) fn describe_self(api: &Api, request: &Admitted<'_>) -> Result<Reply, ApiError> {
    let policies = api.authorizer.policies();
    let identity = request.identity.to_string();
    if policies.is_admin(&request.identity) {
        let created_at = policies.created_at().to_rfc3339_local();
        let described = SelfDescription {
            identity,
            admin: true,
            created_at,
            created_by: String::new(),
            policy: String::new(),
            allow: Patterns::default(),
            deny: Patterns::default(),
        };
        return Ok(Reply::json(to_go_json(&described)));
    }
    let assigned = policies
        .assigned(&request.identity)
        .ok_or(ApiError::IdentityNotFound)?;
    Ok(Reply::json(to_go_json(&SelfDescription {
        identity,
        created_at: assigned.origin.created_at.to_rfc3339_local(),
        created_by: assigned.origin.created_by.to_string(),
        policy: assigned.name.to_string(),
        allow: rules(assigned.policy.allow()),
        deny: rules(assigned.policy.deny()),
        admin: false,
    })))
}

fn named_identity(request: &Admitted<'_>) -> Result<Identity, ApiError> {
    let identity = request.resource();
    if is_valid_name(identity) {
        Ok(Identity::from(identity))
    } else {
        Err(ApiError::InvalidIdentity(identity.to_owned()))
    }
}

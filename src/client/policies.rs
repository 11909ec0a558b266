//! Changes of policies and of who is under them. Only servers of a cluster have these calls, and
//! those of before 2023-10.

use reqwest::Method;

use super::error::ClientError;
use super::transport::Call;
use super::{Client, Kind, path};
use crate::wire::policy_request::{self, PolicyRequest};

impl Client {
    /// `POST /v1/policy/write/`: writes a policy, over the one of that name.
    pub async fn write_policy(
        &self,
        name: &str,
        policy: &PolicyRequest,
    ) -> Result<(), ClientError> {
        let path = path("/v1/policy/write/", Kind::Policy, name)?;
        self.post_json(&path, policy_request::policy_request(policy))
            .await
    }

    /// `POST /v1/policy/assign/`: puts an identity under a policy, whatever it was under.
    pub async fn assign_policy(&self, name: &str, identity: &str) -> Result<(), ClientError> {
        let path = path("/v1/policy/assign/", Kind::Policy, name)?;
        self.post_json(&path, policy_request::assign_request(identity))
            .await
    }

    /// `DELETE /v1/policy/delete/`: deletes a policy, and takes it from everybody.
    pub async fn delete_policy(&self, name: &str) -> Result<(), ClientError> {
        let path = path("/v1/policy/delete/", Kind::Policy, name)?;
        self.succeed(Call::new(Method::DELETE, path)).await
    }

    /// `DELETE /v1/identity/delete/`: takes an identity from under its policy.
    pub async fn delete_identity(&self, identity: &str) -> Result<(), ClientError> {
        let path = path("/v1/identity/delete/", Kind::Identity, identity)?;
        self.succeed(Call::new(Method::DELETE, path)).await
    }

    async fn post_json(&self, path: &str, body: Vec<u8>) -> Result<(), ClientError> {
        let mut call = Call::new(Method::POST, path).with_body(body);
        call.announces_json = true;
        self.succeed(call).await
    }
}

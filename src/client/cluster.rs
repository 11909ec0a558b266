//! The members of a cluster, and its root key. Only the admin may ask.

use std::time::Duration;

use reqwest::Method;

use super::endpoint::Endpoint;
use super::error::ClientError;
use super::transport::Call;
use super::{Client, Kind, RESPONSE_BYTES_MAX, path, read};
use crate::wire::cluster::{self, ClusterStatus, JoinRequest, RotationSummary};

const STATUS: &str = "/v1/cluster/status";

/// Time for a change of the members. A new one first has to get all that the others know.
const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// Time for a change of everything that is stored.
pub(super) const REWRITE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

impl Client {
    /// `GET /v1/cluster/status`: the cluster as the node that answers sees it.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, ClientError> {
        self.get(STATUS, RESPONSE_BYTES_MAX, cluster::parse_cluster_status)
            .await
    }

    /// `POST /v1/cluster/join`: admits a node that belongs to no cluster yet.
    pub async fn join_member(&self, request: &JoinRequest) -> Result<(), ClientError> {
        let mut call = membership_call("/v1/cluster/join").with_body(cluster::join(request));
        call.announces_json = true;
        self.succeed(call).await
    }

    /// `POST /v1/cluster/promote/`: gives a learner a vote.
    pub async fn promote_member(&self, name: &str) -> Result<(), ClientError> {
        let path = path("/v1/cluster/promote/", Kind::Member, name)?;
        self.succeed(membership_call(&path)).await
    }

    /// `POST /v1/cluster/remove/`: takes out a member, dead or alive.
    pub async fn remove_member(&self, name: &str) -> Result<(), ClientError> {
        let path = path("/v1/cluster/remove/", Kind::Member, name)?;
        self.succeed(membership_call(&path)).await
    }

    /// `POST /v1/cluster/leave`: takes the node that is asked out of the cluster. The request is sent
    /// once: another try would ask a node that is no longer a member.
    ///
    /// # Errors
    ///
    /// Also [`ClientError::SeveralServers`], since any of them might be the one that leaves.
    pub async fn leave_cluster(&self) -> Result<(), ClientError> {
        let [endpoint] = self.endpoints.as_slice() else {
            let count = self.endpoints.len();
            return Err(ClientError::SeveralServers { count });
        };
        let call = membership_call("/v1/cluster/leave");
        let answer = self.transport.send(endpoint, &call).await?;
        answer.into_success().await.map(drop)
    }

    /// `POST /v1/cluster/root-key/rotate`: seals everything with the next root key. The request is sent
    /// once: another try would be another rotation.
    pub async fn rotate_root_key(&self) -> Result<RotationSummary, ClientError> {
        let endpoint = self.responsive_endpoint().await?;
        let call =
            Call::new(Method::POST, "/v1/cluster/root-key/rotate").with_timeout(REWRITE_TIMEOUT);
        let answer = self.transport.send(&endpoint, &call).await?;
        read(answer, RESPONSE_BYTES_MAX, cluster::parse_rotation_summary).await
    }

    /// A server that answers questions about the cluster, for requests that must not be sent twice.
    async fn responsive_endpoint(&self) -> Result<Endpoint, ClientError> {
        if let [endpoint] = self.endpoints.as_slice() {
            return Ok(endpoint.clone());
        }
        let answer = self.send(&Call::new(Method::GET, STATUS)).await?;
        Ok(answer.into_success().await?.endpoint)
    }
}

fn membership_call(path: &str) -> Call {
    Call::new(Method::POST, path).with_timeout(MEMBERSHIP_TIMEOUT)
}

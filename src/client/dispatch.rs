//! Gets a request answered: by one server or another, at the first try or a later one.

use std::sync::Arc;

use super::balance::Balancer;
use super::endpoint::Endpoint;
use super::error::ClientError;
use super::transport::{Answer, Call};
use super::{Client, endpoint, retry};

impl Client {
    /// Sends `call` to a server, and to others if it fails. The last answer or error is the result.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, ClientError> {
        if let [endpoint] = self.endpoints.as_slice() {
            return self.send_to(endpoint, call).await;
        }
        let balancer = self.balancer().await;
        let start = usize::try_from(retry::random_number()).unwrap_or(0) % self.endpoints.len();
        let round = balancer.round(start);
        let mut last = None;
        for &index in &round {
            if let Some(turn) = balancer.admit(index) {
                let result = self.send_to(&self.endpoints[index], call).await;
                let failed = retry::is_failure(&result);
                turn.finish(!failed);
                if !failed {
                    return result;
                }
                last = Some(result);
            }
        }
        match last {
            Some(result) => result,
            None => self.sweep(balancer, &round, call).await,
        }
    }

    /// Asks every server once, although all of them failed of late.
    async fn sweep(
        &self,
        balancer: &Balancer,
        round: &[usize],
        call: &Call,
    ) -> Result<Answer, ClientError> {
        // A round names a preferred server twice; the rest of it has every server once.
        let each = &round[round.len() - self.endpoints.len()..];
        let mut last = Err(ClientError::Setup("no server to ask".to_owned()));
        for &index in each {
            let turn = balancer.force(index);
            last = self.send_to(&self.endpoints[index], call).await;
            let failed = retry::is_failure(&last);
            turn.finish(!failed);
            if !failed {
                break;
            }
        }
        last
    }

    async fn balancer(&self) -> &Balancer {
        let new = || async {
            let localities = endpoint::localities(&self.endpoints).await;
            Balancer::new(&localities, Arc::clone(&self.clock))
        };
        self.balancer.get_or_init(new).await
    }

    /// Sends `call` to `endpoint`, several times if need be.
    pub(super) async fn send_to(
        &self,
        endpoint: &Endpoint,
        call: &Call,
    ) -> Result<Answer, ClientError> {
        let mut tries = 1;
        loop {
            let result = self.transport.send(endpoint, call).await;
            if tries == retry::TRIES_MAX || !retry::is_worth_another_try(&result) {
                return result;
            }
            drop(result);
            tries += 1;
            (self.pause)(retry::delay()).await;
        }
    }
}

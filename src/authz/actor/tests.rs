//! Tests of the one policy set made of two sources.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Addr, Message};
use tokio::sync::oneshot;

use super::*;
use crate::authz::policy::Policy;
use crate::authz::policy_set::Origin;
use crate::authz::replicated::Assignment;
use crate::base::clock::Timestamp;
use crate::base::identity::Identity;

fn configured(identity: &str) -> PolicySet {
    let policy = (
        "ops".to_owned(),
        vec!["/v1/metrics".to_owned()],
        Vec::new(),
        vec![Identity::from(identity)],
    );
    PolicySet::new("root".into(), Timestamp::ZERO, std::iter::once(policy)).expect("policies")
}

fn replicated(identity: &str) -> ReplicatedPolicies {
    let origin = Origin {
        is_replicated: true,
        created_at: Timestamp::ZERO,
        created_by: "root".into(),
    };
    ReplicatedPolicies {
        policies: vec![(
            "app".into(),
            Arc::new(Policy::new(["/v1/key/*"], [])),
            origin.clone(),
        )],
        assignments: vec![Assignment {
            identity: identity.into(),
            policy: "app".into(),
            origin,
        }],
    }
}

/// Tells the actor, and waits until it has published.
async fn tell<M>(actor: &Addr<AuthzActor>, message: impl FnOnce(oneshot::Sender<()>) -> M)
where
    AuthzActor: Handler<M>,
    Context<AuthzActor>: ToEnvelope<AuthzActor, M>,
    M: Message<Result = ()> + Send + 'static,
{
    let (reply, replied) = oneshot::channel();
    actor.try_send(message(reply)).expect("room");
    replied.await.expect("an answer");
}

#[actix::test]
async fn each_source_is_replaced_without_the_other() {
    let watch = DeathWatch::new("authorization", |_| {});
    let (actor, authorizer) = AuthzActor::start_with(configured("bob"), watch);
    let allows = |identity: &str, path: &str| authorizer.authorize(&identity.into(), path).is_ok();
    assert!(allows("bob", "/v1/metrics") && !allows("amy", "/v1/key/create/x"));

    let replicated = |identity| {
        move |reply| ReplaceReplicated {
            replicated: replicated(identity),
            reply,
        }
    };
    tell(&actor, replicated("amy")).await;
    assert!(allows("bob", "/v1/metrics") && allows("amy", "/v1/key/create/x"));

    let policies = configured("eve");
    tell(&actor, |reply| ReplacePolicies { policies, reply }).await;
    assert!(!allows("bob", "/v1/metrics") && allows("eve", "/v1/metrics"));
    assert!(allows("amy", "/v1/key/create/x"), "a reload keeps it");

    tell(&actor, replicated("zoe")).await;
    assert!(!allows("amy", "/v1/key/create/x") && allows("zoe", "/v1/key/create/x"));
    assert!(allows("eve", "/v1/metrics"));
}

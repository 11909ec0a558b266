//! Calls that change policies: what is sent.

use super::server::{Server, answer};
use super::*;
use crate::wire::policy_request::PolicyRequest;

#[tokio::test]
async fn changes_are_sent_as_documented() {
    let server = Server::start(|_, _| answer(200, "text/plain", "")).await;
    let (client, _) = client(&[&server]);
    let policy = PolicyRequest {
        allow: ["/v1/key/*"].into_iter().collect(),
        ..PolicyRequest::default()
    };
    client.write_policy("app", &policy).await.expect("write");
    client.assign_policy("a/b", "amy").await.expect("assign");
    client.delete_policy("app").await.expect("delete");
    client.delete_identity("amy").await.expect("delete");
    assert_eq!(
        server.lines(),
        [
            "POST /v1/policy/write/app",
            "POST /v1/policy/assign/a%2Fb",
            "DELETE /v1/policy/delete/app",
            "DELETE /v1/identity/delete/amy",
        ]
    );
    let requests = server.requests();
    for request in &requests[..2] {
        assert!(request.head.contains("content-type: application/json"));
    }
    assert_eq!(
        requests[0].body,
        "{\"allow\":[\"/v1/key/*\"],\"deny\":[]}\n"
    );
    assert_eq!(requests[1].body, "{\"identity\":\"amy\"}\n");
    let refused = client.delete_identity("..").await.expect_err("dots");
    assert!(refused.is_api(
        400,
        "identity '..' is empty, too long or contains invalid characters"
    ));
}

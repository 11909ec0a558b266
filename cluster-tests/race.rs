//! Many clients, one name.

use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::harness::http::{Dial, Request};
use crate::harness::server::Server;

const CLIENTS: usize = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_clients_that_create_one_name_exactly_one_succeeds() {
    let server = Server::recorded("http.yml");
    let dial = Dial::named(server.port, "admin");
    for round in 0..5 {
        let path = format!("/v1/key/create/contested-{round}");
        let start = Arc::new(Barrier::new(CLIENTS));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (dial, start) = (dial.clone(), Arc::clone(&start));
            let request = Request::new("PUT", &path);
            clients.spawn(async move {
                let mut connection = dial.connect().await.expect("connect");
                start.wait().await;
                let answer = connection.exchange(&request).await.expect("answer");
                (answer.status, answer.text())
            });
        }
        let answers = clients.join_all().await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.0 == 200);
        assert_eq!(won.len(), 1, "round {round}: {won:?}");
        let exists = (400, "{\"message\":\"key already exists\"\n}".to_owned());
        assert!(
            lost.iter().all(|answer| *answer == exists),
            "round {round}: {lost:?}"
        );
        let generate = Request::new("PUT", &path.replace("create", "generate")).body("{}");
        assert_eq!(dial.request(&generate).await.expect("generate").status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn create_and_delete_of_one_name_leave_it_either_there_or_not() {
    let server = Server::recorded("http.yml");
    let dial = Dial::named(server.port, "admin");
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let dial = dial.clone();
        clients.spawn(async move {
            let mut connection = dial.connect().await.expect("connect");
            let mut balance = 0i32;
            for _ in 0..40 {
                let request = match number % 2 {
                    0 => Request::new("PUT", "/v1/key/create/flicker"),
                    _ => Request::new("DELETE", "/v1/key/delete/flicker"),
                };
                let answer = connection.exchange(&request).await.expect("answer");
                match (number % 2, answer.status) {
                    (0, 200) => balance += 1,
                    (1, 200) => balance -= 1,
                    (0, 400) | (1, 404) => {}
                    (_, status) => panic!("{status} {}", answer.text()),
                }
            }
            balance
        });
    }
    let balance: i32 = clients.join_all().await.into_iter().sum();
    let answer = dial
        .get("/v1/key/describe/flicker")
        .await
        .expect("describe");
    let expected = if balance == 1 { 200 } else { 404 };
    assert!(
        (0..=1).contains(&balance),
        "{balance} more created than deleted"
    );
    assert_eq!(answer.status, expected, "{}", answer.text());
}

//! Black-box tests of the whole product: the `kes` program is started, spoken to over real TLS
//! sockets and killed. Nothing here may use the crate itself; what is asserted comes from the
//! written contract and from the exchanges recorded in `data/`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code; clippy only knows functions marked as tests"
)]
#![expect(
    clippy::print_stderr,
    reason = "measurements are reported, and shown by the test runner on failure"
)]

mod backup;
mod cluster;
mod crash;
mod harness;
mod hostile;
mod http_proxy;
mod identity;
mod lifecycle;
mod logs;
mod lone_cluster;
mod patience;
mod policies;
mod quickstart;
mod race;
mod reload;
mod transcripts;

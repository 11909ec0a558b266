//! The command line behind an HTTP proxy: `HTTPS_PROXY` and `NO_PROXY`, as everywhere.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::certs::api_key;
use crate::harness::server::{Server, output_within};

const LIMIT: Duration = Duration::from_secs(30);

/// A proxy whose tunnels all lead to `port`, whatever host was asked for; its own port.
async fn start_proxy(port: u16, tunnels: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("bind");
    let own = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let tunnels = Arc::clone(&tunnels);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await?);
                }
                if head.starts_with(b"CONNECT kes.invalid:7373 ") {
                    tunnels.fetch_add(1, Ordering::SeqCst);
                    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                    copy_bidirectional(&mut client, &mut server).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    own
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_variables_of_a_proxy_are_honored() {
    let server = Server::recorded("http.yml");
    let tunnels = Arc::new(AtomicUsize::new(0));
    let proxy = start_proxy(server.port, Arc::clone(&tunnels)).await;
    let status = |endpoint: &str, no_proxy: &str| {
        let mut command = server.run.command(&["status", "-k", "--json"]);
        command
            .env("KES_SERVER", endpoint)
            .env("KES_API_KEY", api_key("admin"))
            .env("HTTPS_PROXY", format!("http://127.0.0.1:{proxy}"))
            .env("NO_PROXY", no_proxy);
        tokio::task::spawn_blocking(move || output_within(&mut command, LIMIT))
    };
    // No resolver knows this name (RFC 6761): only the proxy leads there.
    let through = status("https://kes.invalid:7373", "").await.expect("a run");
    assert!(through.status.success(), "{through:?}");
    assert!(tunnels.load(Ordering::SeqCst) > 0);

    let before = tunnels.load(Ordering::SeqCst);
    let excepted = status("https://kes.invalid:7373", "kes.invalid").await;
    assert!(!excepted.expect("a run").status.success());
    let local = format!("https://127.0.0.1:{}", server.port);
    let local = status(&local, "").await.expect("a run");
    assert!(local.status.success(), "{local:?}");
    assert_eq!(
        tunnels.load(Ordering::SeqCst),
        before,
        "neither needs the proxy"
    );
}

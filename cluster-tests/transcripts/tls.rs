//! The recorded handshakes. Versions and suites that our own TLS client cannot offer are offered by
//! a hand-made ClientHello, and the alert that comes back is read from its record.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use rustls::ProtocolVersion;
use rustls::crypto::aws_lc_rs::cipher_suite;
use serde_json::{Value, json};

use super::{differs, strings};
use crate::harness::http::{Dial, End};

/// Compares one handshake with its recording.
pub(super) async fn compare(port: u16, case: &Value) -> Result<(), String> {
    let name = case["name"].as_str().expect("name");
    let args = strings(&case["args"]);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let got = match args.as_slice() {
        ["-tls1_1"] => alert_for(port, client_hello(0x0302, &[0xc009, 0xc013, 0x002f])),
        ["-tls1_2", "-cipher", "AES128-SHA"] => alert_for(port, client_hello(0x0303, &[0x002f])),
        _ => shake(port, &args).await?,
    };
    let recorded = &case["got"];
    let fields = &case["expectations"][name]["fields"];
    let fields = match fields.is_array() {
        true => strings(fields),
        false => ["ok", "protocol", "alpn", "ca_names", "alert"]
            .map(str::to_owned)
            .to_vec(),
    };
    for field in fields {
        if recorded[&field] != got[&field] {
            return Err(differs(&field, recorded.to_string(), got.to_string()));
        }
    }
    Ok(())
}

async fn shake(port: u16, args: &[&str]) -> Result<Value, String> {
    let mut dial = Dial::named(port, "admin").alpn(&[]);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "-tls1_3" => dial.versions = vec![&rustls::version::TLS13],
            "-tls1_2" => dial.versions = vec![&rustls::version::TLS12],
            "-alpn" => match args.next() {
                Some(&"foo") => dial = dial.alpn(&["foo"]),
                _ => dial = dial.alpn(&["http/1.1"]),
            },
            "-ciphersuites" => {
                args.next();
                dial.suites = vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
            }
            other => return Err(format!("unknown option {other}")),
        }
    }
    match dial.connect().await {
        Ok(connection) => {
            let tls = connection.stream.get_ref().1;
            let protocol = match tls.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "other",
            };
            let suite = tls.negotiated_cipher_suite().map(|suite| suite.suite());
            let cipher =
                suite.and_then(|suite| suite.as_str().map(|name| name.replace("TLS13_", "TLS_")));
            let alpn = tls.alpn_protocol().map(String::from_utf8_lossy);
            Ok(json!({
                "ok": true, "protocol": protocol, "cipher": cipher, "alpn": alpn,
                "ca_names": connection.ca_names_seen(),
            }))
        }
        Err(End::Alert(alert)) => Ok(json!({"ok": false, "alert": u8::from(alert)})),
        Err(end) => Err(format!("expected a handshake or an alert\n    got {end}")),
    }
}

/// Sends a ClientHello and reads the alert.
fn alert_for(port: u16, hello: Vec<u8>) -> Value {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("time limit");
    socket.write_all(&hello).expect("send");
    let mut record = [0u8; 7];
    match socket.read_exact(&mut record) {
        // Record type 21 is an alert: level, description.
        Ok(()) if record[0] == 21 => json!({"ok": false, "alert": record[6]}),
        Ok(()) => json!({"ok": true, "record": record[0]}),
        Err(error) => json!({"ok": false, "error": error.to_string()}),
    }
}

/// A ClientHello of `version` that offers `suites`, as RFC 5246, 7.4.1.2 writes it, with the groups
/// and signature schemes that every client names.
fn client_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let with_length = |bytes: &[u8]| -> Vec<u8> {
        let length = u16::try_from(bytes.len()).expect("fits").to_be_bytes();
        [&length[..], bytes].concat()
    };
    let numbers = |values: &[u16]| -> Vec<u8> {
        with_length(
            &values
                .iter()
                .flat_map(|value| value.to_be_bytes())
                .collect::<Vec<u8>>(),
        )
    };
    let extension = |kind: u16, body: Vec<u8>| -> Vec<u8> {
        [&kind.to_be_bytes()[..], &with_length(&body)].concat()
    };
    let extensions = [
        extension(10, numbers(&[0x001d, 0x0017])),
        extension(11, vec![1, 0]),
        extension(13, numbers(&[0x0807, 0x0403, 0x0804, 0x0401, 0x0201])),
    ]
    .concat();
    let body = [
        &version.to_be_bytes()[..],
        &[0x42; 32],
        &[0],
        &numbers(suites),
        &[1, 0],
        &with_length(&extensions),
    ]
    .concat();
    let length = u32::try_from(body.len()).expect("fits").to_be_bytes();
    let handshake = [&[1][..], &length[1..], &body].concat();
    [&[22, 3, 1][..], &with_length(&handshake)].concat()
}

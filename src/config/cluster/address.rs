//! The form of addresses. Whether there is anybody at them is found out later, and may change.

use std::net::Ipv6Addr;

/// Tells whether `text` is `HOST:PORT`, with an IPv6 address in brackets.
pub(super) fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| is_host(host) && is_port(port))
}

/// Tells whether `text` is `HOST:PORT` or `:PORT`.
pub(super) fn is_listen_address(text: &str) -> bool {
    is_host_port(text) || text.strip_prefix(':').is_some_and(is_port)
}

/// `https://HOST[:PORT]` without a slash at its end; `None` if `text` is something else.
pub(super) fn https_origin(text: &str) -> Option<&str> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let origin = text.strip_prefix("https://")?;
    (is_host(origin) || is_host_port(origin)).then_some(text)
}

fn is_host(host: &str) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        let ip = bracketed.strip_suffix(']');
        return ip.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
    }
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.bytes().all(is_host_byte)
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for text in [
            "node1:7374",
            "n-1.example.org:1",
            "10.0.0.1:65535",
            "[::1]:7374",
        ] {
            assert!(is_host_port(text) && is_listen_address(text), "{text}");
        }
        for text in [
            "",
            "node1",
            ":7374",
            "node1:",
            "node1:0",
            "node1:+7",
            "node1:65536",
            "node1:https",
            "::1:7374",
            "[::1]",
            "[::g]:7374",
            "https://node1:7374",
            "node 1:7374",
            "user@node1:7374",
        ] {
            assert!(!is_host_port(text), "{text}");
        }
        assert!(is_listen_address(":7374") && !is_listen_address(":"));
    }

    #[test]
    fn an_origin_has_no_path() {
        for (text, expected) in [
            ("https://kes.example", Some("https://kes.example")),
            (
                "https://kes.example:7373/",
                Some("https://kes.example:7373"),
            ),
            ("https://[::1]:7373", Some("https://[::1]:7373")),
            ("https://", None),
            ("http://kes.example", None),
            ("kes.example:7373", None),
            ("https://kes.example/v1", None),
        ] {
            assert_eq!(https_origin(text), expected, "{text}");
        }
    }
}

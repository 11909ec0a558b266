//! Where servers are: how an address is written, and how near it is.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use if_addrs::IfAddr;
use reqwest::Url;

use super::error::ClientError;

/// Time to find out where a host is.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// The address of a server.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// `https://host:port`, without a trailing slash, otherwise as configured.
    pub(super) text: String,
    /// The host, without brackets.
    pub(super) host: String,
    /// The port, 443 if none is configured.
    pub(super) port: u16,
    /// Whether packets to it cannot leave this host.
    pub(super) is_loopback: bool,
}

/// How near a server is; the nearest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Locality {
    /// On this host.
    Localhost,
    /// In a network that this host is part of.
    Local,
    /// Anywhere else.
    Remote,
}

impl Endpoint {
    /// Parses addresses as users write them: each may itself be a list separated by commas. `https://` is
    /// added where it is missing, `http://` is replaced by it, and a trailing slash is dropped.
    pub(super) fn parse_all(configured: &[String]) -> Result<Vec<Self>, ClientError> {
        let endpoints: Vec<Self> = configured
            .iter()
            .flat_map(|list| list.split(','))
            .map(Self::parse)
            .collect::<Result<_, _>>()?;
        match endpoints.is_empty() {
            true => Err(invalid("", "there is none")),
            false => Ok(endpoints),
        }
    }

    fn parse(configured: &str) -> Result<Self, ClientError> {
        let trimmed = configured.trim();
        let bare = trimmed.strip_prefix("http://").unwrap_or(trimmed);
        let bare = bare.strip_prefix("https://").unwrap_or(bare);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        if bare.is_empty() {
            return Err(invalid(configured, "host is missing"));
        }
        let text = format!("https://{bare}");
        let url = Url::parse(&text).map_err(|error| invalid(configured, &error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(configured, "must not contain credentials"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid(configured, "must end with the host and the port"));
        }
        let host = url.host_str().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let is_loopback = match host.parse::<IpAddr>() {
            Ok(ip) => ip.to_canonical().is_loopback(),
            Err(_) => host == "localhost",
        };
        Ok(Self {
            text,
            host,
            port: url.port().unwrap_or(443),
            is_loopback,
        })
    }

    /// The address a connection goes to, as Go prints it: resolved if that is possible.
    pub(super) async fn dialed(&self) -> String {
        match self.first_address().await {
            Some(address) => address.to_string(),
            None => format!("{}:{}", self.host, self.port),
        }
    }

    async fn first_address(&self) -> Option<SocketAddr> {
        if let Ok(ip) = self.host.parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, self.port));
        }
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        let mut addresses = tokio::time::timeout(LOOKUP_TIMEOUT, lookup)
            .await
            .ok()?
            .ok()?;
        addresses.next()
    }
}

fn invalid(endpoint: &str, reason: &str) -> ClientError {
    ClientError::InvalidEndpoint {
        endpoint: endpoint.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Finds out how near each of `endpoints` is. Takes no longer than one name look-up may.
pub(super) async fn localities(endpoints: &[Endpoint]) -> Vec<Locality> {
    let interfaces: Vec<IfAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .map(|interface| interface.addr)
        .collect();
    let interfaces = &interfaces;
    let each = endpoints.iter().map(|endpoint| async move {
        if endpoint.is_loopback {
            return Locality::Localhost;
        }
        match endpoint.first_address().await {
            Some(address) => locality_of(address.ip().to_canonical(), interfaces),
            None => Locality::Remote,
        }
    });
    join_all(each).await
}

fn locality_of(ip: IpAddr, interfaces: &[IfAddr]) -> Locality {
    if interfaces.iter().any(|interface| interface.ip() == ip) {
        return Locality::Localhost;
    }
    let shares_network = |interface: &IfAddr| match (interface, ip) {
        (IfAddr::V4(v4), IpAddr::V4(ip)) => {
            let mask = v4.netmask.to_bits();
            v4.ip.to_bits() & mask == ip.to_bits() & mask
        }
        (IfAddr::V6(v6), IpAddr::V6(ip)) => {
            let mask = v6.netmask.to_bits();
            v6.ip.to_bits() & mask == ip.to_bits() & mask
        }
        _ => false,
    };
    match interfaces.iter().any(shares_network) {
        true => Locality::Local,
        false => Locality::Remote,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use if_addrs::Ifv4Addr;

    use super::*;

    fn texts(configured: &str) -> Vec<String> {
        Endpoint::parse_all(&[configured.to_owned()])
            .expect(configured)
            .into_iter()
            .map(|endpoint| endpoint.text)
            .collect()
    }

    #[test]
    fn addresses_are_completed() {
        for (configured, expected) in [
            ("127.0.0.1:7373", "https://127.0.0.1:7373"),
            (" https://kes.example/ ", "https://kes.example"),
            ("http://kes.example:7373", "https://kes.example:7373"),
            ("[::1]:7373", "https://[::1]:7373"),
        ] {
            assert_eq!(texts(configured), [expected]);
        }
        assert_eq!(texts("a:1, b:2"), ["https://a:1", "https://b:2"]);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for configured in [
            "",
            "https://",
            " ",
            "a:1,",
            "a b",
            "host:port",
            "a?x=1",
            "a#b",
            "u:p@a",
        ] {
            let refused = Endpoint::parse_all(&[configured.to_owned()]);
            assert!(
                matches!(refused, Err(ClientError::InvalidEndpoint { .. })),
                "{configured:?}"
            );
        }
        assert!(Endpoint::parse_all(&[]).is_err());
    }

    #[test]
    fn only_this_host_is_loopback() {
        for (configured, expected) in [
            ("127.0.0.1:1", true),
            ("127.8.8.8", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]:7", true),
            ("localhost:7373", true),
            ("localhost.example", false),
            ("192.0.2.1", false),
            ("127.0.0.1.example", false),
        ] {
            let parsed = Endpoint::parse_all(&[configured.to_owned()]).expect(configured);
            assert_eq!(parsed[0].is_loopback, expected, "{configured}");
        }
    }

    #[test]
    fn nearness_is_told_from_the_interfaces() {
        let interface = IfAddr::V4(Ifv4Addr {
            ip: Ipv4Addr::new(192, 0, 2, 7),
            netmask: Ipv4Addr::new(255, 255, 255, 0),
            prefixlen: 24,
            broadcast: None,
        });
        let of = |last: [u8; 4]| locality_of(IpAddr::from(last), std::slice::from_ref(&interface));
        assert_eq!(of([192, 0, 2, 7]), Locality::Localhost);
        assert_eq!(of([192, 0, 2, 8]), Locality::Local);
        assert_eq!(of([198, 51, 100, 7]), Locality::Remote);
    }
}

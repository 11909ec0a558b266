//! Says what went wrong on the network in the words of Go, which operators and scripts know.

use std::error::Error as StdError;
use std::io;

use reqwest::Method;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::endpoint::Endpoint;
use super::error::ClientError;
use crate::base::clock::Timestamp;

/// The error of a request for `path` of `endpoint`.
pub(super) async fn explain(
    method: &Method,
    endpoint: &Endpoint,
    path: &str,
    error: &reqwest::Error,
) -> ClientError {
    let method = go_method(method);
    let url = format!("{}{path}", endpoint.text);
    let connection = |cause: String| ClientError::Connection {
        method: method.clone(),
        url: url.clone(),
        cause,
        is_timeout: error.is_timeout(),
    };
    if let Some(tls) = tls_error(error) {
        return match tls {
            rustls::Error::AlertReceived(alert) => {
                connection(format!("remote error: tls: {}", alert_text(*alert)))
            }
            other => ClientError::Tls {
                method,
                url,
                cause: tls_text(other, &endpoint.host),
            },
        };
    }
    if error.is_connect() && has_message(error, "dns error") {
        return connection(format!("dial tcp: lookup {}: no such host", endpoint.host));
    }
    if error.is_connect() {
        let address = endpoint.dialed().await;
        return connection(match (error.is_timeout(), io_error(error)) {
            (true, _) => format!("dial tcp {address}: i/o timeout"),
            (false, Some(io)) if is_eof(io) => "EOF".to_owned(),
            (false, Some(io)) => format!("dial tcp {address}: connect: {}", io_text(io)),
            (false, None) => format!("dial tcp {address}: {}", root_text(error)),
        });
    }
    if error.is_timeout() {
        let awaiting = "(Client.Timeout exceeded while awaiting headers)";
        return connection(format!("context deadline exceeded {awaiting}"));
    }
    connection(match io_error(error) {
        Some(io) if is_eof(io) => "EOF".to_owned(),
        Some(io) => format!(
            "read tcp {}: read: {}",
            endpoint.dialed().await,
            io_text(io)
        ),
        None if has_message(error, "connection closed before message completed") => {
            "EOF".to_owned()
        }
        None => root_text(error),
    })
}

/// A method as Go's errors spell it: `Get`.
pub(super) fn go_method(method: &Method) -> String {
    let (first, rest) = method.as_str().split_at(1);
    format!("{first}{}", rest.to_ascii_lowercase())
}

/// `error` and what caused it, the outermost first; what I/O errors wrap is part of it.
fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let outermost: &(dyn StdError + 'static) = error;
    std::iter::successors(Some(outermost), |error| cause_of(*error))
}

fn cause_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let wrapped = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match wrapped {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn tls_error(error: &reqwest::Error) -> Option<&rustls::Error> {
    chain(error).find_map(|error| error.downcast_ref())
}

fn io_error(error: &reqwest::Error) -> Option<&io::Error> {
    chain(error).filter_map(|error| error.downcast_ref()).last()
}

fn has_message(error: &reqwest::Error, message: &str) -> bool {
    chain(error).any(|error| error.to_string().starts_with(message))
}

fn root_text(error: &reqwest::Error) -> String {
    chain(error)
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn is_eof(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

fn io_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        io::ErrorKind::ConnectionAborted => "software caused connection abort".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        io::ErrorKind::BrokenPipe => "broken pipe".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        _ => error.to_string(),
    }
}

fn alert_text(alert: AlertDescription) -> String {
    let known = match alert {
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::InternalError => "internal error",
        AlertDescription::NoApplicationProtocol => "no application protocol",
        other => return format!("alert {other:?}"),
    };
    known.to_owned()
}

fn tls_text(error: &rustls::Error, host: &str) -> String {
    match error {
        rustls::Error::InvalidCertificate(reason) => {
            format!(
                "failed to verify certificate: x509: {}",
                certificate_text(reason, host)
            )
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "first record does not look like a TLS handshake".to_owned()
        }
        other => other.to_string(),
    }
}

/// What is wrong with the certificate of a server.
fn certificate_text(error: &CertificateError, host: &str) -> String {
    const NOT_NOW: &str = "certificate has expired or is not yet valid: current time";
    let time = |time: &rustls::pki_types::UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Timestamp { seconds, nanos: 0 }.to_rfc3339()
    };
    match error {
        CertificateError::UnknownIssuer => "certificate signed by unknown authority".to_owned(),
        CertificateError::Expired | CertificateError::NotValidYet => {
            "certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::ExpiredContext {
            time: now,
            not_after,
        } => {
            format!("{NOT_NOW} {} is after {}", time(now), time(not_after))
        }
        CertificateError::NotValidYetContext {
            time: now,
            not_before,
        } => {
            format!("{NOT_NOW} {} is before {}", time(now), time(not_before))
        }
        CertificateError::NotValidForName => format!("certificate is not valid for {host}"),
        CertificateError::NotValidForNameContext { presented, .. } => {
            name_mismatch_text(presented, host)
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate specifies an incompatible key usage".to_owned()
        }
        other => other.to_string(),
    }
}

/// `presented` are names as rustls prints them: `DnsName("a")`, `IpAddress(192.0.2.1)`.
fn name_mismatch_text(presented: &[String], host: &str) -> String {
    let names = |kind: &str| -> Vec<&str> {
        presented
            .iter()
            .filter_map(|name| name.strip_prefix(kind)?.strip_suffix(')'))
            .map(|name| name.trim_matches('"'))
            .collect()
    };
    let is_ip = host.parse::<std::net::IpAddr>().is_ok();
    let valid_for = match is_ip {
        true => names("IpAddress("),
        false => names("DnsName("),
    };
    match (is_ip, valid_for.is_empty()) {
        (true, true) => {
            format!("cannot validate certificate for {host} because it doesn't contain any IP SANs")
        }
        (false, true) => {
            format!("certificate is not valid for any names, but wanted to match {host}")
        }
        (_, false) => format!(
            "certificate is valid for {}, not {host}",
            valid_for.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    #[test]
    fn certificates_are_refused_in_the_words_of_go() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired = CertificateError::ExpiredContext {
            time: at(1_700_000_001),
            not_after: at(1_700_000_000),
        };
        assert_eq!(
            certificate_text(&expired, "h"),
            "certificate has expired or is not yet valid: current time 2023-11-14T22:13:21Z is after \
             2023-11-14T22:13:20Z"
        );
        let issuer = CertificateError::UnknownIssuer;
        assert_eq!(
            certificate_text(&issuer, "h"),
            "certificate signed by unknown authority"
        );
    }

    #[test]
    fn wrong_names_are_listed() {
        let presented = ["DnsName(\"a\")".to_owned(), "DnsName(\"b\")".to_owned()];
        assert_eq!(
            name_mismatch_text(&presented, "c"),
            "certificate is valid for a, b, not c"
        );
        assert_eq!(
            name_mismatch_text(&presented, "192.0.2.1"),
            "cannot validate certificate for 192.0.2.1 because it doesn't contain any IP SANs"
        );
        assert_eq!(
            name_mismatch_text(&[], "c"),
            "certificate is not valid for any names, but wanted to match c"
        );
        let presented = ["IpAddress(192.0.2.1)".to_owned()];
        assert_eq!(
            name_mismatch_text(&presented, "192.0.2.2"),
            "certificate is valid for 192.0.2.1, not 192.0.2.2"
        );
    }

    #[test]
    fn methods_and_alerts_are_spelled_as_go_does() {
        assert_eq!(go_method(&Method::GET), "Get");
        assert_eq!(go_method(&Method::DELETE), "Delete");
        assert_eq!(
            alert_text(AlertDescription::CertificateRequired),
            "certificate required"
        );
        assert_eq!(
            alert_text(AlertDescription::DecryptError),
            "alert DecryptError"
        );
    }
}

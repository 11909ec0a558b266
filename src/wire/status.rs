//! The answers about the server itself: `/version`, `/v1/status` and `/v1/api`.

use serde::{Deserialize, Serialize};

use super::lenient::{is_false, is_zero, or_default, whole};

/// The answer of `/version`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct VersionResponse {
    /// Version of the server.
    #[serde(default, deserialize_with = "or_default")]
    pub version: String,
    /// The commit it was built from; servers before 2022-12 do not say.
    #[serde(default, deserialize_with = "or_default")]
    pub commit: String,
}

/// The answer of `/v1/status`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusResponse {
    /// Version of the server.
    #[serde(deserialize_with = "or_default")]
    pub version: String,
    /// Operating system in the spelling of Go: `linux`, `darwin`, `windows`.
    #[serde(deserialize_with = "or_default")]
    pub os: String,
    /// Processor in the spelling of Go: `amd64`, `arm64`, `ppc64le`.
    #[serde(deserialize_with = "or_default")]
    pub arch: String,
    /// Seconds since the start of the server.
    #[serde(deserialize_with = "whole")]
    pub uptime: u64,
    /// Logical CPUs of the host.
    #[serde(deserialize_with = "or_default")]
    pub num_cpu: u64,
    /// CPUs that the server may use.
    #[serde(deserialize_with = "or_default")]
    pub num_cpu_used: u64,
    /// Bytes of memory in use on the heap.
    #[serde(deserialize_with = "or_default")]
    pub mem_heap_used: u64,
    /// Bytes of memory in use by stacks.
    #[serde(deserialize_with = "or_default")]
    pub mem_stack_used: u64,
    /// Milliseconds that the keystore took to answer, at least 1; 0, and left out, if it did not.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "whole")]
    pub keystore_latency: u64,
    /// The status of the keystore is an error. Every client insists on it beside `keystore_unreachable`.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "or_default")]
    pub keystore_unavailable: bool,
    /// The error is that the keystore cannot be reached.
    #[serde(skip_serializing_if = "is_false", deserialize_with = "or_default")]
    pub keystore_unreachable: bool,
}

/// One route in the answer of `/v1/api`, which is an array of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ApiRoute {
    /// HTTP method.
    #[serde(deserialize_with = "or_default")]
    pub method: String,
    /// Path, or its prefix if it ends in a slash.
    #[serde(deserialize_with = "or_default")]
    pub path: String,
    /// Bytes of the largest body.
    #[serde(deserialize_with = "whole")]
    pub max_body: u64,
    /// Seconds until the connection is cut; 0 for never.
    #[serde(deserialize_with = "whole")]
    pub timeout: u64,
}

macro_rules! reader {
    ($name:ident -> $answer:ty, $route:literal) => {
        #[doc = concat!("Parses the answer of `", $route, "`.")]
        ///
        /// # Errors
        ///
        /// If `body` does not begin with JSON of that shape.
        pub fn $name(body: &[u8]) -> Result<$answer, serde_json::Error> {
            super::lenient::read(body)
        }
    };
}
pub(super) use reader;

reader!(parse_version -> VersionResponse, "/version");
reader!(parse_status -> StatusResponse, "/v1/status");
reader!(parse_api_routes -> Vec<ApiRoute>, "/v1/api");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::go_json::to_go_json;

    fn text(value: &impl Serialize) -> String {
        String::from_utf8(to_go_json(value)).expect("UTF-8")
    }

    fn status() -> StatusResponse {
        StatusResponse {
            version: "2025-03-12T09-35-18Z".to_owned(),
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            uptime: 12,
            num_cpu: 2,
            num_cpu_used: 2,
            mem_heap_used: 1_098_808,
            mem_stack_used: 360_448,
            keystore_latency: 1,
            keystore_unavailable: false,
            keystore_unreachable: false,
        }
    }

    #[test]
    fn a_version_is_written_as_documented() {
        let version = VersionResponse {
            version: "<unknown>".to_owned(),
            commit: "c".to_owned(),
        };
        let expected = "{\"version\":\"\\u003cunknown\\u003e\",\"commit\":\"c\"}\n";
        assert_eq!(text(&version), expected);
        assert_eq!(parse_version(expected.as_bytes()).expect("JSON"), version);
        let old = parse_version(br#"{"version":"0.13.0"}"#).expect("JSON");
        assert_eq!((&*old.version, &*old.commit), ("0.13.0", ""));
    }

    #[test]
    fn a_status_is_written_as_documented() {
        assert_eq!(
            text(&status()),
            "{\"version\":\"2025-03-12T09-35-18Z\",\"os\":\"linux\",\"arch\":\"amd64\",\"uptime\":12,\
             \"num_cpu\":2,\"num_cpu_used\":2,\"mem_heap_used\":1098808,\"mem_stack_used\":360448,\
             \"keystore_latency\":1}\n"
        );
        let unreachable = StatusResponse {
            keystore_latency: 0,
            keystore_unavailable: true,
            keystore_unreachable: true,
            ..status()
        };
        let written = text(&unreachable);
        let expected = "\"mem_stack_used\":360448,\"keystore_unavailable\":true,\"keystore_unreachable\":true}\n";
        assert!(written.ends_with(expected), "{written}");
        assert_eq!(parse_status(written.as_bytes()).expect("JSON"), unreachable);
    }

    #[test]
    fn a_status_of_another_server_is_tolerated() {
        let body = br#"{"version":"v","uptime":12.9,"os":null,"keystore_unreachable":true,"x":{}}"#;
        let read = parse_status(body).expect("JSON");
        assert_eq!((&*read.version, read.uptime, &*read.os), ("v", 12, ""));
        assert!(read.keystore_unreachable && !read.keystore_unavailable);
        assert!(parse_status(b"").is_err());
        assert!(parse_status(br#"{"uptime":-1.5}"#).is_err());
    }

    #[test]
    fn routes_are_written_as_documented() {
        let route = ApiRoute {
            method: "PUT".to_owned(),
            path: "/v1/key/create/".to_owned(),
            max_body: 0,
            timeout: 15,
        };
        let expected =
            "[{\"method\":\"PUT\",\"path\":\"/v1/key/create/\",\"max_body\":0,\"timeout\":15}]\n";
        assert_eq!(text(&[&route]), expected);
        assert_eq!(
            parse_api_routes(expected.as_bytes()).expect("JSON"),
            [route]
        );
    }
}

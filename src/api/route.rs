//! The route table. It routes, sets limits, and answers `/v1/api`.

use std::borrow::Cow;
use std::time::Duration;

use super::path;
use crate::base::limits::{ASSIGN_BODY_BYTES_MAX, BODY_BYTES_MAX, POLICY_BODY_BYTES_MAX};
use crate::wire::cluster::RESTORE_CHUNK_BYTES_MAX;

/// What a route does; the dispatcher has one handler for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Version,
    Ready,
    Status,
    Metrics,
    ListRoutes,
    CreateKey,
    ImportKey,
    DescribeKey,
    ListKeys,
    DeleteKey,
    Encrypt,
    Generate,
    Decrypt,
    Hmac,
    DescribePolicy,
    ReadPolicy,
    ListPolicies,
    WritePolicy,
    AssignPolicy,
    DeletePolicy,
    DescribeIdentity,
    ListIdentities,
    DeleteIdentity,
    DescribeSelf,
    ErrorLog,
    AuditLog,
    ClusterStatus,
    JoinCluster,
    PromoteMember,
    RemoveMember,
    LeaveCluster,
    SaveSnapshot,
    BeginRestore,
    RestoreData,
    CommitRestore,
    RotateRootKey,
}

/// Who may call a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// Everybody; nobody is even identified.
    Public,
    /// Everybody; the caller is identified if possible.
    Identified,
    /// Whom the policies allow.
    Authorized,
    /// The admin, whatever policies say.
    Admin,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) operation: Operation,
    pub(super) method: &'static str,
    /// With a final slash: a subtree, and what follows is the resource.
    pub(super) path: &'static str,
    pub(super) access: Access,
    /// Only a node that is part of a cluster has the route.
    pub(super) clustered: bool,
    pub(super) body_bytes_max: usize,
    /// Zero: none.
    pub(super) timeout: Duration,
    /// Whether its requests count in the request metrics.
    pub(super) counted: bool,
    /// Whether the configuration may open it to everybody.
    pub(super) may_skip_auth: bool,
}

impl Route {
    /// Whether a node has the route that is part of a cluster or not.
    pub(super) fn exists(&self, is_clustered: bool) -> bool {
        is_clustered || !self.clustered
    }
}

const fn route(
    operation: Operation,
    method: &'static str,
    path: &'static str,
    body_bytes_max: usize,
) -> Route {
    Route {
        operation,
        method,
        path,
        access: Access::Authorized,
        clustered: false,
        body_bytes_max,
        timeout: Duration::from_secs(15),
        counted: true,
        may_skip_auth: false,
    }
}

/// The routes of the server itself: not counted, and some may be opened.
const fn server_route(
    operation: Operation,
    path: &'static str,
    timeout_s: u64,
    may_skip_auth: bool,
) -> Route {
    Route {
        timeout: Duration::from_secs(timeout_s),
        counted: false,
        may_skip_auth,
        ..route(operation, "GET", path, 0)
    }
}

/// The routes of a cluster.
const fn cluster_route(
    operation: Operation,
    method: &'static str,
    path: &'static str,
    timeout_s: u64,
) -> Route {
    Route {
        access: Access::Admin,
        clustered: true,
        timeout: Duration::from_secs(timeout_s),
        counted: false,
        ..route(operation, method, path, 0)
    }
}

/// The routes that change what the cluster says about policies: for whom the policies allow them.
const fn policy_route(
    operation: Operation,
    method: &'static str,
    path: &'static str,
    body_bytes_max: usize,
) -> Route {
    Route {
        clustered: true,
        ..route(operation, method, path, body_bytes_max)
    }
}

/// All routes; the ones that are called most stand first.
pub(super) static ROUTES: [Route; 36] = [
    route(
        Operation::Decrypt,
        "PUT",
        "/v1/key/decrypt/",
        BODY_BYTES_MAX,
    ),
    route(
        Operation::Generate,
        "PUT",
        "/v1/key/generate/",
        BODY_BYTES_MAX,
    ),
    route(
        Operation::Encrypt,
        "PUT",
        "/v1/key/encrypt/",
        BODY_BYTES_MAX,
    ),
    route(Operation::Hmac, "PUT", "/v1/key/hmac/", BODY_BYTES_MAX),
    route(Operation::DescribeKey, "GET", "/v1/key/describe/", 0),
    route(Operation::CreateKey, "PUT", "/v1/key/create/", 0),
    route(
        Operation::ImportKey,
        "PUT",
        "/v1/key/import/",
        BODY_BYTES_MAX,
    ),
    route(Operation::ListKeys, "GET", "/v1/key/list/", 0),
    route(Operation::DeleteKey, "DELETE", "/v1/key/delete/", 0),
    Route {
        access: Access::Public,
        ..server_route(Operation::Version, "/version", 10, false)
    },
    server_route(Operation::Ready, "/v1/ready", 15, true),
    server_route(Operation::Status, "/v1/status", 15, true),
    server_route(Operation::Metrics, "/v1/metrics", 15, true),
    server_route(Operation::ListRoutes, "/v1/api", 10, true),
    route(Operation::DescribePolicy, "GET", "/v1/policy/describe/", 0),
    route(Operation::ReadPolicy, "GET", "/v1/policy/read/", 0),
    route(Operation::ListPolicies, "GET", "/v1/policy/list/", 0),
    route(
        Operation::DescribeIdentity,
        "GET",
        "/v1/identity/describe/",
        0,
    ),
    route(Operation::ListIdentities, "GET", "/v1/identity/list/", 0),
    Route {
        access: Access::Identified,
        ..route(
            Operation::DescribeSelf,
            "GET",
            "/v1/identity/self/describe",
            0,
        )
    },
    server_route(Operation::ErrorLog, "/v1/log/error", 0, false),
    server_route(Operation::AuditLog, "/v1/log/audit", 0, false),
    cluster_route(Operation::ClusterStatus, "GET", "/v1/cluster/status", 15),
    Route {
        body_bytes_max: 4096,
        ..cluster_route(Operation::JoinCluster, "POST", "/v1/cluster/join", 120)
    },
    cluster_route(
        Operation::PromoteMember,
        "POST",
        "/v1/cluster/promote/",
        120,
    ),
    cluster_route(Operation::RemoveMember, "POST", "/v1/cluster/remove/", 120),
    cluster_route(Operation::LeaveCluster, "POST", "/v1/cluster/leave", 120),
    cluster_route(Operation::SaveSnapshot, "GET", "/v1/cluster/snapshot", 60),
    cluster_route(
        Operation::BeginRestore,
        "POST",
        "/v1/cluster/restore/begin",
        15,
    ),
    Route {
        body_bytes_max: RESTORE_CHUNK_BYTES_MAX,
        ..cluster_route(
            Operation::RestoreData,
            "PUT",
            "/v1/cluster/restore/data/",
            15,
        )
    },
    cluster_route(
        Operation::CommitRestore,
        "POST",
        "/v1/cluster/restore/commit/",
        30 * 60,
    ),
    cluster_route(
        Operation::RotateRootKey,
        "POST",
        "/v1/cluster/root-key/rotate",
        30 * 60,
    ),
    policy_route(
        Operation::WritePolicy,
        "POST",
        "/v1/policy/write/",
        POLICY_BODY_BYTES_MAX,
    ),
    policy_route(
        Operation::AssignPolicy,
        "POST",
        "/v1/policy/assign/",
        ASSIGN_BODY_BYTES_MAX,
    ),
    policy_route(Operation::DeletePolicy, "DELETE", "/v1/policy/delete/", 0),
    policy_route(
        Operation::DeleteIdentity,
        "DELETE",
        "/v1/identity/delete/",
        0,
    ),
];

/// What the configuration changes about a route.
#[derive(Clone, Debug)]
pub struct RouteOverride {
    /// Exact path of the route, with its final slash if it has one. Unknown paths have no effect.
    pub path: String,
    /// Opens the route to everybody, where that is possible.
    pub skip_auth: bool,
    /// Replaces the route's time-out.
    pub timeout: Option<Duration>,
}

/// The routes with the configuration's changes.
#[derive(Debug)]
pub struct RouteTable {
    settings: Vec<RouteSettings>,
}

/// Effective settings of one route, in the order of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouteSettings {
    pub(super) access: Access,
    pub(super) timeout: Duration,
}

/// Where a request goes.
#[derive(Debug)]
pub(super) enum RouteMatch<'a> {
    Route {
        index: usize,
        path: Cow<'a, str>,
        resource_at: usize,
    },
    /// To this path, which keeps the request's query.
    Redirect(String),
    NotFound,
    /// The path has a malformed escape.
    Malformed,
}

impl RouteTable {
    /// Applies `overrides` to the table.
    pub fn new(overrides: &[RouteOverride]) -> Self {
        let settings = ROUTES
            .iter()
            .map(|route| {
                let of_path = overrides.iter().filter(|change| change.path == route.path);
                let mut settings = RouteSettings {
                    access: route.access,
                    timeout: route.timeout,
                };
                for change in of_path {
                    if change.skip_auth && route.may_skip_auth {
                        settings.access = Access::Identified;
                    }
                    settings.timeout = change.timeout.unwrap_or(settings.timeout);
                }
                settings
            })
            .collect();
        Self { settings }
    }

    /// Whether the configuration opened a route to clients without a certificate.
    pub fn is_any_open(&self) -> bool {
        self.iter()
            .any(|(route, settings)| settings.access != route.access)
    }

    pub(super) fn settings(&self, index: usize) -> RouteSettings {
        // The indices come from the table that the settings were made from.
        self.settings.get(index).copied().unwrap_or(RouteSettings {
            access: Access::Authorized,
            timeout: Duration::from_secs(15),
        })
    }

    /// Every route with its settings.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static Route, RouteSettings)> {
        ROUTES.iter().zip(self.settings.iter().copied())
    }
}

/// Finds the route of the encoded path `raw`, on a node that is part of a cluster or not.
pub(super) fn find(raw: &str, is_clustered: bool) -> RouteMatch<'_> {
    let cleaned = path::clean(raw);
    let was_clean = matches!(cleaned, Cow::Borrowed(_));
    if was_clean && let Some(found) = match_routes(raw, is_clustered) {
        return found;
    }
    let with_slash = format!("{cleaned}/");
    let mut existing = ROUTES.iter().filter(|route| route.exists(is_clustered));
    if existing.any(|route| route.path == with_slash) {
        return RouteMatch::Redirect(with_slash);
    }
    if was_clean {
        RouteMatch::NotFound
    } else {
        RouteMatch::Redirect(cleaned.into_owned())
    }
}

/// Matches a clean path. Escapes in the fixed part are decoded segment by segment, so that an
/// encoded slash never separates segments.
fn match_routes(raw: &str, is_clustered: bool) -> Option<RouteMatch<'_>> {
    let Some(decoded) = path::decode(raw) else {
        return Some(RouteMatch::Malformed);
    };
    for (index, route) in ROUTES.iter().enumerate() {
        let is_subtree = route.path.ends_with('/');
        let matches = if is_subtree {
            decoded.starts_with(route.path)
        } else {
            decoded == route.path
        };
        if matches
            && route.exists(is_clustered)
            && (!raw.contains('%') || fixed_part_matches(raw, route.path))
        {
            return Some(RouteMatch::Route {
                index,
                resource_at: route.path.len(),
                path: decoded,
            });
        }
    }
    None
}

/// Whether the segments of the encoded path are those of the route, each decoded on its own.
fn fixed_part_matches(raw: &str, route: &str) -> bool {
    let mut segments = raw.split('/');
    let fixed = route.strip_suffix('/').unwrap_or(route);
    fixed.split('/').all(|want| {
        segments
            .next()
            .and_then(path::decode)
            .is_some_and(|have| have == want)
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        raw_path: String,
        matched_route: String,
        router_status: Option<u16>,
        location: Option<String>,
    }

    #[test]
    fn every_recorded_path_goes_where_it_should() {
        let vectors: Vec<Vector> =
            serde_json::from_str(include_str!("testdata/routes.json")).expect("vectors");
        assert!(vectors.len() > 300);
        for vector in vectors {
            let raw = vector.raw_path.split('?').next().expect("a path");
            match find(raw, false) {
                RouteMatch::Route { index, .. } => {
                    assert_eq!(vector.router_status, None, "{raw}");
                    assert_eq!(ROUTES[index].path, vector.matched_route, "{raw}");
                }
                RouteMatch::Redirect(location) => {
                    assert_eq!(vector.router_status, Some(301), "{raw}");
                    let want = vector.location.expect("a location");
                    assert_eq!(location, want.split('?').next().expect("a path"), "{raw}");
                }
                RouteMatch::NotFound => assert_eq!(vector.router_status, Some(404), "{raw}"),
                RouteMatch::Malformed => panic!("{raw} is malformed"),
            }
        }
    }

    #[test]
    fn some_routes_are_those_of_a_cluster() {
        for path in [
            "/v1/cluster/status",
            "/v1/policy/write/x",
            "/v1/policy/assign/x",
            "/v1/policy/delete/x",
            "/v1/identity/delete/x",
        ] {
            assert!(matches!(find(path, false), RouteMatch::NotFound), "{path}");
            assert!(
                matches!(find(path, true), RouteMatch::Route { .. }),
                "{path}"
            );
        }
        let without_slash = "/v1/policy/write";
        assert!(matches!(find(without_slash, false), RouteMatch::NotFound));
        assert!(matches!(find(without_slash, true), RouteMatch::Redirect(_)));
    }

    #[test]
    fn an_encoded_slash_separates_nothing() {
        let find = |raw: &'static str| find(raw, false);
        assert!(matches!(find("/v1%2Fkey/create/x"), RouteMatch::NotFound));
        assert!(matches!(
            find("/v1/ke%79/create/x"),
            RouteMatch::Route { .. }
        ));
        assert!(matches!(find("/v1/key/create%2Fx"), RouteMatch::NotFound));
        assert!(matches!(find("/v1/key/create/%zz"), RouteMatch::Malformed));
    }

    #[test]
    fn only_some_routes_can_be_opened() {
        let open = |path: &str| RouteOverride {
            path: path.to_owned(),
            skip_auth: true,
            timeout: Some(Duration::from_secs(3)),
        };
        let table = RouteTable::new(&[open("/v1/ready"), open("/v1/key/decrypt/"), open("/nope")]);
        for (route, settings) in table.iter() {
            match route.path {
                "/v1/ready" => assert_eq!(settings.access, Access::Identified),
                "/v1/key/decrypt/" => {
                    assert_eq!(settings.access, Access::Authorized);
                    assert_eq!(settings.timeout, Duration::from_secs(3));
                }
                _ => assert_eq!(settings.access, route.access),
            }
        }
    }
}

//! The requests and answers below `/v1/cluster/`, which the original does not have.

use serde::de::MapAccess;
use serde::{Deserialize, Serialize};

use super::go_json;
use super::lenient::or_default;
use super::object::{self, Members, is};
use super::request::InvalidBody;
use super::status::reader;

/// The type of the answer of `/v1/cluster/snapshot`.
pub const SNAPSHOT_CONTENT_TYPE: &str = "application/octet-stream";

/// Most bytes of one piece of a backup that is sent to `/v1/cluster/restore/data/`.
pub const RESTORE_CHUNK_BYTES_MAX: usize = 512 << 10;

/// The answer of `/v1/cluster/status`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterStatus {
    /// Hex; empty if the node belongs to no cluster.
    #[serde(deserialize_with = "or_default")]
    pub cluster_id: String,
    /// Name of the node that answers. All the rest is what this node knows.
    #[serde(deserialize_with = "or_default")]
    pub node: String,
    /// Name of the leader; empty if there is none.
    #[serde(deserialize_with = "or_default")]
    pub leader: String,
    /// The current term.
    #[serde(deserialize_with = "or_default")]
    pub term: u64,
    /// How the cluster is doing.
    #[serde(deserialize_with = "or_default")]
    pub health: ClusterHealth,
    /// Index of the last entry that the node has applied.
    #[serde(deserialize_with = "or_default")]
    pub applied: u64,
    /// Index of the last entry that is known to be committed.
    #[serde(deserialize_with = "or_default")]
    pub committed: u64,
    /// Number of keys.
    #[serde(deserialize_with = "or_default")]
    pub keys: u64,
    /// Number of policies that are not from a configuration.
    #[serde(deserialize_with = "or_default")]
    pub policies: u64,
    /// Number of identities that are not from a configuration.
    #[serde(deserialize_with = "or_default")]
    pub identities: u64,
    /// What keys are sealed with.
    #[serde(deserialize_with = "or_default")]
    pub root_key: RootKeyStatus,
    /// Everybody who belongs to the cluster.
    #[serde(deserialize_with = "or_default")]
    pub members: Vec<MemberStatus>,
}

/// How a cluster is doing, as one of its nodes sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterHealth {
    /// All members can be reached and follow closely.
    Healthy,
    /// There is a quorum, but not everybody is there.
    Degraded,
    /// Nothing can be changed, and before long nothing be read.
    #[serde(rename = "no quorum")]
    NoQuorum,
    /// The node waits to be admitted, or has left.
    #[serde(rename = "not a member")]
    NotAMember,
    /// A backup is being read back.
    Restoring,
    /// Something that only newer versions know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl ClusterHealth {
    /// As it is on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::NoQuorum => "no quorum",
            Self::NotAMember => "not a member",
            Self::Restoring => "restoring",
            Self::Unknown => "unknown",
        }
    }
}

/// The root key that is in use.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RootKeyStatus {
    /// How many there have been, this one included.
    #[serde(deserialize_with = "or_default")]
    pub epoch: u32,
    /// Hex. It tells root keys apart, and reveals nothing of them.
    #[serde(deserialize_with = "or_default")]
    pub key_id: String,
    /// Some keys are still sealed with an older one.
    #[serde(deserialize_with = "or_default")]
    pub rotating: bool,
}

/// One member of a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberStatus {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Hex. A node that lost its disk comes back with another.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
    /// How other nodes reach it, `HOST:PORT`.
    #[serde(deserialize_with = "or_default")]
    pub address: String,
    /// How clients reach it, `https://HOST:PORT`; may be empty.
    #[serde(deserialize_with = "or_default")]
    pub api: String,
    /// What it does at present.
    #[serde(deserialize_with = "or_default")]
    pub role: MemberRole,
    /// Whether it counts for a quorum.
    #[serde(deserialize_with = "or_default")]
    pub voter: bool,
    /// Index of the last entry that it is known to have.
    #[serde(deserialize_with = "or_default")]
    pub applied: u64,
    /// By how many entries it is behind the leader.
    #[serde(deserialize_with = "or_default")]
    pub lag: u64,
    /// Whether it answers.
    #[serde(deserialize_with = "or_default")]
    pub reachable: bool,
    /// Version of its program; empty if it does not answer.
    #[serde(deserialize_with = "or_default")]
    pub version: String,
}

/// What a member does at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberRole {
    /// Decides what is changed, and in what order.
    Leader,
    /// Follows, and may become leader.
    Follower,
    /// Wants to become leader.
    Candidate,
    /// Follows without a vote.
    Learner,
    /// Nobody knows.
    #[default]
    #[serde(other)]
    Unknown,
}

impl MemberRole {
    /// As it is on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Unknown => "unknown",
        }
    }
}

/// The body of `/v1/cluster/join`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct JoinRequest {
    /// The name that the new member must have.
    pub name: String,
    /// Where it listens for other nodes, `HOST:PORT`.
    pub address: String,
    /// It stays without a vote.
    pub learner: bool,
}

impl<'de> Members<'de> for JoinRequest {
    fn read<A: MapAccess<'de>>(&mut self, name: &[u8], map: &mut A) -> Result<bool, A::Error> {
        if is(name, "name") {
            self.name = object::text(map)?;
        } else if is(name, "address") {
            self.address = object::text(map)?;
        } else if is(name, "learner") {
            self.learner = map.next_value::<Option<bool>>()?.unwrap_or_default();
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

/// Writes the body of `/v1/cluster/join`.
pub fn join(request: &JoinRequest) -> Vec<u8> {
    go_json::to_go_json(request)
}

/// Parses the body of `/v1/cluster/join`.
///
/// # Errors
///
/// [`InvalidBody`] if it is empty, not JSON, or a member has a value of the wrong type.
pub fn parse_join(body: &[u8]) -> Result<JoinRequest, InvalidBody> {
    object::parse(body).map_err(|_| InvalidBody)
}

/// The answer of `/v1/cluster/restore/begin`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RestoreBegun {
    /// What the other calls name this restore by.
    #[serde(deserialize_with = "or_default")]
    pub id: String,
}

/// The answer of `/v1/cluster/restore/commit/`: what is there now.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RestoreSummary {
    /// Number of keys.
    #[serde(deserialize_with = "or_default")]
    pub keys: u64,
    /// Number of policies.
    #[serde(deserialize_with = "or_default")]
    pub policies: u64,
    /// Number of identities.
    #[serde(deserialize_with = "or_default")]
    pub identities: u64,
}

/// The answer of `/v1/cluster/root-key/rotate`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RotationSummary {
    /// How many root keys there have been, the new one included.
    #[serde(deserialize_with = "or_default")]
    pub epoch: u32,
    /// The new root key, in hex.
    #[serde(deserialize_with = "or_default")]
    pub key_id: String,
    /// How many records were sealed again.
    #[serde(deserialize_with = "or_default")]
    pub resealed: u64,
}

reader!(parse_cluster_status -> ClusterStatus, "/v1/cluster/status");
reader!(parse_restore_begun -> RestoreBegun, "/v1/cluster/restore/begin");
reader!(parse_restore_summary -> RestoreSummary, "/v1/cluster/restore/commit/");
reader!(parse_rotation_summary -> RotationSummary, "/v1/cluster/root-key/rotate");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::go_json::to_go_json;

    fn text(value: &impl Serialize) -> String {
        String::from_utf8(to_go_json(value)).expect("UTF-8")
    }

    fn status() -> ClusterStatus {
        ClusterStatus {
            cluster_id: "c1".to_owned(),
            node: "node1".to_owned(),
            leader: "node2".to_owned(),
            term: 7,
            health: ClusterHealth::NoQuorum,
            applied: 41,
            committed: 42,
            keys: 3,
            policies: 2,
            identities: 1,
            root_key: RootKeyStatus {
                epoch: 1,
                key_id: "ab".to_owned(),
                rotating: false,
            },
            members: vec![MemberStatus {
                name: "node1".to_owned(),
                id: "1f".to_owned(),
                address: "h:7374".to_owned(),
                api: String::new(),
                role: MemberRole::Follower,
                voter: true,
                applied: 41,
                lag: 1,
                reachable: true,
                version: "v".to_owned(),
            }],
        }
    }

    #[test]
    fn a_status_is_written_as_documented() {
        let expected = "{\"cluster_id\":\"c1\",\"node\":\"node1\",\"leader\":\"node2\",\"term\":7,\
            \"health\":\"no quorum\",\"applied\":41,\"committed\":42,\"keys\":3,\"policies\":2,\
            \"identities\":1,\"root_key\":{\"epoch\":1,\"key_id\":\"ab\",\"rotating\":false},\
            \"members\":[{\"name\":\"node1\",\"id\":\"1f\",\"address\":\"h:7374\",\"api\":\"\",\
            \"role\":\"follower\",\"voter\":true,\"applied\":41,\"lag\":1,\"reachable\":true,\
            \"version\":\"v\"}]}\n";
        assert_eq!(text(&status()), expected);
        let read = parse_cluster_status(expected.as_bytes()).expect("JSON");
        assert_eq!(read, status());
    }

    #[test]
    fn every_word_is_written_and_read_and_others_are_tolerated() {
        for health in [
            ClusterHealth::Healthy,
            ClusterHealth::Degraded,
            ClusterHealth::NoQuorum,
            ClusterHealth::NotAMember,
            ClusterHealth::Restoring,
            ClusterHealth::Unknown,
        ] {
            let word = format!("\"{}\"\n", health.as_str());
            assert_eq!(text(&health), word);
            assert_eq!(
                serde_json::from_str::<ClusterHealth>(&word).ok(),
                Some(health)
            );
        }
        for role in [
            MemberRole::Leader,
            MemberRole::Follower,
            MemberRole::Candidate,
            MemberRole::Learner,
            MemberRole::Unknown,
        ] {
            let word = format!("\"{}\"\n", role.as_str());
            assert_eq!(text(&role), word);
            assert_eq!(serde_json::from_str::<MemberRole>(&word).ok(), Some(role));
        }
        let newer = br#"{"health":"sleepy","members":[{"role":"witness","zone":"z"},{"role":null}],"root_key":null}"#;
        let read = parse_cluster_status(newer).expect("JSON");
        assert_eq!(read.health, ClusterHealth::Unknown);
        assert_eq!(read.members, vec![MemberStatus::default(); 2]);
    }

    #[test]
    fn a_join_is_read_as_it_is_written() {
        let request = JoinRequest {
            name: "node4".to_owned(),
            address: "h:7374".to_owned(),
            learner: true,
        };
        let body = join(&request);
        let expected = b"{\"name\":\"node4\",\"address\":\"h:7374\",\"learner\":true}\n";
        assert_eq!(body, expected);
        assert_eq!(parse_join(&body), Ok(request));
        let voter = parse_join(br#"{"Name":"n","address":null,"learner":null,"x":1}"#);
        let expected = JoinRequest {
            name: "n".to_owned(),
            ..JoinRequest::default()
        };
        assert_eq!(voter, Ok(expected));
        for body in [&b""[..], b"[]", b"{\"learner\":1}"] {
            assert_eq!(parse_join(body), Err(InvalidBody));
        }
    }

    #[test]
    fn the_other_answers_are_written_as_documented() {
        let begun = RestoreBegun { id: "7".to_owned() };
        assert_eq!(text(&begun), "{\"id\":\"7\"}\n");
        assert_eq!(parse_restore_begun(b"{\"id\":\"7\"}").ok(), Some(begun));
        let summary = RestoreSummary {
            keys: 3,
            policies: 2,
            identities: 1,
        };
        let expected = "{\"keys\":3,\"policies\":2,\"identities\":1}\n";
        assert_eq!(text(&summary), expected);
        let read = parse_restore_summary(expected.as_bytes());
        assert_eq!(read.ok(), Some(summary));
        let rotation = RotationSummary {
            epoch: 2,
            key_id: "ab".to_owned(),
            resealed: 9,
        };
        let expected = "{\"epoch\":2,\"key_id\":\"ab\",\"resealed\":9}\n";
        assert_eq!(text(&rotation), expected);
        let read = parse_rotation_summary(expected.as_bytes());
        assert_eq!(read.ok(), Some(rotation));
    }
}

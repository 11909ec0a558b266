//! From what was written to what it means: a node that can tell others who it is, and find them.

use std::collections::HashMap;
use std::time::Duration;

use crate::base::name::is_valid_name;
use crate::base::secret::SecretString;
use crate::config::cluster::address::{https_origin, is_host_port, is_listen_address};
use crate::config::cluster::{ClusterConfig, ClusterFile, RootKeySource};
use crate::config::duration::GoDuration;
use crate::config::error::ConfigError;

const ADDRESS_DEFAULT: &str = "0.0.0.0:7374";
const HEARTBEAT_DEFAULT: GoDuration = GoDuration::from_nanos(100_000_000);
const ELECTION_DEFAULT: GoDuration = GoDuration::from_nanos(600_000_000);
const STALE_READS_DEFAULT: GoDuration = GoDuration::from_nanos(300_000_000_000);

/// More often than this, nodes do little else than to show that they are there.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

/// Heartbeats that must fit into the time after which a follower no longer waits: one that is lost
/// or late must not cost a leader its place.
const HEARTBEATS_PER_ELECTION: u32 = 3;

const NOT_SPECIFIED: &str = "not specified";
const NO_HOST_PORT: &str = "is not of the form HOST:PORT";

impl ClusterFile {
    /// The section, complete and without contradiction.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Cluster`] with the first key that is wrong, in the order of the documentation.
    pub(in crate::config) fn resolve(self) -> Result<ClusterConfig, ConfigError> {
        check_name(&self.name)?;
        let address = or_default(self.address, ADDRESS_DEFAULT);
        if !is_listen_address(&address) {
            return Err(invalid_value(
                "cluster.address",
                &address,
                "is not of the form IP:PORT",
            ));
        }
        check_members(&self.members)?;
        let advertise = resolve_advertise(self.advertise, &self.name, &self.members)?;
        let api = resolve_api(&self.api)?;
        if self.path.is_empty() {
            return Err(invalid("cluster.path", NOT_SPECIFIED));
        }
        let root_keys = resolve_root_keys(self.root_key_file, self.root_key_value)?;
        let (heartbeat, election) = resolve_timing(self.heartbeat, self.election)?;
        Ok(ClusterConfig {
            name: self.name,
            address,
            advertise,
            api,
            path: self.path.into(),
            root_keys,
            members: self.members,
            heartbeat,
            election,
            stale_reads: duration(
                "cluster.stale_reads",
                self.stale_reads.unwrap_or(STALE_READS_DEFAULT),
            )?,
        })
    }
}

fn check_name(name: &str) -> Result<(), ConfigError> {
    match name {
        "" => Err(invalid("cluster.name", NOT_SPECIFIED)),
        _ if !is_valid_name(name) => Err(invalid_value(
            "cluster.name",
            name,
            "is too long or contains invalid characters",
        )),
        _ => Ok(()),
    }
}

/// Names differ already, being keys of one mapping.
fn check_members(members: &[(String, String)]) -> Result<(), ConfigError> {
    let mut by_address: HashMap<String, &str> = HashMap::new();
    for (name, address) in members {
        if !is_valid_name(name) {
            let problem = format!("'{name}' is empty, too long or contains invalid characters");
            return Err(invalid("cluster.members", &problem));
        }
        let key = format!("cluster.members.{name}");
        if address.is_empty() {
            return Err(invalid(&key, NOT_SPECIFIED));
        }
        if !is_host_port(address) {
            return Err(invalid_value(&key, address, NO_HOST_PORT));
        }
        if let Some(other) = by_address.insert(address.to_ascii_lowercase(), name) {
            let problem = format!("is the address of '{other}' already");
            return Err(invalid_value(&key, address, &problem));
        }
    }
    Ok(())
}

/// What was given, or what the other nodes know this one by.
fn resolve_advertise(
    given: String,
    name: &str,
    members: &[(String, String)],
) -> Result<String, ConfigError> {
    const KEY: &str = "cluster.advertise";
    if given.is_empty() {
        return match members.iter().find(|(member, _)| member == name) {
            Some((_, address)) => Ok(address.clone()),
            None => {
                let problem = format!("not specified, and 'cluster.members' has no '{name}'");
                Err(invalid(KEY, &problem))
            }
        };
    }
    if !is_host_port(&given) {
        return Err(invalid_value(KEY, &given, NO_HOST_PORT));
    }
    let other = members
        .iter()
        .find(|(member, address)| member != name && address.eq_ignore_ascii_case(&given));
    match other {
        None => Ok(given),
        Some((other, _)) => {
            let problem = format!("is the address of '{other}' already");
            Err(invalid_value(KEY, &given, &problem))
        }
    }
}

fn resolve_api(text: &str) -> Result<Option<String>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    match https_origin(text) {
        Some(origin) => Ok(Some(origin.to_owned())),
        None => Err(invalid_value(
            "cluster.api",
            text,
            "is not of the form https://HOST[:PORT]",
        )),
    }
}

fn resolve_root_keys(file: String, value: SecretString) -> Result<RootKeySource, ConfigError> {
    const KEY: &str = "cluster.root_key";
    match (file.is_empty(), value.expose().is_empty()) {
        (false, true) => Ok(RootKeySource::File(file.into())),
        (true, false) => Ok(RootKeySource::Value(value)),
        (true, true) => Err(invalid(KEY, "neither 'file' nor 'value' specified")),
        (false, false) => Err(invalid(KEY, "both 'file' and 'value' specified")),
    }
}

fn resolve_timing(
    heartbeat: Option<GoDuration>,
    election: Option<GoDuration>,
) -> Result<(Duration, Duration), ConfigError> {
    const HEARTBEAT: &str = "cluster.timing.heartbeat";
    const ELECTION: &str = "cluster.timing.election";
    let (heartbeat, election) = (
        heartbeat.unwrap_or(HEARTBEAT_DEFAULT),
        election.unwrap_or(ELECTION_DEFAULT),
    );
    let (beat, wait) = (
        duration(HEARTBEAT, heartbeat)?,
        duration(ELECTION, election)?,
    );
    if beat < HEARTBEAT_MIN {
        let problem = format!("is less than {}ms", HEARTBEAT_MIN.as_millis());
        return Err(invalid_value(HEARTBEAT, &heartbeat.to_string(), &problem));
    }
    if beat.saturating_mul(HEARTBEATS_PER_ELECTION) > wait {
        let problem = format!("is less than three times the heartbeat of '{heartbeat}'");
        return Err(invalid_value(ELECTION, &election.to_string(), &problem));
    }
    Ok((beat, wait))
}

fn duration(key: &str, value: GoDuration) -> Result<Duration, ConfigError> {
    value
        .to_std()
        .ok_or_else(|| invalid_value(key, &value.to_string(), "is negative"))
}

fn or_default(text: String, default: &str) -> String {
    match text.is_empty() {
        true => default.to_owned(),
        false => text,
    }
}

fn invalid(key: &str, problem: &str) -> ConfigError {
    ConfigError::Cluster {
        key: key.to_owned(),
        problem: problem.to_owned(),
    }
}

fn invalid_value(key: &str, value: &str, problem: &str) -> ConfigError {
    invalid(key, &format!("'{value}' {problem}"))
}

//! How a cluster begins: without a command, and never twice.
//!
//! Every disk draws a random node id, so a node that lost its disk is a stranger to its cluster. A
//! fresh node asks all founders who they are. Only if *all* of them answer and are fresh does the
//! one with the smallest name found the cluster, with exactly the node ids that answered. One
//! founder that has data, or does not answer, is reason enough not to: it may be the one that
//! remembers. So a second cluster could arise only after the disks of all founders are lost, when
//! there is nothing left to contradict.
//!
//! A founder that crashes half-way either has not written the membership, and begins again, or has,
//! and goes on as any member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{InitializeError, RaftError};

use super::error::ClusterError;
use super::handle::Raft;
use super::peers::{Description, Peers};
use super::settings::Settings;
use crate::base::limits::{BOOTSTRAP_PAUSE, DESCRIBE_TIMEOUT};
use crate::storage::{Member, NodeId};

/// How often the same must keep a node waiting before it is told.
const ROUNDS_UNTIL_TOLD: u32 = 4;

/// What keeps a fresh node waiting. The texts tell an operator what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Waiting {
    /// It is not among the founders.
    #[error(
        "this node belongs to no cluster and is not among `cluster.members`: admit it with \
         `kes cluster join {name} {address}`"
    )]
    NotAFounder {
        /// Its name.
        name: String,
        /// Its address.
        address: String,
    },
    /// Founders do not answer.
    #[error(
        "waiting for the first start of {}: a new cluster begins when all its members are there",
        .0.join(", ")
    )]
    ForFounders(Vec<String>),
    /// There is a cluster already.
    #[error(
        "{member} belongs to a cluster already, and this node's data directory is empty: if this \
         node lost its disk, take the old one out with `kes cluster remove {name}`, then admit it \
         again with `kes cluster join {name} {address}`"
    )]
    ClusterExists {
        /// The founder that belongs to one.
        member: String,
        /// This node's name.
        name: String,
        /// This node's address.
        address: String,
    },
    /// Another founder goes first.
    #[error("waiting for {0} to found the cluster")]
    ForFounder(String),
    /// A founder is not who it should be.
    #[error(
        "the node at {address} calls itself '{found}', not '{wanted}': check `cluster.members`"
    )]
    WrongName {
        /// Where it answered.
        address: String,
        /// Its name in `cluster.members`.
        wanted: String,
        /// The name it gave.
        found: String,
    },
}

/// What to do next, given what the founders answered. Pure.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Found(BTreeMap<NodeId, Member>),
    Wait(Waiting),
}

/// Founds the cluster, or waits until this node is part of one. `tell` hears what is waited for,
/// whenever that changes.
///
/// # Errors
///
/// [`ClusterError::Stopped`] if consensus has stopped.
pub(super) async fn until_member(
    raft: &Raft,
    own: (NodeId, &Member),
    settings: &Settings,
    peers: &Arc<dyn Peers>,
    tell: impl Fn(&Waiting),
) -> Result<(), ClusterError> {
    let mut last = None;
    let mut rounds = 0;
    while !is_initialized(raft).await? {
        let answers = ask_founders(settings, own.0, own.1, peers).await;
        match decide(settings, own.0, &answers) {
            Step::Found(members) => match raft.initialize(members).await {
                Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => return Ok(()),
                Err(error) => return Err(ClusterError::Stopped(error.to_string())),
            },
            Step::Wait(waiting) => {
                // What passes by itself within seconds, as in every ordinary start, is no news.
                rounds = if last.as_ref() == Some(&waiting) {
                    rounds + 1
                } else {
                    1
                };
                if rounds == ROUNDS_UNTIL_TOLD {
                    tell(&waiting);
                }
                last = Some(waiting);
            }
        }
        until_changed(raft, BOOTSTRAP_PAUSE).await;
    }
    Ok(())
}

async fn is_initialized(raft: &Raft) -> Result<bool, ClusterError> {
    raft.is_initialized()
        .await
        .map_err(|error| ClusterError::Stopped(error.to_string()))
}

/// Somebody may have made this node a member meanwhile.
async fn until_changed(raft: &Raft, at_most: Duration) {
    let mut metrics = raft.metrics();
    metrics.mark_unchanged();
    let _ = tokio::time::timeout(at_most, metrics.changed()).await;
}

/// What each founder answers: name, address, and the answer if there is one.
async fn ask_founders(
    settings: &Settings,
    own_id: NodeId,
    own: &Member,
    peers: &Arc<dyn Peers>,
) -> Vec<(String, String, Option<Description>)> {
    let asked = settings.founders.iter().map(|(name, address)| async move {
        if *name == settings.name {
            let own = Description {
                id: own_id,
                member: own.clone(),
                is_fresh: true,
                root_keys: Vec::new(),
            };
            return (name.clone(), address.clone(), Some(own));
        }
        let answer = peers.describe(address, DESCRIBE_TIMEOUT).await;
        if let Err(error) = &answer {
            tracing::debug!(node = name, %error, "a founder does not answer");
        }
        (name.clone(), address.clone(), answer.ok())
    });
    futures_util::future::join_all(asked).await
}

fn decide(
    settings: &Settings,
    own_id: NodeId,
    answers: &[(String, String, Option<Description>)],
) -> Step {
    let (name, address) = (settings.name.clone(), settings.cluster_address.clone());
    // A cluster that exists decides everything, whoever else is missing.
    let exists = answers
        .iter()
        .find(|(_, _, answer)| answer.as_ref().is_some_and(|answer| !answer.is_fresh));
    if let Some((member, _, _)) = exists {
        return Step::Wait(Waiting::ClusterExists {
            member: member.clone(),
            name,
            address,
        });
    }
    if !answers.iter().any(|(founder, _, _)| *founder == name) {
        return Step::Wait(Waiting::NotAFounder { name, address });
    }
    let missing: Vec<String> = answers
        .iter()
        .filter(|(_, _, answer)| answer.is_none())
        .map(|(founder, _, _)| founder.clone())
        .collect();
    if !missing.is_empty() {
        return Step::Wait(Waiting::ForFounders(missing));
    }
    let mut members = BTreeMap::new();
    for (wanted, address, answer) in answers {
        let Some(answer) = answer else { continue };
        if answer.member.name != *wanted {
            return Step::Wait(Waiting::WrongName {
                address: address.clone(),
                wanted: wanted.clone(),
                found: answer.member.name.clone(),
            });
        }
        members.insert(answer.id, answer.member.clone());
    }
    // Two names at one address would make a smaller cluster than configured.
    if members.len() != answers.len() || !members.contains_key(&own_id) {
        let names = answers.iter().map(|(name, _, _)| name.clone()).collect();
        return Step::Wait(Waiting::ForFounders(names));
    }
    match answers.iter().map(|(founder, _, _)| founder).min() {
        Some(first) if *first == name => Step::Found(members),
        Some(first) => Step::Wait(Waiting::ForFounder(first.clone())),
        None => Step::Wait(Waiting::NotAFounder { name, address }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(own: &str) -> Settings {
        let founders = ["a", "b", "c"].map(|name| (name.to_owned(), format!("{name}:1")));
        Settings {
            name: own.to_owned(),
            cluster_address: format!("{own}:1"),
            api_address: String::new(),
            founders: founders.to_vec(),
            heartbeat: Duration::from_millis(100),
            election_timeout: Duration::from_millis(600),
            stale_reads_max: Duration::from_secs(300),
        }
    }

    fn answer(name: &str, id: NodeId, is_fresh: bool) -> (String, String, Option<Description>) {
        let description = Description {
            id,
            member: Member {
                name: name.to_owned(),
                ..Member::default()
            },
            is_fresh,
            root_keys: Vec::new(),
        };
        (name.to_owned(), format!("{name}:1"), Some(description))
    }

    fn silent(name: &str) -> (String, String, Option<Description>) {
        (name.to_owned(), format!("{name}:1"), None)
    }

    #[test]
    fn the_first_founder_founds_when_all_are_fresh() {
        let all = [
            answer("a", 7, true),
            answer("b", 8, true),
            answer("c", 9, true),
        ];
        let Step::Found(members) = decide(&settings("a"), 7, &all) else {
            panic!("the cluster can be founded");
        };
        assert_eq!(members.into_keys().collect::<Vec<_>>(), [7, 8, 9]);
        let waiting = Step::Wait(Waiting::ForFounder("a".to_owned()));
        assert_eq!(decide(&settings("b"), 8, &all), waiting);
    }

    #[test]
    fn nobody_founds_while_one_is_silent_or_has_data() {
        for own in ["a", "b", "c"] {
            let all = [answer("a", 7, true), silent("b"), answer("c", 9, true)];
            let all = if own == "b" {
                [silent("a"), answer("b", 8, true), answer("c", 9, true)]
            } else {
                all
            };
            let step = decide(&settings(own), 7, &all);
            assert!(
                matches!(step, Step::Wait(Waiting::ForFounders(_))),
                "{step:?}"
            );
            let all = [
                answer("a", 7, own != "b"),
                silent("b"),
                answer("c", 9, own == "b"),
            ];
            let step = decide(&settings(own), 7, &all);
            let Step::Wait(waiting @ Waiting::ClusterExists { .. }) = step else {
                panic!("{own}: {step:?}");
            };
            assert!(
                waiting
                    .to_string()
                    .contains(&format!("kes cluster join {own} {own}:1"))
            );
        }
    }

    #[test]
    fn names_and_nodes_must_be_as_configured() {
        let wrong = [
            answer("a", 7, true),
            answer("b", 8, true),
            answer("x", 9, true),
        ];
        let mut wrong = wrong;
        "c".clone_into(&mut wrong[2].0);
        let step = decide(&settings("a"), 7, &wrong);
        assert!(
            matches!(step, Step::Wait(Waiting::WrongName { .. })),
            "{step:?}"
        );
        let twice = [
            answer("a", 7, true),
            answer("b", 8, true),
            answer("c", 8, true),
        ];
        let step = decide(&settings("a"), 7, &twice);
        assert!(
            matches!(step, Step::Wait(Waiting::ForFounders(_))),
            "{step:?}"
        );
        let stranger = settings("d");
        let all = [
            answer("a", 7, true),
            answer("b", 8, true),
            answer("c", 9, true),
        ];
        let step = decide(&stranger, 10, &all);
        assert!(
            matches!(step, Step::Wait(Waiting::NotAFounder { .. })),
            "{step:?}"
        );
    }
}

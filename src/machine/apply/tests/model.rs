//! What [`State::apply`] must do, written again in the plainest way: one proposal at a time, over
//! maps of the standard library.

use std::collections::BTreeMap;

use crate::base::name::is_valid_name;
use crate::crypto::at_rest::Epoch;
use crate::machine::{
    AssignmentRecord, KeyRecord, Op, Outcome, PolicyRecord, Proposal, Rejection, RequestId,
    Reservation, RootEpoch, Sealed, State,
};

type Answer = Result<Outcome, Rejection>;

#[derive(Default)]
pub(super) struct Model {
    founder: Option<RootEpoch>,
    restored: bool,
    epochs: Vec<Epoch>,
    deletions: u64,
    restoring: Option<u128>,
    keys: BTreeMap<String, KeyRecord>,
    policies: BTreeMap<String, PolicyRecord>,
    identities: BTreeMap<String, AssignmentRecord>,
    reservations: BTreeMap<String, Reservation>,
    /// Never forgets.
    answers: BTreeMap<RequestId, Outcome>,
}

impl Model {
    pub(super) fn apply(&mut self, proposal: &Proposal) -> Outcome {
        if let Some(answer) = self.answers.get(&proposal.request_id) {
            return answer.clone();
        }
        match self.answer(proposal) {
            Ok(outcome) => {
                let repeatable = matches!(
                    proposal.op,
                    Op::Found { .. }
                        | Op::CreateKey { .. }
                        | Op::BeginRootRotation { .. }
                        | Op::Reseal { .. }
                        | Op::EndRootRotation { .. }
                        | Op::Reserve { .. }
                        | Op::RestoreKey { .. }
                        | Op::RestorePolicy { .. }
                        | Op::RestoreIdentity { .. }
                );
                if !repeatable {
                    self.answers.insert(proposal.request_id, outcome.clone());
                }
                outcome
            }
            Err(rejection) => Outcome::Rejected(rejection),
        }
    }

    pub(super) fn assert_same(&self, state: &State) {
        let epochs: Vec<Epoch> = state.roots().iter().map(|root| root.epoch).collect();
        assert_eq!(epochs, self.epochs);
        assert_eq!(state.cluster_id().is_some(), self.founder.is_some());
        assert_eq!(state.delete_epoch(), self.deletions);
        assert_eq!(state.restoring(), self.restoring);
        assert!(state.keys_from("").eq(named(&self.keys)));
        assert!(state.policies().eq(named(&self.policies)));
        assert!(state.identities().eq(named(&self.identities)));
        assert!(state.reservations().eq(named(&self.reservations)));
        assert_eq!(state.counts().keys, self.keys.len());
        assert_eq!(state.counts().policies, self.policies.len());
        assert_eq!(state.counts().identities, self.identities.len());
        assert_eq!(state.counts().reservations, self.reservations.len());
    }

    fn answer(&mut self, proposal: &Proposal) -> Answer {
        if let Op::Found { root, .. } = &proposal.op {
            return self.found(root);
        }
        if self.founder.is_none() {
            return Err(Rejection::NotFounded);
        }
        if matches!(
            proposal.op,
            Op::BeginRestore { .. }
                | Op::RestoreKey { .. }
                | Op::RestorePolicy { .. }
                | Op::RestoreIdentity { .. }
                | Op::EndRestore { .. }
        ) {
            return self.restore(&proposal.op);
        }
        if self.restoring.is_some() {
            return Err(Rejection::RestoreInProgress);
        }
        self.change(proposal.request_id, &proposal.op)
    }

    fn found(&mut self, root: &RootEpoch) -> Answer {
        match &self.founder {
            None if root.epoch == 1 => {
                self.founder = Some(root.clone());
                self.epochs = vec![1];
                Ok(Outcome::Founded)
            }
            None => Err(Rejection::WrongEpoch),
            Some(founder) if founder == root && self.epochs[0] == 1 && !self.restored => {
                Ok(Outcome::Founded)
            }
            Some(_) => Err(Rejection::AlreadyFounded),
        }
    }

    fn change(&mut self, id: RequestId, op: &Op) -> Answer {
        match op.clone() {
            Op::CreateKey { name, mut record } => match self.keys.get(&name) {
                Some(known) if known.request_id == id => Ok(Outcome::Created),
                Some(_) => Err(Rejection::Exists),
                None => {
                    self.check_key(&name, &record)?;
                    record.request_id = id;
                    self.keys.insert(name, record);
                    Ok(Outcome::Created)
                }
            },
            Op::DeleteKey { name } => {
                let key = self.keys.remove(&name).ok_or(Rejection::NotFound)?;
                self.answers.insert(key.request_id, Outcome::Created);
                self.deletions += 1;
                Ok(Outcome::Deleted)
            }
            Op::PutPolicy { name, policy } => self.put_policy(name, policy),
            Op::DeletePolicy { name } => {
                self.policies.remove(&name).ok_or(Rejection::NotFound)?;
                self.identities
                    .retain(|_, assigned| assigned.policy != name);
                Ok(Outcome::Deleted)
            }
            Op::AssignIdentity {
                identity,
                assignment,
            } => self.assign(identity, assignment),
            Op::DeleteIdentity { identity } => {
                let removed = self.identities.remove(&identity);
                removed.ok_or(Rejection::NotFound)?;
                Ok(Outcome::Deleted)
            }
            Op::Reserve { name, reservation } => self.reserve(id, name, reservation),
            Op::Release { name, request_id } => {
                let known = self.reservations.get(&name).ok_or(Rejection::NotFound)?;
                if known.request_id != request_id {
                    return Err(Rejection::Changed);
                }
                self.reservations.remove(&name);
                let ended = Outcome::Rejected(Rejection::Changed);
                self.answers.insert(request_id, ended);
                Ok(Outcome::Done)
            }
            op => self.rotate(op),
        }
    }

    fn rotate(&mut self, op: Op) -> Answer {
        let current = *self.epochs.last().expect("a founded cluster");
        match op {
            Op::BeginRootRotation { root } => {
                // All roots of one epoch are the same in the samples.
                if root.epoch != current {
                    let next = current + 1;
                    (root.epoch == next)
                        .then_some(())
                        .ok_or(Rejection::WrongEpoch)?;
                    self.epochs.push(next);
                }
                Ok(Outcome::Done)
            }
            Op::Reseal {
                name,
                version,
                expected,
                sealed,
            } => {
                let key = self.keys.get_mut(&name).ok_or(Rejection::NotFound)?;
                let mut versions = key.versions.iter_mut();
                let version = versions.find(|known| known.version == version);
                let version = version.ok_or(Rejection::NotFound)?;
                if version.sealed != sealed {
                    if version.sealed.digest() != expected {
                        return Err(Rejection::Changed);
                    }
                    if sealed.epoch() != Some(current) {
                        return Err(Rejection::WrongEpoch);
                    }
                    if sealed.len() > 16_000 {
                        return Err(Rejection::TooLarge);
                    }
                    version.sealed = sealed;
                }
                Ok(Outcome::Done)
            }
            Op::EndRootRotation { epoch } => {
                if epoch != current {
                    return Err(Rejection::WrongEpoch);
                }
                let versions = self.keys.values().flat_map(|key| &key.versions);
                let sealed = versions.map(|version| &version.sealed);
                let reserved = self.reservations.values().map(|claim| &claim.sealed);
                if sealed
                    .chain(reserved)
                    .any(|one| one.epoch() != Some(current))
                {
                    return Err(Rejection::RecordsOfOlderEpoch);
                }
                self.epochs = vec![current];
                Ok(Outcome::Done)
            }
            op => panic!("unknown to the model: {op:?}"),
        }
    }

    fn restore(&mut self, op: &Op) -> Answer {
        if let Op::BeginRestore {
            restore_id, roots, ..
        } = op
        {
            return self.begin_restore(*restore_id, roots);
        }
        let id = match op {
            Op::RestoreKey { restore_id, .. }
            | Op::RestorePolicy { restore_id, .. }
            | Op::RestoreIdentity { restore_id, .. }
            | Op::EndRestore { restore_id, .. } => *restore_id,
            op => panic!("unknown to the model: {op:?}"),
        };
        if self.restoring != Some(id) {
            return Err(Rejection::NotRestoring);
        }
        match op.clone() {
            Op::RestoreKey { name, record, .. } => {
                self.check_key(&name, &record)?;
                self.keys.insert(name, record);
                Ok(Outcome::Done)
            }
            Op::RestorePolicy { name, policy, .. } => self.put_policy(name, policy),
            Op::RestoreIdentity {
                identity,
                assignment,
                ..
            } => self.assign(identity, assignment),
            // The samples have no digest that fits.
            _ => Err(Rejection::DigestMismatch),
        }
    }

    fn begin_restore(&mut self, id: u128, roots: &[RootEpoch]) -> Answer {
        if self.restoring == Some(id) {
            return Ok(Outcome::Done);
        }
        let empty = self.keys.is_empty()
            && self.policies.is_empty()
            && self.identities.is_empty()
            && self.reservations.is_empty();
        if self.restoring.is_none() && !empty {
            return Err(Rejection::NotEmpty);
        }
        let epochs: Vec<Epoch> = roots.iter().map(|root| root.epoch).collect();
        let first = *epochs.first().ok_or(Rejection::WrongEpoch)?;
        if !epochs.iter().copied().eq((first..).take(epochs.len())) {
            return Err(Rejection::WrongEpoch);
        }
        self.epochs = epochs;
        self.restoring = Some(id);
        self.restored = true;
        self.deletions += 1;
        self.keys.clear();
        self.policies.clear();
        self.identities.clear();
        Ok(Outcome::Done)
    }

    fn put_policy(&mut self, name: String, policy: PolicyRecord) -> Answer {
        check_name(&name)?;
        self.policies.insert(name, policy);
        Ok(Outcome::Done)
    }

    fn assign(&mut self, identity: String, assignment: AssignmentRecord) -> Answer {
        if !self.policies.contains_key(&assignment.policy) {
            return Err(Rejection::PolicyNotFound);
        }
        check_name(&identity)?;
        self.identities.insert(identity, assignment);
        Ok(Outcome::Done)
    }

    fn reserve(&mut self, id: RequestId, name: String, mut claim: Reservation) -> Answer {
        if let Some(known) = self.reservations.get(&name) {
            return Ok(Outcome::Reserved {
                own: known.request_id == id,
                sealed: known.sealed.clone(),
            });
        }
        self.check_sealed(&claim.sealed)?;
        check_name(&name)?;
        check_length(&claim.sealed)?;
        claim.request_id = id;
        let sealed = claim.sealed.clone();
        self.reservations.insert(name, claim);
        Ok(Outcome::Reserved { own: true, sealed })
    }

    fn check_key(&self, name: &str, record: &KeyRecord) -> Result<(), Rejection> {
        let numbers: Vec<u32> = record.versions.iter().map(|one| one.version).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if numbers.is_empty() || numbers != sorted || numbers[0] == 0 {
            return Err(Rejection::InvalidRecord);
        }
        for version in &record.versions {
            self.check_sealed(&version.sealed)?;
        }
        check_name(name)?;
        let mut versions = record.versions.iter();
        versions.try_for_each(|version| check_length(&version.sealed))
    }

    fn check_sealed(&self, sealed: &Sealed) -> Result<(), Rejection> {
        let epoch = sealed.epoch().ok_or(Rejection::InvalidRecord)?;
        match self.epochs.contains(&epoch) {
            true => Ok(()),
            false => Err(Rejection::WrongEpoch),
        }
    }
}

fn check_name(name: &str) -> Result<(), Rejection> {
    match is_valid_name(name) {
        true => Ok(()),
        false => Err(Rejection::InvalidName),
    }
}

/// The samples are far from the limit, on either side.
fn check_length(sealed: &Sealed) -> Result<(), Rejection> {
    match sealed.len() > 16_000 {
        true => Err(Rejection::TooLarge),
        false => Ok(()),
    }
}

fn named<T>(map: &BTreeMap<String, T>) -> impl Iterator<Item = (&str, &T)> {
    map.iter().map(|(name, record)| (name.as_str(), record))
}

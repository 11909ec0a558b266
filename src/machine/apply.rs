//! Applies commands to the state. Never fails and never panics, whatever a command holds: what
//! cannot be done is rejected, and what is rejected changes nothing.
//!
//! A proposer that loses its leader proposes again, and in the end both proposals may be applied,
//! the second at any time later. Most operations say themselves what they expect to find; of the
//! others the last few thousand answers are remembered. Otherwise a late deletion would hit another
//! key of the name, and a late creation would bring a deleted key back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::codec;
use super::command::{Command, Op, Proposal, RequestId, RestoreId};
use super::outcome::{Outcome, Rejection};
use super::record::{
    Answer, AssignmentRecord, Digest32, Header, KeyRecord, PolicyRecord, RecordId, RecordKind,
    Reservation, RootEpoch, Sealed, SealedVersion,
};
use super::state::{self, Change, Record, State};
use crate::base::limits::{CLUSTER_ANSWERS_MAX, CLUSTER_ROOTS_MAX, RECORD_BYTES_MAX};
use crate::base::name::is_valid_name;
use crate::crypto::at_rest::{ClusterId, Epoch, FIRST_EPOCH};

impl State {
    /// Applies a command: the outcome of each proposal in their order, and what is to be written
    /// for all of them together, at most one change per record.
    ///
    /// A change may remove a record that never was written, if one command makes and removes it.
    pub fn apply(&mut self, command: &Command) -> (Vec<Outcome>, Vec<Change>) {
        let mut batch = Batch {
            state: self,
            changes: BTreeMap::new(),
        };
        let outcomes = command
            .proposals
            .iter()
            .map(|proposal| batch.apply(proposal).unwrap_or_else(Outcome::Rejected))
            .collect();
        let changes = batch.changes.into_iter();
        let changes = changes.map(|(id, value)| Change { id, value }).collect();
        (outcomes, changes)
    }
}

/// A command that is being applied.
struct Batch<'a> {
    state: &'a mut State,
    changes: BTreeMap<RecordId, Option<Vec<u8>>>,
}

impl Batch<'_> {
    fn apply(&mut self, proposal: &Proposal) -> Result<Outcome, Rejection> {
        let id = proposal.request_id;
        if let Some(answer) = self.state.answers.get(&Answer::name(id)) {
            return Ok(answer.outcome.clone());
        }
        self.admit(&proposal.op)?;
        let outcome = self.perform(id, &proposal.op)?;
        if is_remembered(&proposal.op) {
            self.remember(id, outcome.clone());
        }
        Ok(outcome)
    }

    fn perform(&mut self, id: RequestId, op: &Op) -> Result<Outcome, Rejection> {
        match op {
            Op::Found { cluster_id, root } => self.found(*cluster_id, root),
            Op::CreateKey { name, record } => self.create_key(id, name, record),
            Op::DeleteKey { name } => self.delete_key(name),
            Op::PutPolicy { name, policy } => self.put_policy(name, policy),
            Op::DeletePolicy { name } => self.delete_policy(name),
            Op::AssignIdentity {
                identity,
                assignment,
            } => self.assign(identity, assignment),
            Op::DeleteIdentity { identity } => self.delete_identity(identity),
            Op::BeginRootRotation { root } => self.begin_rotation(root),
            Op::Reseal {
                name,
                version,
                expected,
                sealed,
            } => self.reseal(name, *version, expected, sealed),
            Op::EndRootRotation { epoch } => self.end_rotation(*epoch),
            Op::Reserve { name, reservation } => self.reserve(id, name, reservation),
            Op::Release { name, request_id } => self.release(name, *request_id),
            Op::BeginRestore {
                restore_id,
                cluster_id,
                roots,
            } => self.begin_restore(*restore_id, *cluster_id, roots),
            Op::RestoreKey { name, record, .. } => self.restore_key(name, record),
            Op::RestorePolicy { name, policy, .. } => self.put_policy(name, policy),
            Op::RestoreIdentity {
                identity,
                assignment,
                ..
            } => self.assign(identity, assignment),
            Op::EndRestore { restore_id, digest } => self.end_restore(*restore_id, digest),
        }
    }

    /// Whether the cluster can take such a change at all now.
    fn admit(&self, op: &Op) -> Result<(), Rejection> {
        let header = &self.state.header;
        match op {
            Op::Found { .. } => Ok(()),
            _ if header.cluster_id.is_none() => Err(Rejection::NotFounded),
            Op::BeginRestore { .. } | Op::EndRestore { .. } => Ok(()),
            Op::RestoreKey { restore_id, .. }
            | Op::RestorePolicy { restore_id, .. }
            | Op::RestoreIdentity { restore_id, .. } => match header.restoring {
                Some(under_way) if under_way == *restore_id => Ok(()),
                _ => Err(Rejection::NotRestoring),
            },
            _ if header.restoring.is_some() => Err(Rejection::RestoreInProgress),
            _ => Ok(()),
        }
    }

    fn found(&mut self, cluster_id: ClusterId, root: &RootEpoch) -> Result<Outcome, Rejection> {
        let header = &self.state.header;
        if let Some(known) = header.cluster_id {
            let same = known == cluster_id && header.roots.first() == Some(root);
            return match same {
                true => Ok(Outcome::Founded),
                false => Err(Rejection::AlreadyFounded),
            };
        }
        if root.epoch != FIRST_EPOCH {
            return Err(Rejection::WrongEpoch);
        }
        self.set_header(Header {
            cluster_id: Some(cluster_id),
            roots: vec![root.clone()],
            ..Header::default()
        });
        Ok(Outcome::Founded)
    }

    fn create_key(
        &mut self,
        request_id: RequestId,
        name: &str,
        record: &KeyRecord,
    ) -> Result<Outcome, Rejection> {
        if let Some(known) = self.state.key(name) {
            return match known.request_id == request_id {
                true => Ok(Outcome::Created),
                false => Err(Rejection::Exists),
            };
        }
        self.check_versions(&record.versions)?;
        let record = KeyRecord {
            request_id,
            ..record.clone()
        };
        self.put(name, record)?;
        Ok(Outcome::Created)
    }

    fn delete_key(&mut self, name: &str) -> Result<Outcome, Rejection> {
        let created_by = self.state.key(name).ok_or(Rejection::NotFound)?.request_id;
        self.remove::<KeyRecord>(name)?;
        self.remember(created_by, Outcome::Created);
        let mut header = Header::clone(&self.state.header);
        header.delete_epoch = header.delete_epoch.saturating_add(1);
        self.set_header(header);
        Ok(Outcome::Deleted)
    }

    fn put_policy(&mut self, name: &str, policy: &PolicyRecord) -> Result<Outcome, Rejection> {
        self.put(name, policy.clone())?;
        Ok(Outcome::Done)
    }

    fn delete_policy(&mut self, name: &str) -> Result<Outcome, Rejection> {
        self.remove::<PolicyRecord>(name)?;
        let identities = self.state.identities();
        let assigned: Vec<String> = identities
            .filter(|(_, assignment)| assignment.policy == name)
            .map(|(identity, _)| identity.to_owned())
            .collect();
        for identity in assigned {
            self.remove::<AssignmentRecord>(&identity)?;
        }
        Ok(Outcome::Deleted)
    }

    fn assign(
        &mut self,
        identity: &str,
        assignment: &AssignmentRecord,
    ) -> Result<Outcome, Rejection> {
        if self.state.policy(&assignment.policy).is_none() {
            return Err(Rejection::PolicyNotFound);
        }
        self.put(identity, assignment.clone())?;
        Ok(Outcome::Done)
    }

    fn delete_identity(&mut self, identity: &str) -> Result<Outcome, Rejection> {
        self.remove::<AssignmentRecord>(identity)?;
        Ok(Outcome::Deleted)
    }

    fn begin_rotation(&mut self, root: &RootEpoch) -> Result<Outcome, Rejection> {
        let mut header = Header::clone(&self.state.header);
        let current = header.roots.last();
        if current == Some(root) {
            return Ok(Outcome::Done);
        }
        if current.and_then(|current| current.epoch.checked_add(1)) != Some(root.epoch) {
            return Err(Rejection::WrongEpoch);
        }
        if header.roots.len() >= CLUSTER_ROOTS_MAX {
            return Err(Rejection::TooMany);
        }
        header.roots.push(root.clone());
        self.set_header(header);
        Ok(Outcome::Done)
    }

    fn reseal(
        &mut self,
        name: &str,
        version: u32,
        expected: &Digest32,
        sealed: &Sealed,
    ) -> Result<Outcome, Rejection> {
        let mut record = self.state.key(name).ok_or(Rejection::NotFound)?.clone();
        let mut versions = record.versions.iter_mut();
        let resealed = versions
            .find(|known| known.version == version)
            .ok_or(Rejection::NotFound)?;
        if resealed.sealed == *sealed {
            return Ok(Outcome::Done);
        }
        if resealed.sealed.digest() != *expected {
            return Err(Rejection::Changed);
        }
        if sealed.epoch() != self.current_epoch() {
            return Err(Rejection::WrongEpoch);
        }
        resealed.sealed = sealed.clone();
        self.put(name, record)?;
        Ok(Outcome::Done)
    }

    fn end_rotation(&mut self, epoch: Epoch) -> Result<Outcome, Rejection> {
        let mut header = Header::clone(&self.state.header);
        if self.current_epoch() != Some(epoch) {
            return Err(Rejection::WrongEpoch);
        }
        if header.roots.len() > 1
            && self
                .state
                .sealed()
                .any(|sealed| sealed.epoch() != Some(epoch))
        {
            return Err(Rejection::RecordsOfOlderEpoch);
        }
        header.roots.retain(|root| root.epoch == epoch);
        self.set_header(header);
        Ok(Outcome::Done)
    }

    fn reserve(
        &mut self,
        request_id: RequestId,
        name: &str,
        reservation: &Reservation,
    ) -> Result<Outcome, Rejection> {
        if let Some(known) = self.state.reservation(name) {
            return Ok(Outcome::Reserved {
                own: known.request_id == request_id,
                sealed: known.sealed.clone(),
            });
        }
        self.check_sealed(&reservation.sealed)?;
        let reservation = Reservation {
            request_id,
            ..reservation.clone()
        };
        let sealed = reservation.sealed.clone();
        self.put(name, reservation)?;
        Ok(Outcome::Reserved { own: true, sealed })
    }

    fn release(&mut self, name: &str, request_id: RequestId) -> Result<Outcome, Rejection> {
        match self.state.reservation(name) {
            Some(known) if known.request_id != request_id => Err(Rejection::Changed),
            _ => {
                self.remove::<Reservation>(name)?;
                // What became of the claim only the external store tells.
                self.remember(request_id, Outcome::Rejected(Rejection::Changed));
                Ok(Outcome::Done)
            }
        }
    }

    fn begin_restore(
        &mut self,
        restore_id: RestoreId,
        cluster_id: ClusterId,
        roots: &[RootEpoch],
    ) -> Result<Outcome, Rejection> {
        let mut header = Header::clone(&self.state.header);
        if header.restoring == Some(restore_id) || header.restored == Some(restore_id) {
            return Ok(Outcome::Done);
        }
        if header.restoring.is_none() && self.state.counts() != Default::default() {
            return Err(Rejection::NotEmpty);
        }
        check_roots(roots)?;
        header.cluster_id = Some(cluster_id);
        header.roots = roots.to_vec();
        header.delete_epoch = header.delete_epoch.saturating_add(1);
        header.restoring = Some(restore_id);
        self.set_header(header);
        self.clear::<PolicyRecord>();
        self.clear::<AssignmentRecord>();
        self.clear::<KeyRecord>();
        Ok(Outcome::Done)
    }

    fn restore_key(&mut self, name: &str, record: &KeyRecord) -> Result<Outcome, Rejection> {
        self.check_versions(&record.versions)?;
        self.put(name, record.clone())?;
        Ok(Outcome::Done)
    }

    fn end_restore(
        &mut self,
        restore_id: RestoreId,
        digest: &Digest32,
    ) -> Result<Outcome, Rejection> {
        let mut header = Header::clone(&self.state.header);
        match header.restoring {
            None if header.restored == Some(restore_id) => return Ok(Outcome::Done),
            Some(under_way) if under_way == restore_id => {}
            _ => return Err(Rejection::NotRestoring),
        }
        if self.state.content_digest() != *digest {
            return Err(Rejection::DigestMismatch);
        }
        header.delete_epoch = header.delete_epoch.saturating_add(1);
        header.restoring = None;
        header.restored = Some(restore_id);
        self.set_header(header);
        Ok(Outcome::Done)
    }

    fn current_epoch(&self) -> Option<Epoch> {
        self.state.current_root().map(|root| root.epoch)
    }

    /// A record under a root key that is not in use any more could never be opened again.
    fn check_sealed(&self, sealed: &Sealed) -> Result<(), Rejection> {
        let epoch = sealed.epoch().ok_or(Rejection::InvalidRecord)?;
        match self.state.roots().iter().any(|root| root.epoch == epoch) {
            true => Ok(()),
            false => Err(Rejection::WrongEpoch),
        }
    }

    fn check_versions(&self, versions: &[SealedVersion]) -> Result<(), Rejection> {
        let first_is_one = versions.first().is_some_and(|first| first.version > 0);
        let mut pairs = versions.windows(2);
        if !first_is_one || !pairs.all(|pair| pair[0].version < pair[1].version) {
            return Err(Rejection::InvalidRecord);
        }
        for version in versions {
            self.check_sealed(&version.sealed)?;
        }
        Ok(())
    }

    fn put<T: Record>(&mut self, name: &str, record: T) -> Result<(), Rejection> {
        if !is_valid_name(name) {
            return Err(Rejection::InvalidName);
        }
        let map = T::map(self.state);
        if map.size() >= T::COUNT_MAX && !map.contains_key(name) {
            return Err(Rejection::TooMany);
        }
        let value = codec::encode(&record).map_err(|_| Rejection::TooLarge)?;
        if value.len() > RECORD_BYTES_MAX {
            return Err(Rejection::TooLarge);
        }
        let id = RecordId::new(T::KIND, name);
        self.changes.insert(id, Some(value));
        T::map(self.state).insert_mut(name.to_owned(), record);
        Ok(())
    }

    fn remove<T: Record>(&mut self, name: &str) -> Result<(), Rejection> {
        if !T::map(self.state).remove_mut(name) {
            return Err(Rejection::NotFound);
        }
        self.changes.insert(RecordId::new(T::KIND, name), None);
        Ok(())
    }

    fn clear<T: Record>(&mut self) {
        for name in std::mem::take(T::map(self.state)).keys() {
            self.changes.insert(RecordId::new(T::KIND, name), None);
        }
    }

    fn set_header(&mut self, header: Header) {
        let id = RecordId::new(RecordKind::Header, "");
        self.changes.insert(id, Some(state::encoded(&header)));
        self.state.header = Arc::new(header);
    }

    /// From now on this is the answer to that request, whatever it asks.
    fn remember(&mut self, request_id: RequestId, outcome: Outcome) {
        let mut header = Header::clone(&self.state.header);
        header.answers = header.answers.saturating_add(1);
        let sequence = header.answers;
        self.set_header(header);
        let name = Answer::name(request_id);
        let answer = Answer { sequence, outcome };
        let id = RecordId::new(RecordKind::Answer, &name);
        self.changes.insert(id, Some(state::encoded(&answer)));
        self.state.answers.insert_mut(name, answer);
        if self.state.answers.size() >= CLUSTER_ANSWERS_MAX {
            self.forget(sequence.saturating_sub(CLUSTER_ANSWERS_MAX as u64 / 2));
        }
    }

    /// Forgets the answers up to that one.
    fn forget(&mut self, sequence: u64) {
        let answers = self.state.answers.iter();
        let old: Vec<String> = answers
            .filter(|(_, answer)| answer.sequence <= sequence)
            .map(|(name, _)| name.clone())
            .collect();
        for name in old {
            self.state.answers.remove_mut(&name);
            self.changes
                .insert(RecordId::new(RecordKind::Answer, &name), None);
        }
    }
}

/// Whether an operation would do harm if it were done again later, after others.
fn is_remembered(op: &Op) -> bool {
    match op {
        Op::DeleteKey { .. }
        | Op::PutPolicy { .. }
        | Op::DeletePolicy { .. }
        | Op::AssignIdentity { .. }
        | Op::DeleteIdentity { .. }
        | Op::Release { .. }
        | Op::BeginRestore { .. }
        | Op::EndRestore { .. } => true,
        // The request id of a key or of a claim is remembered when that is removed; the others
        // name the epoch, the ciphertext or the restore that they are about.
        Op::Found { .. }
        | Op::CreateKey { .. }
        | Op::BeginRootRotation { .. }
        | Op::Reseal { .. }
        | Op::EndRootRotation { .. }
        | Op::Reserve { .. }
        | Op::RestoreKey { .. }
        | Op::RestorePolicy { .. }
        | Op::RestoreIdentity { .. } => false,
    }
}

/// The epochs follow each other, and there are not too many.
fn check_roots(roots: &[RootEpoch]) -> Result<(), Rejection> {
    if roots.len() > CLUSTER_ROOTS_MAX {
        return Err(Rejection::TooMany);
    }
    let first_is_valid = roots.first().is_some_and(|root| root.epoch >= FIRST_EPOCH);
    let mut pairs = roots.windows(2);
    match first_is_valid && pairs.all(|pair| pair[0].epoch.checked_add(1) == Some(pair[1].epoch)) {
        true => Ok(()),
        false => Err(Rejection::WrongEpoch),
    }
}

#[cfg(test)]
mod tests;

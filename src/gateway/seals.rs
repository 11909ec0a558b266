//! The root keys of a node, put to use: seals under the current one, opens under any that is known.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use crate::base::secret::SecretBytes;
use crate::base::snapshot::Published;
use crate::crypto::at_rest::{
    ClusterId, Epoch, FIRST_EPOCH, Keyring, OpenError, RootKey, RootKeyId, SEAL_RANDOM_BYTES,
    Sealer, TooLarge, epoch_of,
};
use crate::crypto::random::{self, RandomError};
use crate::machine::{Op, RootEpoch, State};

/// Why something cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no cluster id to bind to.
    #[error("the cluster is not founded yet")]
    NotFounded,
    /// The node was not given the root key.
    #[error(
        "the cluster uses root key {key_id} (epoch {epoch}), which this node was not given: add it \
         to `cluster.root_key`"
    )]
    UnknownRootKey {
        /// Which one.
        key_id: String,
        /// Its epoch.
        epoch: Epoch,
    },
    /// The root key has the right id and is another key all the same.
    #[error("root key {key_id} (epoch {epoch}) is not the one that the cluster was sealed with")]
    WrongRootKey {
        /// Which one.
        key_id: String,
        /// Its epoch.
        epoch: Epoch,
    },
    /// The record names an epoch that the cluster does not have.
    #[error(
        "a record is sealed under epoch {0:?} of the root key, which the cluster does not have"
    )]
    UnknownEpoch(Option<Epoch>),
    /// The record is damaged, or belongs elsewhere.
    #[error("a record cannot be opened: {0}")]
    Open(#[from] OpenError),
    /// The record is too large.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// There is no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// Seals and opens for one node.
pub struct Seals {
    keyring: Published<Keyring>,
    /// Made once for each epoch: deriving takes longer than sealing.
    sealers: Published<Vec<KnownSealer>>,
}

#[derive(Clone)]
struct KnownSealer {
    cluster_id: ClusterId,
    epoch: Epoch,
    key_id: RootKeyId,
    sealer: Arc<Sealer>,
}

impl Seals {
    /// Seals with the root keys of `keyring`.
    pub fn new(keyring: Keyring) -> Self {
        Self {
            keyring: Published::new(keyring),
            sealers: Published::new(Vec::new()),
        }
    }

    /// The proposal that founds a cluster under the preferred root key.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if there are no random bytes for its id.
    pub fn founding(&self) -> Result<Op, RandomError> {
        let cluster_id = ClusterId(random::array()?);
        let keyring = self.keyring.load();
        Ok(Op::Found {
            cluster_id,
            root: root_epoch(keyring.preferred(), cluster_id, FIRST_EPOCH),
        })
    }

    /// The proposal that makes the preferred root key the current one.
    ///
    /// # Errors
    ///
    /// [`SealError::NotFounded`].
    pub(super) fn next_root(&self, state: &State) -> Result<Op, SealError> {
        let cluster_id = state.cluster_id().ok_or(SealError::NotFounded)?;
        let current = state.current_root().ok_or(SealError::NotFounded)?;
        let epoch = current.epoch.saturating_add(1);
        let keyring = self.keyring.load();
        Ok(Op::BeginRootRotation {
            root: root_epoch(keyring.preferred(), cluster_id, epoch),
        })
    }

    /// Uses the root keys of `next` from now on.
    pub fn replace(&self, next: &Self) {
        self.keyring.publish(Keyring::clone(&next.keyring.load()));
        self.sealers.publish(Vec::clone(&next.sealers.load()));
    }

    /// The root keys.
    pub fn keyring(&self) -> Arc<Keyring> {
        self.keyring.load_full()
    }

    /// Seals `plaintext` for the record `kind`, `name` under the cluster's current root key.
    ///
    /// # Errors
    ///
    /// [`SealError`].
    pub fn seal(
        &self,
        state: &State,
        kind: &str,
        name: &str,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let sealer = self.current(state)?;
        let random = random::array::<SEAL_RANDOM_BYTES>()?;
        Ok(sealer.seal(kind, name, plaintext, &random)?)
    }

    /// Opens what was sealed for the record `kind`, `name`.
    ///
    /// # Errors
    ///
    /// [`SealError`].
    pub fn open(
        &self,
        state: &State,
        kind: &str,
        name: &str,
        sealed: &[u8],
    ) -> Result<SecretBytes, SealError> {
        let epoch = epoch_of(sealed);
        let root = state
            .roots()
            .iter()
            .find(|root| Some(root.epoch) == epoch)
            .ok_or(SealError::UnknownEpoch(epoch))?;
        Ok(self.sealer(state, root)?.open(kind, name, sealed)?)
    }

    /// Whether this node has every root key that the cluster uses.
    ///
    /// # Errors
    ///
    /// [`SealError`] names the first that is missing or wrong. A cluster that is not founded yet
    /// uses none.
    pub fn check(&self, state: &State) -> Result<(), SealError> {
        state
            .roots()
            .iter()
            .try_for_each(|root| self.sealer(state, root).map(|_| ()))
    }

    /// What seals under the cluster's current root key.
    ///
    /// # Errors
    ///
    /// [`SealError`].
    pub(super) fn current(&self, state: &State) -> Result<Arc<Sealer>, SealError> {
        let root = state.current_root().ok_or(SealError::NotFounded)?;
        self.sealer(state, root)
    }

    fn sealer(&self, state: &State, root: &RootEpoch) -> Result<Arc<Sealer>, SealError> {
        let cluster_id = state.cluster_id().ok_or(SealError::NotFounded)?;
        let known = self.sealers.load();
        let fits = |known: &&KnownSealer| {
            known.cluster_id == cluster_id
                && known.epoch == root.epoch
                && known.key_id == RootKeyId(root.key_id)
        };
        if let Some(known) = known.iter().find(fits) {
            return Ok(Arc::clone(&known.sealer));
        }
        self.derive(cluster_id, root)
    }

    fn derive(&self, cluster_id: ClusterId, root: &RootEpoch) -> Result<Arc<Sealer>, SealError> {
        let key_id = RootKeyId(root.key_id);
        let (name, epoch) = (key_id.to_string(), root.epoch);
        let keyring = self.keyring.load();
        let Some(key) = keyring.get(key_id) else {
            return Err(SealError::UnknownRootKey {
                key_id: name,
                epoch,
            });
        };
        let sealer = Sealer::new(key, cluster_id, epoch);
        if !bool::from(sealer.check_value().ct_eq(&root.check)) {
            return Err(SealError::WrongRootKey {
                key_id: name,
                epoch,
            });
        }
        let sealer = Arc::new(sealer);
        let mut known = Vec::clone(&self.sealers.load());
        known.push(KnownSealer {
            cluster_id,
            epoch,
            key_id,
            sealer: Arc::clone(&sealer),
        });
        // Two threads may derive the same at once; one of them is remembered.
        self.sealers.publish(known);
        Ok(sealer)
    }
}

/// What everybody may know of the root key `epoch` of a cluster.
fn root_epoch(key: &RootKey, cluster_id: ClusterId, epoch: Epoch) -> RootEpoch {
    RootEpoch {
        epoch,
        key_id: key.id().0,
        check: Sealer::new(key, cluster_id, epoch).check_value(),
    }
}

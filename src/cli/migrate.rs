//! `kes migrate`: copies keys from one keystore to another, as they are stored.
//!
//! It works on the keystores themselves; no server is involved, and none should write to the target
//! meanwhile. Values are opaque: they are copied byte for byte, and each copy is read back.
//!
//! No key is ever lost. A value is read from the source before anything happens at the target, and
//! the source is only read. Keystores have no update, so `--force` has to delete before it creates:
//!
//! * a target value equal to the source's is left alone, which also makes it harmless to name the
//!   same keystore twice and to start over after an interruption;
//! * a crash between delete and create leaves the name without a value at the target, but the value
//!   that was to be written is still at the source, and running the same command again writes it;
//! * if create fails, the old value is put back;
//! * Ctrl-C takes effect between two keys.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::args::MigrateArgs;
use super::failure::Failure;
use super::glob::{BadPattern, Glob};
use super::migrate_store;
use super::output::Output;
use crate::base::name::KeyName;
use crate::base::secret::SecretBytes;
use crate::config::{self, ConfigError};
use crate::keystore::{KeyStore, StoreError};

/// Names of one page of a listing.
const PAGE_NAMES: usize = 250;

/// Time between two progress lines.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Why keys cannot be copied.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    /// A configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A keystore cannot be opened.
    #[error("'{}': {reason}", config.display())]
    Open {
        /// The configuration that names it.
        config: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The pattern is not one.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// The target has such a key. The words are the ones that scripts know.
    #[error("key already exists")]
    Exists,
    /// A keystore failed at a key.
    #[error("key '{name}': {source}")]
    Key {
        /// The key.
        name: String,
        /// What happened.
        source: StoreError,
    },
    /// The keystore cannot be listed.
    #[error(transparent)]
    List(StoreError),
    /// The source has a name that no keystore may have.
    #[error("key '{0}': the name is empty, too long or contains invalid characters")]
    Name(String),
    /// The target does not give back what was written.
    #[error("key '{0}': the target returns another value than was written")]
    Verification(String),
    /// Neither the new nor the old value could be written.
    #[error("key '{name}': {source}; the previous value could not be put back: {restore}")]
    Restore {
        /// The key.
        name: String,
        /// Why the new value was not written.
        source: StoreError,
        /// Why the old value was not written.
        restore: StoreError,
    },
}

/// What to do with a key that the target has, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum OnConflict {
    /// Stop.
    Fail,
    /// Leave it (`--merge`).
    Skip,
    /// Replace it (`--force`).
    Replace,
}

/// Runs `kes migrate`.
pub(super) async fn run(args: &MigrateArgs) -> Result<(), Failure> {
    let plan = Plan::check(args)?;
    let from_config = config::load(plan.from).map_err(MigrateError::from)?;
    let to_config = config::load(plan.to).map_err(MigrateError::from)?;
    let from = migrate_store::source(plan.from, &from_config)?;
    let to = migrate_store::target(plan.to, &to_config)?;
    let output = Output::detect();
    output.print("Starting key migration:\n\n")?;
    let migration = Migration {
        from: from.as_ref(),
        to: to.as_ref(),
        glob: plan.glob,
        on_conflict: plan.on_conflict,
        migrated: Cell::new(0),
        stopping: Cell::new(false),
    };
    let result = migration.run_with_progress(&output).await;
    from.close().await.map_err(MigrateError::List)?;
    to.close().await.map_err(MigrateError::List)?;
    result?;
    output.print(&match migration.migrated.get() {
        0 => "Migration succeeded! No keys migrated.\n".to_owned(),
        count => format!("Migrated {count:6} keys successfully!\n"),
    })
}

/// Arguments that go together.
struct Plan<'a> {
    from: &'a PathBuf,
    to: &'a PathBuf,
    glob: Glob,
    on_conflict: OnConflict,
}

impl<'a> Plan<'a> {
    /// The checks, in the order that the original has them.
    fn check(args: &'a MigrateArgs) -> Result<Self, Failure> {
        let refused = |message: &str| Failure::Refused(message.to_owned());
        let pattern = match args.rest.as_slice() {
            [] => "*",
            [pattern] => pattern,
            _ => return Err(refused("too many arguments")),
        };
        let from = args
            .from
            .as_ref()
            .ok_or_else(|| refused("no source specified. Use '--from' flag"))?;
        let given = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        let to = match &args.to {
            Some(to) => {
                let conflicts = [
                    ("-s / --server", given(&args.server)),
                    ("-e / --enclave", given(&args.enclave)),
                    ("-a / --api-key", given(&args.api_key)),
                    ("-k / --insecure", args.insecure),
                ];
                if let Some((flag, _)) = conflicts.iter().find(|(_, given)| *given) {
                    return Err(refused(&format!("cannot use '{flag}' and '--to' flag")));
                }
                Ok(to)
            }
            None if !given(&args.server) => {
                return Err(refused(
                    "missing migration target. Use '--to' or '--server'",
                ));
            }
            None if !given(&args.enclave) => {
                return Err(refused("no KMS enclave specified. Use '--enclave'"));
            }
            None if !given(&args.api_key) => {
                return Err(refused("no KMS API key specified. Use '--api-key'"));
            }
            None => Err(refused(
                "a MinIO KMS server cannot be a migration target: it is another product with another protocol. Use '--to'",
            )),
        };
        let on_conflict = match (args.force, args.merge) {
            (true, true) => {
                return Err(refused(
                    "'--force' and '--merge' flags are mutually exclusive",
                ));
            }
            (true, false) => OnConflict::Replace,
            (false, true) => OnConflict::Skip,
            (false, false) => OnConflict::Fail,
        };
        Ok(Self {
            from,
            to: to?,
            glob: Glob::parse(pattern).map_err(MigrateError::from)?,
            on_conflict,
        })
    }
}

/// A migration under way.
struct Migration<'a> {
    from: &'a dyn KeyStore,
    to: &'a dyn KeyStore,
    glob: Glob,
    on_conflict: OnConflict,
    /// Keys that are at the target now as they are at the source.
    migrated: Cell<u64>,
    /// Set by Ctrl-C.
    stopping: Cell<bool>,
}

impl Migration<'_> {
    /// Copies, tells how far it got, and listens for Ctrl-C.
    async fn run_with_progress(&self, output: &Output) -> Result<(), Failure> {
        let mut copying = std::pin::pin!(self.run());
        let mut interrupts = signal(SignalKind::interrupt()).map_err(|source| Failure::System {
            what: "listening for Ctrl-C",
            source,
        })?;
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        ticks.tick().await; // the first one comes at once
        let mut shown = false;
        let result = loop {
            tokio::select! {
                biased;
                result = &mut copying => break result,
                _ = interrupts.recv() => self.stopping.set(true),
                _ = ticks.tick() => {
                    output.print(&progress(output, self.migrated.get()))?;
                    shown = true;
                }
            }
        };
        if shown && output.terminal {
            output.print("\r\x1b[2K")?;
        }
        result
    }

    /// Copies every key that the pattern selects, in the order of names.
    async fn run(&self) -> Result<(), Failure> {
        let prefix = self.glob.prefix();
        let mut start = None;
        loop {
            let page = self.from.list(&prefix, start.as_deref(), PAGE_NAMES);
            let page = page.await.map_err(MigrateError::List)?;
            for name in page.names.iter().filter(|name| self.glob.matches(name)) {
                if self.stopping.get() {
                    return Err(Failure::Interrupted { context: None });
                }
                let key = KeyName::parse(name).ok_or_else(|| MigrateError::Name(name.clone()))?;
                if self.copy(key).await? {
                    self.migrated.set(self.migrated.get() + 1);
                }
            }
            match page.next {
                Some(next) => start = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// Copies one key; `false` if it was skipped.
    async fn copy(&self, name: KeyName<'_>) -> Result<bool, MigrateError> {
        let value = self
            .from
            .get(name)
            .await
            .map_err(|source| failed(name, source))?;
        match self.to.create(name, value.clone()).await {
            Ok(()) => self.verify(name, &value).await?,
            Err(StoreError::Exists) => match self.on_conflict {
                OnConflict::Fail => return Err(MigrateError::Exists),
                OnConflict::Skip => return Ok(false),
                OnConflict::Replace => self.replace(name, value).await?,
            },
            Err(source) => return Err(failed(name, source)),
        }
        Ok(true)
    }

    /// Replaces what the target has under `name`.
    async fn replace(&self, name: KeyName<'_>, value: SecretBytes) -> Result<(), MigrateError> {
        let previous = match self.to.get(name).await {
            Ok(previous) if previous == value => return Ok(()),
            Ok(previous) => Some(previous),
            // Damaged or gone meanwhile: nothing that could be put back.
            Err(StoreError::NotFound | StoreError::NotAuthentic) => None,
            Err(source) => return Err(failed(name, source)),
        };
        match self.to.delete(name).await {
            Ok(()) | Err(StoreError::NotFound) => {}
            Err(source) => return Err(failed(name, source)),
        }
        let Err(source) = self.to.create(name, value.clone()).await else {
            return self.verify(name, &value).await;
        };
        if let Some(previous) = previous
            && let Err(restore) = self.to.create(name, previous).await
        {
            return Err(MigrateError::Restore {
                name: name.to_string(),
                source,
                restore,
            });
        }
        Err(failed(name, source))
    }

    /// Reads back what was written.
    async fn verify(&self, name: KeyName<'_>, value: &SecretBytes) -> Result<(), MigrateError> {
        match self.to.get(name).await {
            Ok(read) if read == *value => Ok(()),
            Ok(_) => Err(MigrateError::Verification(name.to_string())),
            Err(source) => Err(failed(name, source)),
        }
    }
}

fn failed(name: KeyName<'_>, source: StoreError) -> MigrateError {
    MigrateError::Key {
        name: name.to_string(),
        source,
    }
}

/// One progress line: redrawn in place on a terminal, one after the other elsewhere.
fn progress(output: &Output, count: u64) -> String {
    let noun = if count <= 1 { "key " } else { "keys" };
    let line = format!("Migrated {count:6} {noun} ...");
    match output.terminal {
        true => format!("\r\x1b[2K{line}"),
        false => format!("{line}\n"),
    }
}

#[cfg(test)]
#[path = "migrate_tests.rs"]
mod tests;

//! `kes cluster snapshot`: backups of a cluster.

use std::path::Path;

use super::{json_text, rows};
use crate::cli::failure::{Failure, OrFailure};
use crate::cli::output::Output;
use crate::cli::status::size;
use crate::client::Client;

/// Saves a backup. Only people are told of it.
pub(super) async fn save(client: &Client, output: &Output, path: &Path) -> Result<String, Failure> {
    let bytes = client
        .save_snapshot(path)
        .await
        .or_failure("failed to save snapshot: ")?;
    Ok(match output.terminal {
        true => format!("Saved {} to '{}'\n", size(bytes), path.display()),
        false => String::new(),
    })
}

/// Restores a backup, and tells what was in it.
pub(super) async fn restore(
    client: &Client,
    output: &Output,
    path: &Path,
) -> Result<String, Failure> {
    let summary = client
        .restore_snapshot(path)
        .await
        .or_failure("failed to restore snapshot: ")?;
    if !output.terminal {
        return json_text(output, &summary);
    }
    let counts = [
        ("Keys", summary.keys.to_string()),
        ("Policies", summary.policies.to_string()),
        ("Identities", summary.identities.to_string()),
    ];
    Ok(format!(
        "Restored '{}'\n{}",
        path.display(),
        rows(output, &counts)
    ))
}

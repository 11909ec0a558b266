//! `kes cluster root-key`: creates the key that seals all others, and replaces it.

use std::path::Path;

use zeroize::Zeroizing;

use super::args::RootKeyNewArgs;
use super::{json_text, rows};
use crate::base::secret::SecretString;
use crate::cli::failure::{Failure, OrFailure};
use crate::cli::files;
use crate::cli::identity::IdentityError;
use crate::cli::output::{Output, Style};
use crate::client::Client;
use crate::crypto::at_rest::RootKey;

/// Runs `kes cluster root-key new`.
pub(super) fn create(args: &RootKeyNewArgs) -> Result<(), Failure> {
    let output = Output::detect_captured();
    let key = RootKey::generate().map_err(IdentityError::from)?.to_text();
    let text = match &args.out {
        Some(path) => written(&output, path, &key)?,
        None => shown(&output, &key),
    };
    output.print(&text)
}

/// Writes the key to a new file. Who loses a root key loses all keys, so no file is ever replaced.
fn written(output: &Output, path: &Path, key: &SecretString) -> Result<Zeroizing<String>, Failure> {
    let line = Zeroizing::new(format!("{}\n", key.expose()));
    files::write_private(path, line.as_bytes(), false).map_err(IdentityError::from)?;
    Ok(Zeroizing::new(match output.terminal {
        true => format!(
            "The root key is stored at: {}\n\n\
             Copy it to every server of the cluster, and to a safe place: nobody can read the\n\
             cluster's data or its backups without it.\n",
            path.display()
        ),
        false => String::new(),
    }))
}

/// The bare key for programs, with an explanation for people.
fn shown(output: &Output, key: &SecretString) -> Zeroizing<String> {
    Zeroizing::new(match output.terminal {
        true => format!(
            "Your root key:\n\n   {}\n\n\
             It is shown only now. Whoever has it can read all keys of a cluster, and nobody can\n\
             without it: keep it secret, and keep a copy.\n",
            output.paint(Style::BOLD, key.expose())
        ),
        false => format!("{}\n", key.expose()),
    })
}

/// Has the servers seal everything with their next root key.
pub(super) async fn rotate(client: &Client, output: &Output) -> Result<String, Failure> {
    let summary = client
        .rotate_root_key()
        .await
        .or_failure("failed to rotate the root key: ")?;
    if !output.terminal {
        return json_text(output, &summary);
    }
    let values = [
        ("Root key", summary.key_id),
        ("Epoch", summary.epoch.to_string()),
        ("Resealed", summary.resealed.to_string()),
    ];
    Ok(rows(output, &values))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::output::Palette;

    const PIPE: Output = Output {
        terminal: false,
        palette: Palette::None,
    };
    const TERMINAL: Output = Output {
        terminal: true,
        palette: Palette::None,
    };

    fn key() -> SecretString {
        SecretString::new("kes:root:v1:x".to_owned())
    }

    #[test]
    fn a_pipe_gets_the_bare_key() {
        assert_eq!(&*shown(&PIPE, &key()), "kes:root:v1:x\n");
        let text = shown(&TERMINAL, &key());
        assert!(text.starts_with("Your root key:\n\n   kes:root:v1:x\n\nIt is shown only now."));
    }

    #[test]
    fn a_file_is_for_its_owner_and_never_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("root.key");
        assert_eq!(&*written(&PIPE, &path, &key()).expect("written"), "");
        let content = std::fs::read_to_string(&path).expect("read");
        assert_eq!(content, "kes:root:v1:x\n");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = written(&TERMINAL, &path, &key()).expect_err("refused");
        let expected = format!("open {}: file exists", path.display());
        assert_eq!(refused.to_string(), expected);
        std::fs::remove_file(&path).expect("removed");
        let text = written(&TERMINAL, &path, &key()).expect("written");
        let first = format!("The root key is stored at: {}\n\n", path.display());
        assert!(text.starts_with(&first) && !text.contains("kes:root"));
    }
}

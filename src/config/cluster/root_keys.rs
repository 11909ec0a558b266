//! The texts of the root keys, out of a file or of the configuration itself. Called when a node starts,
//! not when a configuration is parsed: others who read it need no root key.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::base::os_error;
use crate::base::secret::SecretString;
use crate::config::cluster::RootKeySource;
use crate::config::error::ConfigError;

/// Largest file with root keys: a hundred of them, with a comment each.
const FILE_BYTES_MAX: usize = 64 << 10;

impl RootKeySource {
    /// The root keys as they are written, in their order. At least one; what they are is not checked.
    ///
    /// Opens the file, if it is one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Cluster`] if there is no key, or the file cannot be read.
    pub fn read(&self) -> Result<Vec<SecretString>, ConfigError> {
        let keys = match self {
            Self::File(path) => {
                let content = read_file(path)
                    .map_err(|error| self.invalid(format!("{}: {error}", path.display())))?;
                keys_of_lines(&content)
            }
            Self::Value(text) => texts(text.expose().split(',')),
        };
        match keys.is_empty() {
            true => Err(self.invalid("no root key in it".to_owned())),
            false => Ok(keys),
        }
    }

    /// The key path of what these root keys come from.
    pub fn key_path(&self) -> &'static str {
        match self {
            Self::File(_) => "cluster.root_key.file",
            Self::Value(_) => "cluster.root_key.value",
        }
    }

    fn invalid(&self, problem: String) -> ConfigError {
        ConfigError::Cluster {
            key: self.key_path().to_owned(),
            problem,
        }
    }
}

/// The content of the file, or why there is none.
fn read_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let words = |error: io::Error| os_error::reason(&error);
    let file = File::open(path).map_err(words)?;
    // Reserved at once, so that growing leaves no copies behind.
    let mut content = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX + 1));
    file.take(FILE_BYTES_MAX as u64 + 1)
        .read_to_string(&mut content)
        .map_err(words)?;
    match content.len() > FILE_BYTES_MAX {
        true => Err(format!("more than {FILE_BYTES_MAX} bytes")),
        false => Ok(content),
    }
}

/// One key a line; `#` starts a comment.
fn keys_of_lines(content: &str) -> Vec<SecretString> {
    texts(
        content
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default()),
    )
}

fn texts<'a>(parts: impl Iterator<Item = &'a str>) -> Vec<SecretString> {
    parts
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| SecretString::new(text.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &RootKeySource) -> Result<Vec<String>, String> {
        match source.read() {
            Ok(keys) => Ok(keys.iter().map(|key| key.expose().to_owned()).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_file_has_one_key_a_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("root.key");
        let source = RootKeySource::File(path.clone());
        std::fs::write(&path, "# of 2026\n kes:root:v1:b # new\r\n\nkes:root:v1:a")
            .expect("written");
        let expected = ["kes:root:v1:b", "kes:root:v1:a"].map(str::to_owned);
        assert_eq!(read(&source), Ok(expected.to_vec()));

        let failed = |problem: &str| {
            Err(format!(
                "kesconf: invalid cluster config: cluster.root_key.file: {problem}"
            ))
        };
        std::fs::write(&path, "# nothing\n").expect("written");
        assert_eq!(read(&source), failed("no root key in it"));
        let shown = path.display();
        std::fs::write(&path, "x".repeat(FILE_BYTES_MAX + 1)).expect("written");
        assert_eq!(
            read(&source),
            failed(&format!("{shown}: more than 65536 bytes"))
        );
        std::fs::remove_file(&path).expect("removed");
        let expected = format!("{shown}: no such file or directory");
        assert_eq!(read(&source), failed(&expected));
    }

    #[test]
    fn a_value_has_keys_between_commas() {
        let source = |text: &str| RootKeySource::Value(SecretString::new(text.to_owned()));
        let expected = ["a", "b"].map(str::to_owned);
        assert_eq!(read(&source("a, b,")), Ok(expected.to_vec()));
        assert_eq!(
            read(&source(" , ")),
            Err(
                "kesconf: invalid cluster config: cluster.root_key.value: no root key in it"
                    .to_owned()
            )
        );
    }
}

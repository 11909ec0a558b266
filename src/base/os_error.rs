//! Messages of failed file operations, as operators know them from the original.

use std::io;
use std::path::Path;

/// `open keys/x: permission denied`: the operation, the path, and the system's text without its
/// number.
pub fn describe(operation: &str, path: &Path, error: &io::Error) -> String {
    format!("{operation} {}: {}", path.display(), reason(error))
}

/// The system's text for `error`, lower case at the start and without its number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match text.find(" (os error ") {
        Some(end) => &text[..end],
        None => &text,
    };
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_lower_case_and_without_numbers() {
        let error = std::fs::File::open("/nowhere/at/all").expect_err("no such file");
        assert_eq!(
            describe("open", Path::new("nofile"), &error),
            "open nofile: no such file or directory"
        );
    }
}

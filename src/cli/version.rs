//! `kes --version`, and the words for this program that the server's banner shows too.

use super::failure::Failure;
use super::output::{Output, Style};
use crate::base::clock::Timestamp;
use crate::base::version::{COMMIT, VERSION};

/// Operating system and architecture, in the words of Go.
pub(super) fn platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    };
    format!("{}/{arch}", std::env::consts::OS)
}

/// The rows of the version block: label, value, remark.
pub(super) fn rows() -> [[String; 3]; 4] {
    let year = Timestamp::now()
        .to_rfc3339()
        .split('-')
        .next()
        .unwrap_or_default()
        .to_owned();
    let row =
        |label: &str, value: String, remark: &str| [label.to_owned(), value, remark.to_owned()];
    [
        row("Version", VERSION.to_owned(), &format!("commit={COMMIT}")),
        row("Runtime", format!("rust {}", platform()), "compiler=rustc"),
        row(
            "License",
            env!("CARGO_PKG_LICENSE").to_owned(),
            "https://www.apache.org/licenses/LICENSE-2.0",
        ),
        row("Copyright", format!("{year} Keswick authors"), ""),
    ]
}

/// Prints the version block.
pub(super) fn run() -> Result<(), Failure> {
    let output = Output::detect();
    let line = |[label, value, remark]: [String; 3]| {
        let line = format!(
            "{label:<10} {value:<22} {}",
            output.paint(Style::FAINT, &remark)
        );
        format!("{}\n", line.trim_end())
    };
    output.print(&rows().map(line).concat())
}

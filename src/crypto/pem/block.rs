//! The blocks of a PEM file (RFC 7468, with the headers of RFC 1421).
//!
//! As lenient as the original: whatever is not a well-formed block is text between blocks. A file
//! is read once from start to end, however many blocks it begins and never ends.

use zeroize::Zeroizing;

use crate::base::base64;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// Characters of a full line of base64.
const COLUMNS: usize = 64;

/// A PEM block.
pub struct PemBlock {
    /// What the block says it holds: `CERTIFICATE`, `PRIVATE KEY`.
    pub label: String,
    /// Names and values of the headers, in their order.
    pub headers: Vec<(String, String)>,
    /// The content. Wiped on drop, as it may be a private key.
    pub der: Zeroizing<Vec<u8>>,
}

impl PemBlock {
    /// The value of a header; the last one if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .rev()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the label is that of a private key, of whatever kind.
    pub fn is_private_key(&self) -> bool {
        self.label == "PRIVATE KEY" || self.label.ends_with(" PRIVATE KEY")
    }
}

/// All blocks of a file. Text around them is skipped.
pub fn blocks(pem: &[u8]) -> Vec<PemBlock> {
    let mut blocks = Vec::new();
    let mut rest = pem;
    while let Some((block, behind)) = next(rest) {
        blocks.push(block);
        rest = behind;
    }
    blocks
}

/// The first block of a file, and what follows it.
pub(super) fn next(pem: &[u8]) -> Option<(PemBlock, &[u8])> {
    let mut open: Option<OpenBlock<'_>> = None;
    let mut at = 0;
    for line_with_end in pem.split_inclusive(|byte| *byte == b'\n') {
        let start = at;
        at += line_with_end.len();
        let line = line_with_end.trim_ascii_end();
        if let Some(label) = label_of(line, BEGIN) {
            open = Some(OpenBlock {
                label,
                headers: Vec::new(),
                body_start: at,
                in_headers: true,
            });
        } else if line.starts_with(END) {
            let block = open.take().and_then(|open| {
                (label_of(line, END)? == open.label)
                    .then(|| open.close(&pem[..start]))
                    .flatten()
            });
            if let Some(block) = block {
                return Some((block, &pem[at..]));
            }
        } else if let Some(open) = &mut open {
            open.read_header(line, at);
        }
    }
    None
}

/// The label of a line that begins or ends a block.
fn label_of<'a>(line: &'a [u8], marker: &[u8]) -> Option<&'a str> {
    let label = line.strip_prefix(marker)?.strip_suffix(DASHES)?;
    std::str::from_utf8(label).ok()
}

/// A block whose end was not found yet.
struct OpenBlock<'a> {
    label: &'a str,
    headers: Vec<(String, String)>,
    body_start: usize,
    in_headers: bool,
}

impl OpenBlock<'_> {
    /// Takes a line that may be a header; the first that is none ends them.
    fn read_header(&mut self, line: &[u8], next_line: usize) {
        if !self.in_headers {
            return;
        }
        let header = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split_once(':'));
        match header {
            Some((name, value)) => {
                self.headers
                    .push((name.trim().to_owned(), value.trim().to_owned()));
                self.body_start = next_line;
            }
            None => self.in_headers = false,
        }
    }

    /// The block, given the file up to its end line; `None` if the body is not base64.
    fn close(self, pem: &[u8]) -> Option<PemBlock> {
        let mut body = Zeroizing::new(pem.get(self.body_start..)?.to_vec());
        body.retain(|byte| !byte.is_ascii_whitespace());
        Some(PemBlock {
            label: self.label.to_owned(),
            headers: self.headers,
            der: Zeroizing::new(base64::decode(&body).ok()?),
        })
    }
}

/// Writes a block; `headers` are whole lines and the empty one behind them, or nothing.
///
/// The text is allocated once, so that a secret leaves no copy behind.
pub(super) fn encode(label: &str, headers: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(base64::encode(der));
    let lines = body.len().div_ceil(COLUMNS);
    let frame = BEGIN.len() + END.len() + 2 * (label.len() + DASHES.len() + 1);
    let mut text = String::with_capacity(frame + headers.len() + body.len() + lines);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    text.push_str(headers);
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(COLUMNS));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

//! The YAML document as a tree: scalars with their source text and line, sequences, mappings.
//!
//! serde loses both the line of a value and how it was spelled (`0123`, `1.0`, `true`), and the
//! format depends on both. An alias shares its node, so that a small file makes a small tree.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag as RawTag};
use zeroize::Zeroizing;

use crate::config::error::ConfigError;

/// Deepest nesting of a document; the configuration has a depth of six.
const DEPTH_MAX: usize = 64;

/// A value in the document.
pub(super) struct Node {
    /// Where it starts.
    pub(super) at: Position,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a value is.
pub(super) enum Kind {
    /// Text, a number, a boolean or nothing.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Rc<Node>>),
    /// Keys and values in the order of the file, merge keys and duplicates included.
    Mapping(Vec<(Rc<Node>, Rc<Node>)>),
}

/// A scalar as it was written.
pub(super) struct Scalar {
    /// The source text, without quotes, escapes resolved. It may be a secret.
    pub(super) text: Zeroizing<String>,
    /// The type that YAML gives it.
    pub(super) tag: Tag,
}

/// Line and column, the line counted from one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// The type of a scalar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Str,
    Binary,
    Merge,
}

impl Tag {
    /// The tag as error messages write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "!!null",
            Self::Bool => "!!bool",
            Self::Int => "!!int",
            Self::Float => "!!float",
            Self::Str => "!!str",
            Self::Binary => "!!binary",
            Self::Merge => "!!merge",
        }
    }

    /// The type of a plain scalar by its text.
    fn of_plain(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Self::Bool,
            "<<" => Self::Merge,
            _ if is_integer(text) => Self::Int,
            _ if is_float(text) => Self::Float,
            _ => Self::Str,
        }
    }

    /// The type that an explicit tag gives; `None` if it is not one of YAML's own.
    fn of_explicit(tag: &RawTag) -> Option<Self> {
        if !tag.is_yaml_core_schema() {
            return None;
        }
        match tag.suffix.as_str() {
            "null" => Some(Self::Null),
            "bool" => Some(Self::Bool),
            "int" => Some(Self::Int),
            "float" => Some(Self::Float),
            "binary" => Some(Self::Binary),
            "merge" => Some(Self::Merge),
            _ => Some(Self::Str),
        }
    }
}

fn is_integer(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (digits, radix) = match text.get(..2) {
        Some("0x") => (&text[2..], 16),
        Some("0o") => (&text[2..], 8),
        Some("0b") => (&text[2..], 2),
        _ => (text, 10),
    };
    digits.starts_with(|c: char| c.is_digit(radix))
        && digits.chars().all(|c| c == '_' || c.is_digit(radix))
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF")
        || matches!(text, ".nan" | ".NaN" | ".NAN")
        || (unsigned.starts_with(|c: char| c == '.' || c.is_ascii_digit())
            && unsigned.contains(|c: char| c.is_ascii_digit())
            && text.parse::<f64>().is_ok())
}

impl Node {
    /// Whether it is nothing: `~`, `null`, or no text at all.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.tag == Tag::Null)
    }

    /// The value under the first key with that text, if this is a mapping with such a key.
    pub(super) fn first_value_of(&self, key: &str) -> Option<&Rc<Self>> {
        let Kind::Mapping(entries) = &self.kind else {
            return None;
        };
        let is_key = |node: &Self| node.scalar().is_some_and(|scalar| *scalar.text == key);
        let entry = entries.iter().find(|(node, _)| is_key(node));
        entry.map(|(_, value)| value)
    }

    /// The scalar, if it is one.
    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match &self.kind {
            Kind::Scalar(scalar) => Some(scalar),
            Kind::Sequence(_) | Kind::Mapping(_) => None,
        }
    }
}

/// Reads the first document of `text`; what follows it does not count.
///
/// # Errors
///
/// [`ConfigError::Empty`] if there is none, [`ConfigError::Syntax`] if it is not YAML, nested too
/// deeply, or contains itself.
pub(super) fn parse_document(text: &str) -> Result<Rc<Node>, ConfigError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax_error(&error))?;
        if let Some(root) = builder.accept(event, span)? {
            return Ok(root);
        }
    }
    Err(ConfigError::Empty)
}

/// A collection whose end was not seen yet.
struct Open {
    at: Position,
    anchor: usize,
    items: Vec<Rc<Node>>,
    is_mapping: bool,
}

/// Makes a tree of the parser's events, without recursion.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// By the parser's number of the anchor; complete nodes only.
    anchors: HashMap<usize, Rc<Node>>,
}

impl Builder {
    /// Takes the next event; gives the root once it is complete.
    fn accept(&mut self, event: Event<'_>, span: Span) -> Result<Option<Rc<Node>>, ConfigError> {
        let at = position(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.and_then(|tag| Tag::of_explicit(&tag));
                let tag = tag.unwrap_or_else(|| match style {
                    ScalarStyle::Plain => Tag::of_plain(&text),
                    _ => Tag::Str,
                });
                let text = Zeroizing::new(text.into_owned());
                let kind = Kind::Scalar(Scalar { text, tag });
                Ok(self.complete(anchor, Node { at, kind }))
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => Ok(self.place(Rc::clone(node))),
                None => Err(problem(at.line, "an anchor's value contains itself")),
            },
            Event::SequenceStart(anchor, _) => self.start(at, anchor, false),
            Event::MappingStart(anchor, _) => self.start(at, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => Ok(self.complete(open.anchor, open.close())),
                None => Err(problem(at.line, "a collection ends that was not begun")),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(None),
        }
    }

    fn start(
        &mut self,
        at: Position,
        anchor: usize,
        is_mapping: bool,
    ) -> Result<Option<Rc<Node>>, ConfigError> {
        if self.open.len() == DEPTH_MAX {
            return Err(problem(at.line, "exceeded the maximum nesting depth"));
        }
        self.open.push(Open {
            at,
            anchor,
            items: Vec::new(),
            is_mapping,
        });
        Ok(None)
    }

    fn complete(&mut self, anchor: usize, node: Node) -> Option<Rc<Node>> {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node)
    }

    /// Puts a node into the collection that is open; without one it is the root.
    fn place(&mut self, node: Rc<Node>) -> Option<Rc<Node>> {
        match self.open.last_mut() {
            Some(open) => {
                open.items.push(node);
                None
            }
            None => Some(node),
        }
    }
}

impl Open {
    fn close(self) -> Node {
        let kind = if self.is_mapping {
            let mut items = self.items.into_iter();
            let mut entries = Vec::new();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                entries.push((key, value));
            }
            Kind::Mapping(entries)
        } else {
            Kind::Sequence(self.items)
        };
        Node { at: self.at, kind }
    }
}

fn position(marker: &Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col(),
    }
}

fn problem(line: usize, problem: &str) -> ConfigError {
    ConfigError::Syntax {
        line,
        problem: problem.to_owned(),
    }
}

/// The parser's error in the words that users of the original know.
fn syntax_error(error: &ScanError) -> ConfigError {
    let info = error.info();
    let text = match info.split_once(", ") {
        Some((context, text)) if context.starts_with("while ") => text,
        _ => info,
    };
    let text = if text.starts_with("tab") {
        "found a tab character that violates indentation"
    } else {
        text
    };
    problem(error.marker().line(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse_document(text).err().expect(text).to_string()
    }

    #[test]
    fn scalars_keep_text_type_and_line() {
        let root = parse_document("a: 0123\nb: 'x'\nc:\nd: |\n  text\n").expect("YAML");
        let Kind::Mapping(entries) = &root.kind else {
            panic!("a mapping");
        };
        let seen: Vec<_> = entries
            .iter()
            .map(|(_, value)| {
                let scalar = value.scalar().expect("a scalar");
                (scalar.text.as_str(), scalar.tag, value.at.line)
            })
            .collect();
        assert_eq!(seen[0], ("0123", Tag::Int, 1));
        assert_eq!(seen[1], ("x", Tag::Str, 2));
        assert_eq!((seen[2].0, seen[2].1), ("", Tag::Null));
        assert_eq!((seen[3].0, seen[3].1), ("text\n", Tag::Str));
    }

    #[test]
    fn plain_scalars_have_types() {
        let table = [
            ("null", Tag::Null),
            ("True", Tag::Bool),
            ("yes", Tag::Str),
            ("-12", Tag::Int),
            ("0x1F", Tag::Int),
            ("1_000", Tag::Int),
            ("1.5", Tag::Float),
            ("1e3", Tag::Float),
            (".inf", Tag::Float),
            ("inf", Tag::Str),
            ("1h", Tag::Str),
            (".", Tag::Str),
            ("+5m", Tag::Str),
        ];
        for (text, tag) in table {
            assert_eq!(Tag::of_plain(text), tag, "{text}");
        }
    }

    #[test]
    fn only_the_first_document_counts() {
        let root = parse_document("a: 1\n---\n\t@ ]broken: [\n").expect("YAML");
        assert!(matches!(&root.kind, Kind::Mapping(entries) if entries.len() == 1));
        assert!(parse_document("---\n").expect("YAML").is_null());
        assert!(parse_document("\u{feff}~").expect("YAML").is_null());
    }

    #[test]
    fn what_is_no_yaml_is_named() {
        assert_eq!(error(""), "EOF");
        assert_eq!(error("# only a comment\n"), "EOF");
        assert_eq!(
            error("admin:\n\tidentity: x\n"),
            "yaml: line 2: found a tab character that violates indentation"
        );
        assert_eq!(
            error("a: &x [*x]"),
            "yaml: line 1: an anchor's value contains itself"
        );
        assert!(error("a: *x").starts_with("yaml: line 1: "));
        let deep = format!("{}{}", "[".repeat(70), "]".repeat(70));
        assert_eq!(
            error(&deep),
            "yaml: line 1: exceeded the maximum nesting depth"
        );
    }
}

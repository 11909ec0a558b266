//! Typed access to the YAML tree. Collects every type error and duplicate key in the shape of the
//! original, resolves environment references, and notes keys that mean nothing.
//!
//! It bounds its work: aliases make a small file stand for a huge document.

use std::collections::HashMap;
use std::rc::Rc;

use zeroize::Zeroizing;

use crate::base::secret::SecretString;
use crate::config::duration::GoDuration;
use crate::config::env::{Lookup, reference};
use crate::config::error::ConfigError;
use crate::config::node::{Kind, Node, Position, Scalar, Tag};
use crate::config::section::Section;

/// Work done: nodes looked at, long texts counting for more. A file of the greatest size takes less
/// unless aliases multiply it.
const VISITS_MAX: usize = 1_200_000;

/// How deep merge keys may lead to mappings with merge keys.
const MERGE_DEPTH_MAX: usize = 16;

/// Warnings kept; a file with more has other problems.
const WARNINGS_MAX: usize = 100;

/// Type errors kept.
const ISSUES_MAX: usize = 100;

/// A scalar that was given in the file, environment references resolved.
struct Value {
    text: Zeroizing<String>,
    tag: Tag,
    /// The text is a variable's value.
    from_env: bool,
}

/// Reads one document.
pub(super) struct Reader<'a> {
    env: Lookup<'a>,
    issues: Vec<(Position, String)>,
    missing: Option<(Position, String)>,
    warnings: Vec<(Position, String)>,
    visits: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(env: Lookup<'a>) -> Self {
        Self {
            env,
            issues: Vec::new(),
            missing: None,
            warnings: Vec::new(),
            visits: 0,
        }
    }

    /// Ends the reading: the warnings in the order of the file, or the errors. A missing variable
    /// hides type errors.
    pub(super) fn finish(mut self) -> Result<Vec<String>, ConfigError> {
        if self.visits > VISITS_MAX {
            return Err(ConfigError::ExcessiveAliasing);
        }
        if let Some((at, name)) = self.missing {
            return Err(ConfigError::MissingVariable {
                name,
                line: at.line,
            });
        }
        if !self.issues.is_empty() {
            self.issues.sort();
            let lines = self.issues.into_iter();
            return Err(ConfigError::Types(
                lines
                    .map(|(at, text)| format!("line {}: {text}", at.line))
                    .collect(),
            ));
        }
        self.warnings.sort();
        let warnings = self.warnings.into_iter();
        Ok(warnings
            .map(|(at, text)| format!("line {}: {text}", at.line))
            .collect())
    }

    /// Notes something that is accepted, but probably not meant.
    pub(super) fn warn(&mut self, at: Position, text: String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push((at, text));
        }
    }

    fn issue(&mut self, at: Position, text: String) {
        if self.issues.len() < ISSUES_MAX {
            self.issues.push((at, text));
        }
    }

    /// Counts a node; `false` once there were too many.
    fn visit(&mut self, node: &Node) -> bool {
        if self.visits <= VISITS_MAX {
            self.visits += 1 + node.scalar().map_or(0, |scalar| scalar.text.len() / 64);
        }
        self.visits <= VISITS_MAX
    }

    /// Reads a mapping. Null gives `None`; so does anything else but a mapping, which is an error.
    pub(super) fn section(&mut self, node: &Rc<Node>, path: &str, kind: &str) -> Option<Section> {
        if !self.visit(node) || node.is_null() {
            return None;
        }
        let Kind::Mapping(entries) = &node.kind else {
            self.mismatch(node, kind, may_be_secret(path));
            return None;
        };
        if !self.keys_are_unique(entries) {
            return None;
        }
        let mut section = Section::new(path);
        self.collect(node, &mut section, 0);
        Some(section)
    }

    /// Reads the mapping under `key` of `parent`.
    pub(super) fn subsection(
        &mut self,
        parent: &mut Section,
        key: &'static str,
    ) -> Option<Section> {
        let node = parent.take(key)?;
        let path = parent.path_of(key);
        self.section(&node, &path, &path)
    }

    fn keys_are_unique(&mut self, entries: &[(Rc<Node>, Rc<Node>)]) -> bool {
        let mut lines: HashMap<&str, usize> = HashMap::new();
        let mut unique = true;
        for (key, _) in entries {
            if !self.visit(key) {
                return false;
            }
            let Some(scalar) = key.scalar() else { continue };
            if let Some(first) = lines.get(scalar.text.as_str()) {
                unique = false;
                let text = scalar.text.as_str();
                let text = format!("mapping key {text:?} already defined at line {first}");
                self.issue(key.at, text);
            } else {
                lines.insert(&scalar.text, key.at.line);
            }
        }
        unique
    }

    /// Puts the entries of a mapping into `section` unless their key is there already, first its
    /// own, then those of its merge keys, the first of several winning.
    fn collect(&mut self, node: &Rc<Node>, section: &mut Section, depth: usize) {
        let Kind::Mapping(entries) = &node.kind else {
            self.issue(
                node.at,
                "map merge requires map or sequence of maps as the value".to_owned(),
            );
            return;
        };
        let mut merged = Vec::new();
        for (key, value) in entries {
            if !self.visit(key) {
                return;
            }
            match key.scalar() {
                Some(scalar) if scalar.tag == Tag::Merge => merged.push(Rc::clone(value)),
                Some(scalar) if scalar.tag == Tag::Null => {}
                Some(scalar) => section.insert(&scalar.text, key, value),
                None => self.mismatch(key, "string", false),
            }
        }
        for source in merged {
            if depth >= MERGE_DEPTH_MAX || !self.visit(&source) {
                return;
            }
            match &source.kind {
                Kind::Sequence(sources) => {
                    for source in sources {
                        if !self.visit(source) {
                            return;
                        }
                        self.collect(source, section, depth + 1);
                    }
                }
                _ => self.collect(&source, section, depth + 1),
            }
        }
    }

    /// Ends a section with a fixed set of keys: notes those that nobody asked for.
    pub(super) fn close(&mut self, section: &Section) {
        for (at, text) in section.ignored() {
            self.warn(at, text);
        }
    }

    /// The items of the list under `key`, null ones left out.
    pub(super) fn list(
        &mut self,
        section: &mut Section,
        key: &'static str,
        kind: &str,
    ) -> Vec<Rc<Node>> {
        let Some(node) = section.take(key) else {
            return Vec::new();
        };
        if !self.visit(&node) || node.is_null() {
            return Vec::new();
        }
        let Kind::Sequence(items) = &node.kind else {
            let is_secret = may_be_secret(&section.path);
            self.mismatch(&node, kind, is_secret);
            return Vec::new();
        };
        let mut present = Vec::new();
        for item in items {
            if !self.visit(item) {
                return Vec::new();
            }
            if !item.is_null() {
                present.push(Rc::clone(item));
            }
        }
        present
    }

    /// A list of texts, environment references resolved.
    pub(super) fn strings(&mut self, section: &mut Section, key: &'static str) -> Vec<String> {
        let items = self.list(section, key, "[]string");
        let values = items.iter().filter_map(|item| self.value(item, "string"));
        values.map(|value| value.text.as_str().to_owned()).collect()
    }

    /// A list of texts that are taken as they are, with where they stand.
    pub(super) fn literals(
        &mut self,
        section: &mut Section,
        key: &'static str,
    ) -> Vec<(Position, String)> {
        let items = self.list(section, key, "[]string");
        let mut texts = Vec::new();
        for item in items {
            match item.scalar() {
                Some(scalar) if scalar.tag != Tag::Binary => {
                    texts.push((item.at, scalar.text.as_str().to_owned()));
                }
                _ => self.mismatch(&item, "string", false),
            }
        }
        texts
    }

    /// A text; empty if there is none.
    pub(super) fn string(&mut self, section: &mut Section, key: &'static str) -> String {
        self.secret(section, key).expose().to_owned()
    }

    /// A text that nobody may see; empty if there is none.
    pub(super) fn secret(&mut self, section: &mut Section, key: &'static str) -> SecretString {
        let node = section.take(key);
        let value = node.and_then(|node| self.value(&node, "string"));
        SecretString::new(
            value.map_or_else(String::new, |mut value| std::mem::take(&mut *value.text)),
        )
    }

    /// The text that is `node`; empty if it is nothing.
    pub(super) fn text(&mut self, node: &Rc<Node>) -> String {
        let value = self.value(node, "string");
        value.map_or_else(String::new, |value| value.text.as_str().to_owned())
    }

    /// A duration; zero if there is none. A bare number is none, not even 0.
    pub(super) fn duration(&mut self, section: &mut Section, key: &'static str) -> GoDuration {
        self.optional_duration(section, key).unwrap_or_default()
    }

    /// A duration, where zero is not the same as none.
    pub(super) fn optional_duration(
        &mut self,
        section: &mut Section,
        key: &'static str,
    ) -> Option<GoDuration> {
        const KIND: &str = "time.Duration";
        let node = section.take(key)?;
        let value = self.value(&node, KIND)?;
        let parsed = match value.tag {
            Tag::Str => GoDuration::parse(&value.text),
            _ => None,
        };
        if parsed.is_none() {
            self.scalar_mismatch(node.at, value.tag, &value.text, KIND);
        }
        parsed
    }

    /// A boolean; `false` if there is none. The words of YAML 1.1 count, quoted or not; `true` and
    /// `false` must not be quoted, unless they come from the environment.
    pub(super) fn boolean(&mut self, section: &mut Section, key: &'static str) -> bool {
        const KIND: &str = "bool";
        let Some(node) = section.take(key) else {
            return false;
        };
        let Some(value) = self.value(&node, KIND) else {
            return false;
        };
        match value.text.as_str() {
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => true,
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => false,
            text @ ("true" | "True" | "TRUE" | "false" | "False" | "FALSE")
                if value.tag == Tag::Bool || value.from_env =>
            {
                text.starts_with(['t', 'T'])
            }
            text => {
                self.scalar_mismatch(node.at, value.tag, text, KIND);
                false
            }
        }
    }

    /// The scalar in `node`; `None` if it is null, or no scalar, which is an error.
    fn value(&mut self, node: &Rc<Node>, kind: &str) -> Option<Value> {
        if !self.visit(node) || node.is_null() {
            return None;
        }
        let Some(Scalar { text, tag }) = node.scalar() else {
            self.mismatch(node, kind, false);
            return None;
        };
        if *tag == Tag::Binary {
            self.issue(node.at, format!("cannot unmarshal !!binary into {kind}"));
            return None;
        }
        let Some(name) = reference(text) else {
            return Some(Value {
                text: text.clone(),
                tag: *tag,
                from_env: false,
            });
        };
        match (self.env)(name) {
            Some(text) => Some(Value {
                text: Zeroizing::new(text),
                tag: Tag::Str,
                from_env: true,
            }),
            None => {
                let missing = (node.at, name.to_owned());
                if self.missing.as_ref().is_none_or(|first| missing < *first) {
                    self.missing = Some(missing);
                }
                None
            }
        }
    }

    fn mismatch(&mut self, node: &Node, kind: &str, is_secret: bool) {
        let found = match &node.kind {
            Kind::Sequence(_) => "!!seq",
            Kind::Mapping(_) => "!!map",
            Kind::Scalar(scalar) if is_secret => scalar.tag.name(),
            Kind::Scalar(scalar) => {
                return self.scalar_mismatch(node.at, scalar.tag, &scalar.text, kind);
            }
        };
        self.issue(node.at, format!("cannot unmarshal {found} into {kind}"));
    }

    fn scalar_mismatch(&mut self, at: Position, tag: Tag, text: &str, kind: &str) {
        let shown = if text.len() > 10 {
            let start: String = text.chars().take(7).collect();
            format!("{start}...")
        } else {
            text.to_owned()
        };
        let tag = tag.name();
        self.issue(at, format!("cannot unmarshal {tag} `{shown}` into {kind}"));
    }
}

/// Whether what stands where the mapping `path` should be may be a secret that slipped to the left.
fn may_be_secret(path: &str) -> bool {
    path.starts_with("keystore.") || path == "cluster.root_key"
}

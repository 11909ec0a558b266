//! One mapping of the configuration while it is read: what it has, and what was asked for.

use std::collections::HashMap;
use std::rc::Rc;

use crate::config::node::{Node, Position};

/// A mapping under read: its entries by key, merge keys resolved.
pub(super) struct Section {
    /// Key path from the root, empty for the root itself.
    pub(super) path: String,
    entries: Vec<(Rc<Node>, Rc<Node>)>,
    index: HashMap<String, usize>,
    taken: Vec<&'static str>,
}

/// Keys that had a meaning in older versions: path, what to say.
const LEGACY: [(&str, &str); 6] = [
    ("root", "the admin is set by 'admin.identity'"),
    (
        "policy.*.paths",
        "the rules of a policy are 'allow' and 'deny'",
    ),
    ("keystore.generic", "plugin keystores no longer exist"),
    ("keystore.vault.approle.retry", "the delay is fixed"),
    ("keystore.vault.kubernetes.retry", "the delay is fixed"),
    (
        "keystore.gemalto.keysecure.credentials.retry",
        "the delay is fixed",
    ),
];

impl Section {
    pub(super) fn new(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            entries: Vec::new(),
            index: HashMap::new(),
            taken: Vec::new(),
        }
    }

    /// Adds an entry, unless there is one with that name.
    pub(super) fn insert(&mut self, name: &str, key: &Rc<Node>, value: &Rc<Node>) {
        if !self.index.contains_key(name) {
            self.index.insert(name.to_owned(), self.entries.len());
            self.entries.push((Rc::clone(key), Rc::clone(value)));
        }
    }

    /// The value under `key`, which thereby is a known one.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Rc<Node>> {
        self.taken.push(key);
        let &entry = self.index.get(key)?;
        self.entries.get(entry).map(|(_, value)| Rc::clone(value))
    }

    /// The path from the root of the document to `key` in this section.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The names and values of a section whose keys the user chooses.
    pub(super) fn into_entries(self) -> impl Iterator<Item = (String, Rc<Node>)> {
        self.entries.into_iter().filter_map(|(key, value)| {
            let name = key.scalar()?.text.as_str().to_owned();
            Some((name, value))
        })
    }

    /// What to say of each key that nobody asked for. Keys of the root that start with `x-` are the
    /// user's own, a place for anchors.
    pub(super) fn ignored(&self) -> impl Iterator<Item = (Position, String)> {
        self.entries.iter().filter_map(|(key, _)| {
            let name = key.scalar()?.text.as_str();
            let is_extension = self.path.is_empty() && name.starts_with("x-");
            if self.taken.contains(&name) || is_extension {
                return None;
            }
            let path = self.path_of(name);
            let text = match (legacy_advice(&path), self.similar(name)) {
                (Some(advice), _) => {
                    format!("'{path}' no longer has a meaning and is ignored: {advice}")
                }
                (None, Some(known)) => {
                    format!("unknown key '{path}' is ignored: '{known}' is known")
                }
                (None, None) => format!("unknown key '{path}' is ignored"),
            };
            Some((key.at, text))
        })
    }

    /// The known key that differs from `name` in the case of letters only.
    fn similar(&self, name: &str) -> Option<&'static str> {
        let mut known = self.taken.iter().copied();
        known.find(|known| known.eq_ignore_ascii_case(name))
    }
}

fn legacy_advice(path: &str) -> Option<&'static str> {
    LEGACY.into_iter().find_map(|(pattern, advice)| {
        let matches = match pattern.split_once('*') {
            Some((start, end)) => path.starts_with(start) && path.ends_with(end),
            None => path == pattern,
        };
        matches.then_some(advice)
    })
}

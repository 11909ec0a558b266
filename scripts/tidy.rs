//! The rules of the source tree that the compiler cannot hold: layers, who may use which library,
//! file headers, hot paths, and honest tests. All violations are reported at once.

#![expect(clippy::expect_used, reason = "all of this is test code")]

use std::path::{Path, PathBuf};

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::Visit;

/// The layers, lowest first; modules of one row never import each other.
const LAYERS: &[&[&str]] = &[
    &["base"],
    &["crypto", "wire", "telemetry"],
    &["client", "authz", "audit", "machine"],
    &["keystore", "storage"],
    &["raft"],
    &["gateway"],
    &["cache"],
    &["api"],
    &["ingress"],
    &["config"],
    &["node"],
    &["cli"],
];

/// What may stand at the top of the repository besides dotfiles.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "proto",
    "cluster-tests",
    "scripts",
    "docker-compose.yml",
    "LICENSE",
    "README.md",
];

/// Test code that may sleep, and why.
const SLEEPERS: &[(&str, &str)] = &[
    (
        "cluster-tests/harness/wait.rs",
        "bounded polling and paced load, for all other tests",
    ),
    (
        "src/cache/actor/tests.rs",
        "time is paused: a sleep only moves the clock",
    ),
    (
        "src/gateway/actor/tests.rs",
        "time is paused: a sleep only moves the clock",
    ),
];

/// A library and where it may be used: folders of `src/`, or file names.
struct Library {
    names: &'static [&'static str],
    places: &'static [&'static str],
}

const LIBRARIES: &[Library] = &[
    Library {
        names: &["actix"],
        places: &[
            "actor.rs",
            "actor/tests.rs",
            "ingress/tests.rs",
            "raft_keystore/tests.rs",
            "messages.rs",
            "node/",
        ],
    },
    Library {
        names: &["actix_web", "actix_http", "actix_server"],
        places: &["api/", "ingress/"],
    },
    Library {
        names: &["sled"],
        places: &["storage/"],
    },
    Library {
        names: &["openraft"],
        places: &["storage/", "raft/"],
    },
    Library {
        names: &["bincode"],
        places: &["machine/codec.rs"],
    },
    Library {
        names: &["tonic", "tonic_prost"],
        places: &["raft/transport/"],
    },
    Library {
        names: &["reqwest"],
        places: &["client/", "keystore/"],
    },
];

/// The only readers of the environment.
const ENVIRONMENT: &[&str] = &["config/env.rs", "cli/", "telemetry/"];

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// One file and what is wrong with it.
struct Source {
    /// Path from the top of the repository.
    path: String,
    /// Path below `src/`, empty for other files.
    below_src: String,
    /// The module path of the file, for files below `src/`.
    module: Vec<String>,
    /// How many items around the current one are test code.
    test_depth: usize,
    hot: bool,
    violations: Vec<String>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let below_src = path.strip_prefix("src/").unwrap_or_default().to_owned();
        let mut module: Vec<String> = below_src
            .trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect();
        if matches!(
            module.last().map(String::as_str),
            Some("mod" | "lib" | "main" | "")
        ) {
            module.pop();
        }
        let test_file = path.starts_with("cluster-tests/") || path.ends_with("tests.rs");
        Self {
            path: path.to_owned(),
            below_src,
            module,
            test_depth: usize::from(test_file),
            hot: text.lines().any(|line| line.starts_with("//! Hot path")),
            violations: Vec::new(),
        }
    }

    fn violation(&mut self, span: Span, what: &str) {
        self.violations
            .push(format!("{}:{}: {what}", self.path, span.start().line));
    }

    fn lies_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| match place.strip_suffix('/') {
            Some(_) => self.below_src.starts_with(place),
            None => self.below_src == *place || self.below_src.ends_with(&format!("/{place}")),
        })
    }

    /// Judges one path as written, from a `use`, an expression, a type or a macro.
    fn judge(&mut self, segments: &[String], span: Span) {
        if let Some(target) = self.module_at_top(segments) {
            self.judge_layer(&target, span);
        }
        let first = segments.first().map(String::as_str).unwrap_or_default();
        for library in LIBRARIES {
            let used = library.names.contains(&first);
            if used && !self.below_src.is_empty() && !self.lies_in(library.places) {
                let places = library.places.join(", ");
                self.violation(span, &format!("`{first}` may be used only in {places}"));
            }
        }
        let tail: Vec<&str> = segments.iter().rev().take(2).map(String::as_str).collect();
        let reads_environment = matches!(tail[..], ["var" | "var_os" | "vars" | "vars_os", "env"]);
        if reads_environment && !self.below_src.is_empty() && !self.lies_in(ENVIRONMENT) {
            let places = ENVIRONMENT.join(", ");
            self.violation(span, &format!("the environment is read only in {places}"));
        }
        let sleeps = matches!(tail[..], ["sleep", "thread" | "time"]);
        let allowed = SLEEPERS.iter().any(|(path, _)| *path == self.path);
        if sleeps && self.test_depth > 0 && !allowed {
            self.violation(span, "a test must not sleep: wait for a condition");
        }
        if self.hot
            && segments
                .iter()
                .any(|name| name == "Mutex" || name == "RwLock")
        {
            self.violation(span, "a lock in a file marked as hot path");
        }
    }

    /// The top-level module that a path of this crate leads to.
    fn module_at_top(&self, segments: &[String]) -> Option<String> {
        let climbed = segments.iter().take_while(|name| *name == "super").count();
        match segments.first()?.as_str() {
            "crate" => segments.get(1).cloned(),
            "super" if climbed >= self.module.len() => segments.get(climbed).cloned(),
            _ => None,
        }
    }

    fn judge_layer(&mut self, target: &str, span: Span) {
        let Some(own) = self.module.first().cloned() else {
            return;
        };
        let (Some(own_layer), Some(target_layer)) = (layer_of(&own), layer_of(target)) else {
            return;
        };
        if own != target && target_layer >= own_layer {
            self.violation(
                span,
                &format!("`{own}` (layer {own_layer}) imports `{target}` (layer {target_layer})"),
            );
        }
    }

    fn visit_use_tree(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.visit_use_tree(&path.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.visit_use_tree(tree, prefix);
                }
            }
            syn::UseTree::Name(name) => self.judge_with(prefix, name.ident.to_string(), tree),
            syn::UseTree::Rename(name) => self.judge_with(prefix, name.ident.to_string(), tree),
            syn::UseTree::Glob(_) => self.judge_with(prefix, "*".to_owned(), tree),
        }
    }

    fn judge_with(&mut self, prefix: &[String], last: String, tree: &syn::UseTree) {
        let mut segments = prefix.to_vec();
        segments.push(last);
        self.judge(&segments, tree.span());
    }

    /// Judges the paths inside the tokens of a macro.
    fn visit_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut start = Span::call_site();
        let mut colons = 0;
        let ended = |source: &mut Self, path: &mut Vec<String>, span| {
            if path.len() > 1 {
                source.judge(path, span);
            }
            path.clear();
        };
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        ended(self, &mut path, start);
                        start = ident.span();
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    ended(self, &mut path, start);
                    colons = 0;
                    self.visit_tokens(group.stream());
                }
                _ => {
                    ended(self, &mut path, start);
                    colons = 0;
                }
            }
        }
        ended(self, &mut path, start);
    }

    fn in_item(&mut self, attributes: &[syn::Attribute], visit: impl FnOnce(&mut Self)) {
        let test = attributes.iter().any(is_test_attribute);
        self.test_depth += usize::from(test);
        visit(self);
        self.test_depth -= usize::from(test);
    }
}

fn is_test_attribute(attribute: &syn::Attribute) -> bool {
    let last = attribute
        .path()
        .segments
        .last()
        .map(|segment| segment.ident.to_string());
    match last.as_deref() {
        Some("test") => true,
        Some("cfg") => {
            let syn::Meta::List(list) = &attribute.meta else {
                return false;
            };
            let condition = list.tokens.to_string();
            condition == "test" || condition.starts_with("all (test")
        }
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.in_item(&item.attrs, |source| {
            source.visit_use_tree(&item.tree, &mut Vec::new());
        });
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.judge(&segments, path.span());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_tokens(item.tokens.clone());
        syn::visit::visit_macro(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("ignore") {
            self.violation(attribute.span(), "a test must not be ignored");
        }
        syn::visit::visit_attribute(self, attribute);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if self.hot && call.method == "lock" {
            self.violation(call.method.span(), "a lock in a file marked as hot path");
        }
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.in_item(&item.attrs, |source| {
            source.module.push(item.ident.to_string());
            syn::visit::visit_item_mod(source, item);
            source.module.pop();
        });
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.in_item(&item.attrs, |source| {
            syn::visit::visit_item_fn(source, item);
        });
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.in_item(&item.attrs, |source| {
            syn::visit::visit_item_impl(source, item);
        });
    }
}

/// What is wrong with one file.
fn inspect(path: &str, text: &str) -> Vec<String> {
    let mut source = Source::new(path, text);
    if !text.starts_with("//!") {
        source.violations.push(format!("{path}:1: no `//!` header"));
    }
    let module = source.module.first().cloned().unwrap_or_default();
    if !module.is_empty() && module != "docs" && layer_of(&module).is_none() {
        source
            .violations
            .push(format!("{path}:1: module `{module}` is in no layer"));
    }
    match syn::parse_file(text) {
        Ok(file) => source.visit_file(&file),
        Err(error) => source.violation(error.span(), &format!("does not parse: {error}")),
    }
    source.violations.sort();
    source.violations.dedup();
    source.violations
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_source_tree_keeps_its_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "proto", "cluster-tests", "scripts"] {
        rust_files(&root.join(folder), &mut files);
    }
    files.sort();
    let mut violations = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).expect("source");
        let path = file
            .strip_prefix(root)
            .expect("below the root")
            .to_string_lossy()
            .into_owned();
        violations.extend(inspect(&path, &text));
    }
    assert!(files.len() > 10, "the source tree was not found");
    assert!(
        violations.is_empty(),
        "{} violations:\n{}",
        violations.len(),
        violations.join("\n")
    );
}

#[test]
fn the_top_of_the_repository_holds_only_what_belongs_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut strangers = Vec::new();
    for entry in std::fs::read_dir(root).expect("root") {
        let name = entry
            .expect("entry")
            .file_name()
            .to_string_lossy()
            .into_owned();
        // `target` is what cargo makes where no other place is set; git ignores it.
        let known = name.starts_with('.') || name == "target" || TOP_LEVEL.contains(&&*name);
        if !known {
            strangers.push(name);
        }
    }
    assert!(
        strangers.is_empty(),
        "not at the top of the repository: {strangers:?}"
    );
}

#[test]
fn violations_are_found() {
    let cases = [
        ("src/crypto/a.rs", "//! x\nuse crate::wire::key;", 1),
        ("src/crypto/a.rs", "//! x\nuse crate::{base::name, api};", 1),
        ("src/crypto/a.rs", "//! x\nfn f() { crate::cli::run(); }", 1),
        ("src/crypto/a.rs", "//! x\nuse super::super::cli::run;", 1),
        ("src/crypto/mod.rs", "//! x\nuse super::cli::run;", 1),
        (
            "src/crypto/a.rs",
            "//! x\nfn f() { vec![crate::cli::run()]; }",
            1,
        ),
        (
            "src/cli/a.rs",
            "//! x\nuse crate::crypto::cipher;\nuse super::args;",
            0,
        ),
        ("src/api/a.rs", "//! x\nuse actix::Actor;", 1),
        ("src/authz/actor.rs", "//! x\nuse actix::Actor;", 0),
        ("src/cache/a.rs", "//! x\nuse actix_web::web;", 1),
        ("src/cli/a.rs", "//! x\nfn f() { reqwest::get(); }", 1),
        (
            "src/node/a.rs",
            "//! x\nfn f() { std::env::var(\"A\"); }",
            1,
        ),
        (
            "src/config/env.rs",
            "//! x\nfn f() { std::env::var(\"A\"); }",
            0,
        ),
        ("src/base/a.rs", "use std::fmt;", 1),
        (
            "src/cache/a.rs",
            "//! x\n//! Hot path: y\nuse std::sync::Mutex;",
            1,
        ),
        (
            "src/cache/a.rs",
            "//! x\n//! Hot path: y\nfn f() { a.lock(); }",
            1,
        ),
        ("src/base/a.rs", "//! x\n#[test]\n#[ignore]\nfn f() {}", 1),
        (
            "src/base/a.rs",
            "//! x\n#[cfg(test)]\nmod t { fn f() { std::thread::sleep(d); } }",
            1,
        ),
        (
            "src/base/a.rs",
            "//! x\nfn f() { std::thread::sleep(d); }",
            0,
        ),
        (
            "cluster-tests/a.rs",
            "//! x\nfn f() { select! { _ = tokio::time::sleep(d) => {} } }",
            1,
        ),
        ("src/helper/a.rs", "//! x\n", 1),
    ];
    for (path, text, expected) in cases {
        let found = inspect(path, text);
        assert_eq!(found.len(), expected, "{path}: {text}\n{found:?}");
    }
}

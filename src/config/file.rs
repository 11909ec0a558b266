//! The configuration as it was written: every key that has a meaning, with the type it must have.
//! What is absent or null is empty, zero or `false`; nothing is checked beyond types.

use std::rc::Rc;

use crate::authz::pattern::Pattern;
use crate::base::secret::SecretString;
use crate::config::cluster::ClusterFile;
use crate::config::duration::GoDuration;
use crate::config::env::Lookup;
use crate::config::error::ConfigError;
use crate::config::keystore::KeystoreFile;
use crate::config::node::{Node, parse_document};
use crate::config::reader::Reader;
use crate::config::section::Section;

/// The image of a file.
#[derive(Default)]
pub(super) struct File {
    pub(super) address: String,
    pub(super) admin: String,
    pub(super) tls: TlsFile,
    pub(super) policies: Vec<PolicyFile>,
    pub(super) expiry_any: GoDuration,
    pub(super) expiry_unused: GoDuration,
    pub(super) expiry_offline: GoDuration,
    pub(super) apis: Vec<ApiFile>,
    pub(super) log_error: String,
    pub(super) log_audit: String,
    pub(super) log_format: String,
    pub(super) keys: Vec<String>,
    pub(super) keystore: KeystoreFile,
    pub(super) cluster: Option<ClusterFile>,
    /// One for each key that is ignored or probably means something else.
    pub(super) warnings: Vec<String>,
}

#[derive(Default)]
pub(super) struct TlsFile {
    pub(super) key: String,
    pub(super) cert: String,
    pub(super) password: SecretString,
    pub(super) auth: String,
    pub(super) ca: String,
    pub(super) proxy_identities: Vec<String>,
    pub(super) proxy_cert_header: String,
}

pub(super) struct PolicyFile {
    pub(super) name: String,
    pub(super) allow: Vec<String>,
    pub(super) deny: Vec<String>,
    pub(super) identities: Vec<String>,
}

pub(super) struct ApiFile {
    pub(super) path: String,
    pub(super) skip_auth: bool,
    pub(super) timeout: GoDuration,
}

/// The routes that may be opened to clients without a certificate: they reveal no key.
const OPEN_ROUTES: [&str; 4] = ["/v1/ready", "/v1/status", "/v1/metrics", "/v1/api"];

impl File {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Syntax first, then the version, then a missing variable, then all type errors.
    pub(super) fn parse(text: &str, env: Lookup<'_>) -> Result<Self, ConfigError> {
        let root = parse_document(text)?;
        let mut reader = Reader::new(env);
        let mut file = Self::default();
        let section = reader.section(&root, "", "configuration");
        if let Some(mut root) = section {
            check_version(&mut root)?;
            file = Self::read(&mut reader, &mut root);
            reader.close(&root);
        } else {
            check_version_of_invalid(&root)?;
        }
        file.warnings = reader.finish()?;
        Ok(file)
    }

    fn read(reader: &mut Reader<'_>, root: &mut Section) -> Self {
        let mut file = Self {
            address: reader.string(root, "address"),
            tls: read_tls(reader, root),
            policies: read_policies(reader, root),
            apis: read_apis(reader, root),
            keys: read_keys(reader, root),
            keystore: KeystoreFile::read(reader, root),
            cluster: ClusterFile::read(reader, root),
            ..Self::default()
        };
        if let Some(mut admin) = reader.subsection(root, "admin") {
            file.admin = reader.string(&mut admin, "identity");
            reader.close(&admin);
        }
        if let Some(mut cache) = reader.subsection(root, "cache") {
            if let Some(mut expiry) = reader.subsection(&mut cache, "expiry") {
                file.expiry_any = reader.duration(&mut expiry, "any");
                file.expiry_unused = reader.duration(&mut expiry, "unused");
                file.expiry_offline = reader.duration(&mut expiry, "offline");
                reader.close(&expiry);
            }
            reader.close(&cache);
        }
        if let Some(mut log) = reader.subsection(root, "log") {
            file.log_error = reader.string(&mut log, "error");
            file.log_audit = reader.string(&mut log, "audit");
            file.log_format = reader.string(&mut log, "format");
            reader.close(&log);
        }
        file
    }
}

/// `version` counts before anything else, and takes no variable.
fn check_version(root: &mut Section) -> Result<(), ConfigError> {
    match root.take("version") {
        Some(node) => check_version_node(&node),
        None => Ok(()),
    }
}

/// The version of a mapping with duplicate keys, which has no section.
fn check_version_of_invalid(root: &Node) -> Result<(), ConfigError> {
    match root.first_value_of("version") {
        Some(node) => check_version_node(node),
        None => Ok(()),
    }
}

fn check_version_node(node: &Rc<Node>) -> Result<(), ConfigError> {
    let Some(scalar) = node.scalar() else {
        return Err(ConfigError::VersionType { line: node.at.line });
    };
    match scalar.text.as_str() {
        "" | "v1" => Ok(()),
        _ if node.is_null() => Ok(()),
        other => Err(ConfigError::Version(other.to_owned())),
    }
}

fn read_tls(reader: &mut Reader<'_>, root: &mut Section) -> TlsFile {
    let mut file = TlsFile::default();
    let Some(mut tls) = reader.subsection(root, "tls") else {
        return file;
    };
    file.key = reader.string(&mut tls, "key");
    file.cert = reader.string(&mut tls, "cert");
    file.password = reader.secret(&mut tls, "password");
    file.auth = reader.string(&mut tls, "auth");
    file.ca = reader.string(&mut tls, "ca");
    if let Some(mut proxy) = reader.subsection(&mut tls, "proxy") {
        file.proxy_identities = reader.strings(&mut proxy, "identities");
        if let Some(mut header) = reader.subsection(&mut proxy, "header") {
            file.proxy_cert_header = reader.string(&mut header, "cert");
            reader.close(&header);
        }
        reader.close(&proxy);
    }
    reader.close(&tls);
    file
}

fn read_policies(reader: &mut Reader<'_>, root: &mut Section) -> Vec<PolicyFile> {
    let Some(policies) = reader.subsection(root, "policy") else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for (name, node) in policies.into_entries() {
        let path = format!("policy.{name}");
        let mut file = PolicyFile {
            name,
            allow: Vec::new(),
            deny: Vec::new(),
            identities: Vec::new(),
        };
        if let Some(mut policy) = reader.section(&node, &path, &path) {
            file.allow = read_patterns(reader, &mut policy, "allow");
            file.deny = read_patterns(reader, &mut policy, "deny");
            file.identities = reader.strings(&mut policy, "identities");
            reader.close(&policy);
        }
        files.push(file);
    }
    files
}

fn read_patterns(reader: &mut Reader<'_>, policy: &mut Section, key: &'static str) -> Vec<String> {
    let literals = reader.literals(policy, key);
    let mut patterns = Vec::new();
    for (at, pattern) in literals {
        if Pattern::from(pattern.as_str()).looks_like_glob() {
            let path = policy.path_of(key);
            reader.warn(
                at,
                format!(
                    "'{path}': in '{pattern}' only a '*' at the end is a wildcard, \
                     all other characters stand for themselves"
                ),
            );
        }
        patterns.push(pattern);
    }
    patterns
}

fn read_apis(reader: &mut Reader<'_>, root: &mut Section) -> Vec<ApiFile> {
    let Some(apis) = reader.subsection(root, "api") else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for (path, node) in apis.into_entries() {
        let key_path = format!("api.{path}");
        let Some(mut api) = reader.section(&node, &key_path, &key_path) else {
            continue;
        };
        let mut skip_auth = reader.boolean(&mut api, "skip_auth");
        if skip_auth && !OPEN_ROUTES.contains(&path.as_str()) {
            skip_auth = false;
            let open = OPEN_ROUTES.join(", ");
            reader.warn(
                node.at,
                format!("'{key_path}.skip_auth' is ignored: only {open} can go without"),
            );
        }
        let timeout = reader.duration(&mut api, "timeout");
        reader.close(&api);
        files.push(ApiFile {
            path,
            skip_auth,
            timeout,
        });
    }
    files
}

fn read_keys(reader: &mut Reader<'_>, root: &mut Section) -> Vec<String> {
    let mut names = Vec::new();
    for item in reader.list(root, "keys", "[]keys") {
        if let Some(mut key) = reader.section(&item, "keys", "keys") {
            names.push(reader.string(&mut key, "name"));
            reader.close(&key);
        }
    }
    names
}

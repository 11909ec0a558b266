//! Tests of the whole: files in, configurations or literal errors out.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

mod cluster;
mod keystores;

const HEAD: &str = "version: v1\nadmin:\n  identity: root\ntls:\n  key: k\n  cert: c\n";
const FS: &str = "keystore:\n  fs:\n    path: /keys\n";

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "ID" => "amy",
        "EMPTY" => "",
        "TTL" => "5m",
        "NEGATIVE" => "-1s",
        "YES" => "yes",
        "TRUE" => "true",
        "ONE" => "1",
        "AUTH" => "bar",
        "NESTED" => " ${ID} ",
        "PASSWORD" => "geheim",
        "NODE3" => "node3:7374",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parsed(yaml: &str) -> Config {
    match parse(yaml.as_bytes(), &environment) {
        Ok(config) => config,
        Err(error) => panic!("{error}\n{yaml}"),
    }
}

fn error(yaml: &str) -> String {
    match parse(yaml.as_bytes(), &environment) {
        Ok(_) => panic!("accepted:\n{yaml}"),
        Err(error) => error.to_string(),
    }
}

/// A valid file with `more` at its end.
fn with(more: &str) -> String {
    format!("{HEAD}{FS}{more}")
}

fn fs_path(config: &Config) -> &Path {
    match &config.keystore {
        KeystoreConfig::Fs(fs) => &fs.path,
        _ => panic!("another keystore"),
    }
}

/// Checks a table of what follows the head, and the error.
fn assert_errors(table: &[(&str, &str)]) {
    for (yaml, expected) in table {
        assert_eq!(error(yaml), *expected, "{yaml}");
    }
}

#[test]
fn the_smallest_file_has_the_documented_defaults() {
    let config = parsed(&with(""));
    assert_eq!(config.admin.as_str(), "root");
    assert_eq!(config.address, None);
    assert_eq!(config.tls.key, Path::new("k"));
    assert_eq!(config.tls.cert, Path::new("c"));
    assert!(config.tls.password.is_none());
    assert!(!config.tls.verify_clients);
    assert_eq!(config.tls.ca, None);
    assert_eq!(config.cache.any, Duration::from_secs(300));
    assert_eq!(config.cache.unused, Duration::from_secs(30));
    assert_eq!(config.cache.offline, Duration::ZERO);
    assert_eq!(config.log.error, Level::INFO);
    assert_eq!(config.log.audit, Level::INFO);
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(fs_path(&config), Path::new("/keys"));
    assert!(config.policies.is_empty() && config.api.is_empty() && config.keys.is_empty());
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn the_annotated_sample_means_what_it_says() {
    let env = |name: &str| match name {
        "KES_ADMIN_ID" => Some("1234".to_owned()),
        "KES_TLS_PASSWORD" => Some("secret".to_owned()),
        "TENANT_IDENTITY" => Some("tenant".to_owned()),
        _ => None,
    };
    let config = parse(include_bytes!("../testdata/annotated.yml"), &env);
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.address.as_deref(), Some("127.0.0.1:7373"));
    assert_eq!(config.admin.as_str(), "1234");
    let password = config.tls.password.as_ref().map(SecretString::expose);
    assert_eq!(password, Some("secret"));
    assert_eq!(config.tls.proxy_identities.len(), 1);
    let header = config.tls.proxy_cert_header.as_deref();
    assert_eq!(header, Some("X-Tls-Client-Cert"));
    assert_eq!(config.policies.len(), 2);
    assert_eq!(config.policies[0].name, "object-store");
    assert_eq!(config.policies[0].allow.len(), 4);
    assert_eq!(config.policies[0].deny, ["/v1/key/generate/tenant-locked*"]);
    assert_eq!(config.policies[0].identities, ["tenant".into()]);
    assert_eq!(config.api.len(), 3);
    assert!(config.api[0].skip_auth && config.api[1].skip_auth && !config.api[2].skip_auth);
    assert_eq!(config.api[0].timeout, Some(Duration::from_secs(10)));
    assert_eq!(config.api[1].timeout, None);
    assert_eq!(config.log.audit, Level::OFF);
    assert_eq!(config.keys, ["tenant-default", "tenant-backup"]);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn recorded_configurations_parse() {
    let fill = |yaml: &str| yaml.replace("{PORT}", "7373").replace("{RUN}", "/run");
    let config = parsed(&fill(include_str!("../testdata/http-skip.yml")));
    assert_eq!(config.policies.len(), 5);
    assert_eq!(config.cache.unused, Duration::from_secs(20));
    assert_eq!(config.keys, ["predefined-key"]);
    assert_eq!(fs_path(&config), Path::new("/run/hkeys"));
    let open: Vec<_> = config.api.iter().filter(|api| api.skip_auth).collect();
    assert_eq!(open.len(), 3);
    assert_eq!(config.api[3].timeout, Some(Duration::from_secs(3)));
    assert_eq!(
        config.warnings,
        ["line 18: 'api./v1/key/create/.skip_auth' is ignored: \
          only /v1/ready, /v1/status, /v1/metrics, /v1/api can go without"]
    );
    let config = parsed(&fill(include_str!("../testdata/extra-proxy.yml")));
    assert_eq!(config.tls.proxy_identities.len(), 1);
}

#[test]
fn what_is_no_configuration_is_told() {
    let no_admin = "kesconf: invalid admin identity: no admin identity";
    assert_errors(&[
        ("", "EOF"),
        ("# nothing\n", "EOF"),
        ("---\n", no_admin),
        ("~\n", no_admin),
        ("{}\n", no_admin),
        ("Admin: {identity: x}\n", no_admin),
        ("root: x\n", no_admin),
        ("admin:\n", no_admin),
        ("admin: {identity: ~}\n", no_admin),
        ("admin:\n  identity: ${EMPTY}\n", no_admin),
        (
            "[a]\n",
            "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into configuration",
        ),
        (
            "admin:\n\tidentity: x\n",
            "yaml: line 2: found a tab character that violates indentation",
        ),
    ]);
    let bytes = b"admin:\n  identity: \xff\n";
    let error = parse(bytes, &environment)
        .err()
        .map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("yaml: line 2: invalid UTF-8"));
    let large = vec![b'#'; FILE_BYTES_MAX + 1];
    let error = parse(&large, &environment)
        .err()
        .map(|error| error.to_string());
    let expected = "yaml: the configuration is larger than 1048576 bytes";
    assert_eq!(error.as_deref(), Some(expected));
}

#[test]
fn the_version_counts_first() {
    assert_errors(&[
        (
            "version: v2\nadmin: [x]\n",
            "edge: invalid server config version 'v2'",
        ),
        ("version: 1\n", "edge: invalid server config version '1'"),
        (
            "version: ${V}\n",
            "edge: invalid server config version '${V}'",
        ),
        (
            "admin: {}\nversion: [v1]\n",
            "kesconf: invalid config version at line '2'",
        ),
        (
            "version: v2\nversion: v1\n",
            "edge: invalid server config version 'v2'",
        ),
    ]);
    let rest = with("").replace("version: v1\n", "");
    for version in [
        "",
        "version:\n",
        "version: ~\n",
        "version: ''\n",
        "version: \"v1\"\n",
    ] {
        parsed(&format!("{version}{rest}"));
    }
    // A value that reads `version` is not the key.
    parsed(&format!("address: version\n{}", with("")));
}

#[test]
fn variables_stand_for_whole_scalars() {
    let path = |text: &str| {
        let config = parsed(&format!("{HEAD}keystore:\n  fs:\n    path: {text}\n"));
        fs_path(&config).to_owned()
    };
    assert_eq!(path("${ID}"), Path::new("amy"));
    assert_eq!(path("' ${ ID } '"), Path::new("amy"));
    assert_eq!(path("${ID}/keys"), Path::new("${ID}/keys"));
    assert_eq!(path("$ID"), Path::new("$ID"));
    assert_eq!(path("${NESTED}"), Path::new(" ${ID} "));

    let config = parsed(&with(
        "cache:\n  expiry:\n    any: ${TTL}\napi:\n  /v1/ready:\n    skip_auth: ${YES}\n  \
         /v1/status:\n    skip_auth: ${TRUE}\npolicy:\n  ${ID}:\n    allow: ['${ID}']\n    \
         identities: ['${ID}', x]\n",
    ));
    assert_eq!(config.cache.any, Duration::from_secs(300));
    assert!(config.api.iter().all(|api| api.skip_auth));
    assert_eq!(config.policies[0].name, "${ID}");
    assert_eq!(config.policies[0].allow, ["${ID}"]);
    assert_eq!(config.policies[0].identities, ["amy".into(), "x".into()]);
}

#[test]
fn a_missing_variable_is_reported_alone() {
    assert_errors(&[
        (
            "version: v1\n\nadmin:\n  identity: ${NOPE}\naddress: [x]\n",
            "kesconf: referenced env. variable 'NOPE' in line '4' not found",
        ),
        (
            "tls:\n  key: ${FIRST}\nadmin: {identity: \"${SECOND}\"}\n",
            "kesconf: referenced env. variable 'FIRST' in line '2' not found",
        ),
        (
            "admin:\n  identity: \"${}\"\n",
            "kesconf: referenced env. variable '' in line '2' not found",
        ),
        (
            "admin:\n  identity: ${FOO:-x}\n",
            "kesconf: referenced env. variable 'FOO:-x' in line '2' not found",
        ),
        (
            &format!("{HEAD}keystore:\n  fs:\n    path: ${{EMPTY}}\n"),
            "kesconf: invalid fs keystore: no path specified",
        ),
    ]);
}

#[test]
fn type_errors_are_all_told() {
    assert_eq!(
        error(&with(
            "address: [x]\ncache:\n  expiry:\n    any: x\n    unused: 0\n    offline: \"\"\n"
        )),
        "yaml: unmarshal errors:\n  line 10: cannot unmarshal !!seq into string\n  \
         line 13: cannot unmarshal !!str `x` into time.Duration\n  \
         line 14: cannot unmarshal !!int `0` into time.Duration\n  \
         line 15: cannot unmarshal !!str `` into time.Duration"
    );
    let table = [
        (
            "cache: {expiry: {any: 300}}",
            "!!int `300` into time.Duration",
        ),
        (
            "cache: {expiry: {any: 1.5}}",
            "!!float `1.5` into time.Duration",
        ),
        (
            "cache: {expiry: {any: 1d}}",
            "!!str `1d` into time.Duration",
        ),
        (
            "cache: {expiry: {any: true}}",
            "!!bool `true` into time.Duration",
        ),
        (
            "api: {/v1/ready: {skip_auth: \"true\"}}",
            "!!str `true` into bool",
        ),
        ("api: {/v1/ready: {skip_auth: 1}}", "!!int `1` into bool"),
        (
            "api: {/v1/ready: {skip_auth: '${ONE}'}}",
            "!!str `1` into bool",
        ),
        ("api: {/v1/ready: {skip_auth: []}}", "!!seq into bool"),
        ("api: foo", "!!str `foo` into api"),
        ("keys: {a: b}", "!!map into []keys"),
        ("keys: [a]", "!!str `a` into keys"),
        (
            "policy: {p: {allow: /v1/status/x}}",
            "!!str `/v1/sta...` into []string",
        ),
        ("policy: {p: {allow: [[a]]}}", "!!seq into string"),
        ("policy: {? [a] : {}}", "!!seq into string"),
        ("log: {error: {}}", "!!map into string"),
    ];
    for (yaml, expected) in table {
        let expected = format!("yaml: unmarshal errors:\n  line 10: cannot unmarshal {expected}");
        assert_eq!(error(&with(yaml)), expected, "{yaml}");
    }
}

#[test]
fn errors_do_not_show_what_may_be_a_secret() {
    let yaml = format!("{HEAD}keystore:\n  aws:\n    secretsmanager:\n      credentials: geheim\n");
    assert_eq!(
        error(&yaml),
        "yaml: unmarshal errors:\n  line 10: cannot unmarshal !!str into \
         keystore.aws.secretsmanager.credentials"
    );
}

#[test]
fn duplicate_keys_are_errors() {
    assert_eq!(
        error(&with("tls:\n  key: x\n")),
        "yaml: unmarshal errors:\n  line 10: mapping key \"tls\" already defined at line 4"
    );
    assert_eq!(
        error(&with("policy:\n  p: {}\n  q: {}\n  p: {}\nkeys: [x]\n")),
        "yaml: unmarshal errors:\n  line 13: mapping key \"p\" already defined at line 11\n  \
         line 14: cannot unmarshal !!str `x` into keys"
    );
}

#[test]
fn scalars_are_their_source_text() {
    let config = parsed(
        "admin: {identity: 1234}\ntls: {key: 5, cert: 1.0, password: 0123, auth: 'off'}\n\
         policy: {1: {identities: [0x10, ~, true]}}\nkeystore: {fs: {path: true}}\n",
    );
    assert_eq!(config.admin.as_str(), "1234");
    assert_eq!(config.tls.key, Path::new("5"));
    assert_eq!(config.tls.cert, Path::new("1.0"));
    let password = config.tls.password.as_ref().map(SecretString::expose);
    assert_eq!(password, Some("0123"));
    assert_eq!(config.policies[0].name, "1");
    assert_eq!(
        config.policies[0].identities,
        ["0x10".into(), "true".into()]
    );
    assert_eq!(fs_path(&config), Path::new("true"));
}

#[test]
fn nothing_is_the_same_as_absent() {
    let config = parsed(&format!(
        "{HEAD}policy:\n  empty:\n  ~: {{allow: [x]}}\napi:\ncache: {{expiry: {{any: ~}}}}\n\
         log: ~\nkeys: [~]\nkeystore: {{fs: {{path: x}}, vault: , aws: {{secretsmanager: }}}}\n"
    ));
    assert_eq!(config.policies.len(), 1);
    assert_eq!(config.policies[0].name, "empty");
    assert!(config.policies[0].allow.is_empty());
    assert!(config.keys.is_empty());
    assert_eq!(fs_path(&config), Path::new("x"));
}

#[test]
fn yaml_in_all_its_forms_is_accepted() {
    let json = "{\"admin\": {\"identity\": \"root\"}, \"tls\": {\"key\": \"k\", \"cert\": \"c\"}, \
                \"keystore\": {\"fs\": {\"path\": \"/keys\"}}}";
    assert_eq!(parsed(json).admin.as_str(), "root");
    assert_eq!(
        parsed(&format!("\u{feff}{}", with(""))).admin.as_str(),
        "root"
    );
    parsed(&with("---\n\t]broken: [\n"));

    let config = parsed(&with(
        "x-rules: &rules\n  allow: &list [/v1/ready]\n  deny: [/v1/a]\npolicy:\n  p:\n    \
         <<: *rules\n    deny: [/v1/b]\n  q:\n    allow: *list\n    identities: [&id amy]\n  r:\n    \
         <<: [{deny: [/v1/c]}, *rules]\nkeys:\n  - name: *id\n",
    ));
    assert_eq!(config.policies[0].allow, ["/v1/ready"]);
    assert_eq!(config.policies[0].deny, ["/v1/b"]);
    assert_eq!(config.policies[1].allow, ["/v1/ready"]);
    assert_eq!(config.policies[2].deny, ["/v1/c"]);
    assert_eq!(config.policies[2].allow, ["/v1/ready"]);
    assert_eq!(config.keys, ["amy"]);
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn booleans_and_durations_have_many_spellings() {
    for (text, expected) in [
        ("true", true),
        ("TRUE", true),
        ("yes", true),
        ("\"yes\"", true),
        ("On", true),
        ("'y'", true),
        ("False", false),
        ("no", false),
        ("OFF", false),
        ("~", false),
    ] {
        let config = parsed(&with(&format!(
            "api: {{/v1/ready: {{skip_auth: {text}}}}}\n"
        )));
        assert_eq!(config.api[0].skip_auth, expected, "{text}");
    }
    let config = parsed(&with(
        "cache: {expiry: {any: \"0\", unused: 1m30s, offline: +.5s}}\n",
    ));
    assert_eq!(config.cache.any, Duration::from_secs(300));
    assert_eq!(config.cache.unused, Duration::from_secs(90));
    assert_eq!(config.cache.offline, Duration::from_millis(500));
}

#[test]
fn values_are_checked_in_order() {
    let base = |more: &str| with(more);
    let tls = |tls: &str| format!("admin: {{identity: root}}\ntls: {tls}\n{FS}");
    let no_key = "kesconf: invalid tls config: no private key";
    assert_errors(&[
        ("admin: {identity: x}\n", no_key),
        ("admin: {identity: x}\nTLS: {key: k, cert: c}\n", no_key),
        (
            &tls("{key: k}"),
            "kesconf: invalid tls config: no certificate",
        ),
        (
            &tls("{key: k, cert: c, auth: 'On '}"),
            "kesconf: invalid tls config: invalid auth 'On '",
        ),
        (
            &tls("{key: k, cert: c, auth: true}"),
            "kesconf: invalid tls config: invalid auth 'true'",
        ),
        (
            &tls("{key: k, cert: c, auth: '${AUTH}'}"),
            "kesconf: invalid tls config: invalid auth 'bar'",
        ),
        (
            &tls("{key: k, cert: c, proxy: {identities: [p, root]}}"),
            "kesconf: invalid tls proxy: identity 'root' is already admin",
        ),
        (
            &base("policy: {p1: {identities: [x, root]}}\ncache: {expiry: {any: -1s}}\n"),
            "kesconf: invalid policy 'p1': identity 'root' is already admin",
        ),
        (
            &format!(
                "{}policy: {{p1: {{identities: [p]}}}}\n",
                tls("{key: k, cert: c, proxy: {identities: [p]}}")
            ),
            "kesconf: invalid policy 'p1': identity 'p' is already a TLS proxy",
        ),
        (
            &base("cache: {expiry: {any: -5m, unused: -1s}}\nlog: {error: foo}\n"),
            "kesconf: invalid cache expiry '-5m0s'",
        ),
        (
            &base("cache: {expiry: {unused: -1s, offline: -1s}}\n"),
            "kesconf: invalid cache unused expiry '-1s'",
        ),
        (
            &base("cache: {expiry: {offline: '${NEGATIVE}'}}\n"),
            "kesconf: invalid offline cache expiry '-1s'",
        ),
        (
            &base("log: {error: WARN-1, audit: foo}\n"),
            "kesconf: invalid log level 'WARN-1'",
        ),
        (
            &base("log: {audit: foo}\napi: {/v1/ready: {timeout: -1s}}\n"),
            "strconv.Atoi: parsing \"FOO\": invalid syntax",
        ),
        (
            &base("log: {format: xml}\n"),
            "kesconf: invalid log format 'xml'",
        ),
        (
            &base("api: {/v1/ready: {timeout: -1s}}\nkeys: [{name: a}, {name: a}]\n"),
            "kesconf: invalid timeout '-1000000000' for API '/v1/ready'",
        ),
        (
            &format!("{HEAD}keys: [{{name: k1}}, {{name: k1}}]\n"),
            "kesconf: invalid key config: key 'k1' is defined multiple times",
        ),
        (
            &base("keys: [{name: a b}]\n"),
            "kesconf: invalid key config: key 'a b' is empty, too long or contains invalid characters",
        ),
        (
            &base("keys: [{name: }]\n"),
            "kesconf: invalid key config: key '' is empty, too long or contains invalid characters",
        ),
    ]);
    assert!(
        parsed(&tls("{key: k, cert: c, auth: ON}"))
            .tls
            .verify_clients
    );
    assert_eq!(
        parsed(&base("log: {error: '  on ', format: JSON}\n"))
            .log
            .format,
        LogFormat::Json
    );
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let config = parsed(&with(
        "root: x\nTLS: {}\nfoo: bar\npolicy:\n  p:\n    paths: [/v1/a]\n    \
         allow: [/v1/key/*/x, /v1/key/*]\nx-mine: 1\n",
    ));
    assert_eq!(
        config.warnings,
        [
            "line 10: 'root' no longer has a meaning and is ignored: \
             the admin is set by 'admin.identity'",
            "line 11: unknown key 'TLS' is ignored: 'tls' is known",
            "line 12: unknown key 'foo' is ignored",
            "line 15: 'policy.p.paths' no longer has a meaning and is ignored: \
             the rules of a policy are 'allow' and 'deny'",
            "line 16: 'policy.p.allow': in '/v1/key/*/x' only a '*' at the end is a wildcard, \
             all other characters stand for themselves",
        ]
    );
}

#[test]
fn a_file_is_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("kes.yml");
    std::fs::write(&path, with("")).expect("a file");
    let config = load(&path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.admin.as_str(), "root");

    let error = |path: &Path| load(path).err().map(|error| error.to_string());
    let expected = "open nonexistent.yml: no such file or directory";
    assert_eq!(
        error(Path::new("nonexistent.yml")).as_deref(),
        Some(expected)
    );
    let expected = "open : no such file or directory";
    assert_eq!(error(Path::new("")).as_deref(), Some(expected));
    let expected = format!("read {}: is a directory", directory.path().display());
    assert_eq!(error(directory.path()), Some(expected));
}

#[test]
fn aliases_cannot_blow_a_file_up() {
    let started = Instant::now();
    // Policies that share a long list, and one long text many times.
    let rules = "a, ".repeat(50_000);
    let policies: String = (0..20_000).map(|n| format!("  p{n}: *p\n")).collect();
    let yaml = with(&format!(
        "policy:\n  p: &p {{allow: [{rules}]}}\n{policies}"
    ));
    assert_eq!(error(&yaml), "yaml: document contains excessive aliasing");

    let text = "x".repeat(500_000);
    let aliases = "*t, ".repeat(50_000);
    let yaml = with(&format!(
        "policy:\n  p: {{allow: [&t {text}, {aliases}]}}\n"
    ));
    assert_eq!(error(&yaml), "yaml: document contains excessive aliasing");

    let mut merges = "x-0: &m0 {a: b}\n".to_owned();
    for n in 1..15 {
        let sources = format!("*m{}, ", n - 1).repeat(50);
        merges.push_str(&format!("x-{n}: &m{n} {{<<: [{sources}]}}\n"));
    }
    let yaml = with(&format!("{merges}log: *m14\n"));
    assert_eq!(error(&yaml), "yaml: document contains excessive aliasing");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn no_repetition_breaks_the_parser() {
    let starts = ["", "a: ", "a: [", "a: \"", "a: |\n "];
    let parts = [
        "[", "{", "]", "- ", "? ", "a: ", "&a ", "!a ", "*a ", "'", "\"", " ", "\n", "- a\n",
        "---\n", "a:\n ", "{a: ", "a, ", "%A\n", "\\", ": ", "é", "'a' ", "? a\n", "[a]: ",
        "<<: {}\n", "!!str ", "#",
    ];
    for start in starts {
        for part in parts {
            let yaml = format!("{start}{}", part.repeat(5_000));
            error(&yaml);
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_break_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes, &environment);
    }

    #[test]
    fn no_text_breaks_the_parser(
        text in "([a-c]|[-:?,!&*#|>'\"%@`{}\\[\\] \n\t~]|\\$\\{ID\\}|: |\n  |- |<<: |keys|policy|tls){0,60}"
    ) {
        let _ = parse(text.as_bytes(), &environment);
        let _ = parse(with(&text).as_bytes(), &environment);
    }
}

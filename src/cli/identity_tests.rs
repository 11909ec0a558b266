//! The public playground key, in every form and both modes.

use super::*;
use crate::cli::output::Palette;

const KEY: &str = "kes:v1:AD9E7FSYWrMD+VjhI6q545cYT9YOyFxZb7UnjEepYDRc";
const IDENTITY: &str = "3ecfcdf38fcbe141ae26a1030f81e96b753365a46760ae6b578698a97c59fd22";
const PIPE: Output = Output {
    terminal: false,
    palette: Palette::None,
};
const TERMINAL: Output = Output {
    terminal: true,
    palette: Palette::Ansi256,
};

fn key() -> ApiKey {
    ApiKey::parse(KEY).expect("an API key")
}

fn new_args(line: &str) -> IdentityNewArgs {
    let line = format!("kes identity new {line}");
    let words: Vec<_> = line.split_whitespace().map(Into::into).collect();
    let command = super::super::usage::parse(&words)
        .expect("arguments")
        .command;
    let Some(super::super::args::Command::Identity(identity)) = command else {
        panic!("not identity");
    };
    match identity.command {
        Some(IdentityCommand::New(new)) => new,
        _ => panic!("not new"),
    }
}

#[test]
fn a_pipe_gets_the_bare_value() {
    assert_eq!(created(&PIPE, &key()), KEY);
    assert_eq!(computed(&PIPE, KEY).ok().as_deref(), Some(IDENTITY));
    let without_prefix = KEY.strip_prefix(API_KEY_PREFIX).expect("a prefix");
    assert_eq!(
        computed(&PIPE, without_prefix).ok().as_deref(),
        Some(IDENTITY)
    );
    assert_eq!(identity_of(KEY).ok(), Some(Identity::from(IDENTITY)));
}

#[test]
fn a_terminal_gets_a_block_of_lines_of_equal_width() {
    let text = created(&TERMINAL, &key())
        .replace("\x1b[1m", "")
        .replace("\x1b[0m", "");
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(lines.first(), Some(&""));
    assert_eq!(lines[lines.len() - 2..], ["", ""]);
    let width = lines[1].chars().count();
    assert!(
        lines[1..lines.len() - 2]
            .iter()
            .all(|line| line.starts_with(' ') && line.chars().count() == width)
    );
    assert!(text.contains(&format!("    {KEY}")) && text.contains(&format!("    {IDENTITY}")));
    assert!(created(&TERMINAL, &key()).contains(&format!("\x1b[1m{IDENTITY}\x1b[0m")));
}

#[test]
fn bad_api_keys_are_explained() {
    for (text, message) in [
        ("kes:v1:AAAA", "kes: invalid API key: invalid length"),
        ("kes:v1:!!!", "illegal base64 data at input byte 0"),
        ("nofile", "open nofile: no such file or directory"),
    ] {
        assert_eq!(
            identity_of(text)
                .err()
                .map(|error| error.to_string())
                .as_deref(),
            Some(message)
        );
        assert_eq!(
            computed(&PIPE, text)
                .err()
                .map(|error| error.to_string())
                .as_deref(),
            Some(message)
        );
    }
}

#[test]
fn options_that_need_files_are_refused_without() {
    let requires = |flag| {
        format!(
            "'{flag}' requires a private key and certificate file. Set the '--cert' and '--key' flag"
        )
    };
    for (line, message) in [
        (
            "--key k",
            "private key file specified but no certificate file. Set the '--cert' flag".to_owned(),
        ),
        (
            "--cert c",
            "certificate file specified but no private key file. Set the '--key' flag".to_owned(),
        ),
        ("--force --encrypt", requires("--encrypt")),
        ("-f --expiry 1h", requires("--force")),
        ("--ip 1.2.3.4 --expiry 1h", requires("--expiry")),
        ("--dns a --ip 1.2.3.4", requires("--ip")),
        ("--dns a", requires("--dns")),
    ] {
        let failure = create(&new_args(line))
            .err()
            .map(|failure| failure.to_string());
        assert_eq!(failure, Some(message), "{line}");
    }
}

#[test]
fn a_key_pair_leads_back_to_the_same_identity() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| {
        directory
            .path()
            .join(name)
            .to_str()
            .expect("UTF-8")
            .to_owned()
    };
    let (key_file, cert_file) = (path("a.key"), path("a.crt"));
    let line =
        format!("--key {key_file} --cert {cert_file} --ip 127.0.0.1,::1 --dns localhost my-name");
    let args = new_args(&line);
    let files = checked_files(&args).ok().flatten().expect("files");
    write_key_pair(&args, &files, &key()).expect("written");

    assert_eq!(computed(&PIPE, &key_file).ok().as_deref(), Some(KEY));
    assert_eq!(computed(&PIPE, &cert_file).ok().as_deref(), Some(IDENTITY));
    assert_eq!(identity_of(&cert_file).ok(), Some(Identity::from(IDENTITY)));
    let message = identity_of(&key_file).err().map(|error| error.to_string());
    let expected =
        format!("failed to parse certificate in '{key_file}': https: unsupported PEM data block");
    assert_eq!(message, Some(expected));

    let again = write_key_pair(&args, &files, &key())
        .err()
        .map(|failure| failure.to_string());
    assert_eq!(
        again.as_deref(),
        Some("private key already exists. Use --force to overwrite it")
    );
    fs::remove_file(&key_file).expect("removed");
    let again = write_key_pair(&args, &files, &key())
        .err()
        .map(|failure| failure.to_string());
    assert_eq!(
        again.as_deref(),
        Some("certificate already exists. Use --force to overwrite it")
    );
}

#[test]
fn a_failed_certificate_takes_the_key_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let key_file = directory.path().join("a.key");
    let line = format!(
        "--key {} --cert {}/none/a.crt",
        key_file.display(),
        directory.path().display()
    );
    let args = new_args(&line);
    let files = checked_files(&args).ok().flatten().expect("files");
    assert!(write_key_pair(&args, &files, &key()).is_err());
    assert!(!key_file.exists());
}

#[test]
fn files_with_nothing_useful_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let junk = directory.path().join("junk");
    let junk = junk.to_str().expect("UTF-8");
    fs::write(junk, "nothing").expect("written");
    let message = computed(&PIPE, junk).err().map(|error| error.to_string());
    assert_eq!(
        message,
        Some(format!(
            "'{junk}' contains no valid PEM certificate or private key"
        ))
    );
    let message = identity_of(junk).err().map(|error| error.to_string());
    assert_eq!(
        message,
        Some(format!(
            "failed to parse certificate in '{junk}': https: no valid PEM data"
        ))
    );
    fs::write(junk, "").expect("written");
    assert!(identity_of(junk).is_err());
}

#[test]
fn the_text_for_a_new_key_lists_key_identity_and_files() {
    let files = KeyPairFiles {
        key: Path::new("c.key"),
        cert: Path::new("c.crt"),
    };
    let text = new_text(&PIPE, &key(), Some(&files));
    assert!(text.starts_with(&format!("Your API key:\n\n   {KEY}\n\n")));
    assert!(text.contains(&format!("\nYour Identity:\n\n   {IDENTITY}\n\n")));
    assert!(text.contains("The generated TLS private key is stored at: c.key\n"));
    assert!(text.ends_with(&format!(
        "\n\n    kes identity of {KEY}\n    kes identity of c.crt\n"
    )));
    assert!(new_text(&PIPE, &key(), None).ends_with(&format!("\n\n    kes identity of {KEY}\n\n")));
}

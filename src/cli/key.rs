//! `kes key`: keys of a server, and cryptography with them.

use super::args::{DescribeArgs, KeyArgs, KeyCommand, KeyImportArgs, KeyListArgs};
use super::arguments::Arguments;
use super::connect;
use super::failure::{Failure, OrFailure};
use super::ls;
use super::output::{Output, json, quote};
use super::time;
use crate::base::base64;
use crate::base::secret::SecretBytes;

/// Runs `kes key`.
pub(super) async fn run(command: &KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Create(args) => create(args).await,
        KeyCommand::Import(args) => import(args).await,
        KeyCommand::Info(args) => info(args).await,
        KeyCommand::Ls(args) => list(args).await,
        KeyCommand::Rm(args) => remove(args).await,
        KeyCommand::Encrypt(args) => encrypt(args).await,
        KeyCommand::Decrypt(args) => decrypt(args).await,
        KeyCommand::Dek(args) => dek(args).await,
    }
}

async fn create(args: &KeyArgs) -> Result<(), Failure> {
    Arguments::new("kes key create", &args.rest).required("key name")?;
    let client = connect::connect(args.insecure)?.client;
    for name in &args.rest {
        let context = format!("failed to create key {}: ", quote(name));
        client.create_key(name).await.or_failure(&context)?;
    }
    Ok(())
}

async fn import(args: &KeyImportArgs) -> Result<(), Failure> {
    let mut arguments = Arguments::new("kes key import", &args.rest);
    let name = arguments.required("key name")?;
    let key = arguments.required("crypto key")?;
    arguments.finish()?;
    let key = SecretBytes::new(arguments.base64("key", key)?);
    let client = connect::connect(args.insecure)?.client;
    let context = format!("failed to import {}: ", quote(name));
    client
        .import_key(name, key.expose(), "AES256")
        .await
        .or_failure(&context)
}

async fn info(args: &DescribeArgs) -> Result<(), Failure> {
    let mut arguments = Arguments::new("kes key info", &args.rest);
    let name = arguments.required("key name")?;
    arguments.finish()?;
    let client = connect::connect(args.insecure)?.client;
    let key = client
        .describe_key(name)
        .await
        .or_failure("failed to describe keys: ")?;
    let output = Output::detect();
    if args.json {
        return output.print_json(&key, false);
    }
    // The last line has never had an end.
    output.print(&format!(
        "{:<11} {}\n{:<11} {}\n{:<11} {}\n{:<11} {}",
        "Name",
        key.name,
        "Algorithm",
        key.algorithm,
        "Date",
        time::as_sent(&key.created_at),
        "Owner",
        key.created_by,
    ))
}

async fn list(args: &KeyListArgs) -> Result<(), Failure> {
    let pattern = ls::pattern("kes key ls", &args.list.rest)?.unwrap_or("*");
    let client = connect::connect(args.list.insecure)?.client;
    let names = ls::fetch("failed to list keys: ", client.list_keys(pattern)).await?;
    ls::print("Key", names, &args.list)
}

async fn remove(args: &KeyArgs) -> Result<(), Failure> {
    Arguments::new("kes key rm", &args.rest).required("key name")?;
    let client = connect::connect(args.insecure)?.client;
    for name in &args.rest {
        let context = format!("failed to remove key {}: ", quote(name));
        client.delete_key(name).await.or_failure(&context)?;
    }
    Ok(())
}

async fn encrypt(args: &KeyArgs) -> Result<(), Failure> {
    let mut arguments = Arguments::new("kes key encrypt", &args.rest);
    let name = arguments.required("key name")?;
    let message = arguments.required("message")?;
    arguments.finish()?;
    let client = connect::connect(args.insecure)?.client;
    let ciphertext = client.encrypt(name, message.as_bytes(), &[]).await;
    let ciphertext = ciphertext.or_failure("failed to encrypt message: ")?;
    print_values(&[("ciphertext", &base64::encode(&ciphertext))])
}

async fn decrypt(args: &KeyArgs) -> Result<(), Failure> {
    let mut arguments = Arguments::new("kes key decrypt", &args.rest);
    let name = arguments.required("key name")?;
    let ciphertext = arguments.required("ciphertext")?;
    let context = arguments.optional().unwrap_or_default();
    arguments.finish()?;
    let ciphertext = arguments.base64("ciphertext", ciphertext)?;
    let context = arguments.base64("context", context)?;
    let client = connect::connect(args.insecure)?.client;
    let plaintext = client.decrypt(name, &ciphertext, &context).await;
    let plaintext = plaintext.or_failure("failed to decrypt ciphertext: ")?;
    print_values(&[("plaintext", &base64::encode(plaintext.expose()))])
}

async fn dek(args: &KeyArgs) -> Result<(), Failure> {
    let mut arguments = Arguments::new("kes key dek", &args.rest);
    let name = arguments.required("key name")?;
    let context = arguments.optional().unwrap_or_default();
    arguments.finish()?;
    let context = arguments.base64("context", context)?;
    let client = connect::connect(args.insecure)?.client;
    let key = client
        .generate_key(name, &context)
        .await
        .or_failure("failed to derive key: ")?;
    print_values(&[
        ("plaintext", &base64::encode(key.plaintext.expose())),
        ("ciphertext", &base64::encode(&key.ciphertext)),
    ])
}

fn print_values(values: &[(&str, &str)]) -> Result<(), Failure> {
    let output = Output::detect_captured();
    output.print(&values_text(output.terminal, values)?)
}

/// Labels and values: lines for people, one JSON object without a newline for programs.
fn values_text(terminal: bool, values: &[(&str, &str)]) -> Result<String, Failure> {
    if terminal {
        let width = values
            .iter()
            .map(|(label, _)| label.len() + 1)
            .max()
            .unwrap_or(0);
        let line =
            |(label, value): &(&str, &str)| format!("{:<width$} {value}\n", format!("{label}:"));
        let lines: String = values.iter().map(line).collect();
        return Ok(format!("\n{lines}"));
    }
    // Not a map: the order of members is part of the format.
    let member = |(label, value): &(&str, &str)| {
        Ok(format!("{}:{}", json(label, false)?, json(value, false)?))
    };
    let members: Vec<String> = values.iter().map(member).collect::<Result<_, Failure>>()?;
    Ok(format!("{{{}}}", members.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn complaint(command: &str, rest: &[&str]) -> String {
        let line: Vec<_> = ["kes", "key", command]
            .iter()
            .chain(rest)
            .map(Into::into)
            .collect();
        let command = super::super::usage::parse(&line)
            .expect("arguments")
            .command;
        let Some(super::super::args::Command::Key { command }) = command else {
            panic!("not key");
        };
        run(&command).await.expect_err("a complaint").to_string()
    }

    #[tokio::test]
    async fn arguments_are_checked_before_anything_else() {
        for (command, rest, message) in [
            (
                "create",
                &[][..],
                "no key name specified. See 'kes key create --help'",
            ),
            (
                "import",
                &[],
                "no key name specified. See 'kes key import --help'",
            ),
            (
                "import",
                &["k"],
                "no crypto key specified. See 'kes key import --help'",
            ),
            (
                "import",
                &["k", "zz"],
                "invalid key: illegal base64 data at input byte 0. See 'kes key import --help'",
            ),
            (
                "import",
                &["k", "AAAA", "x"],
                "too many arguments. See 'kes key import --help'",
            ),
            (
                "info",
                &[],
                "no key name specified. See 'kes key info --help'",
            ),
            (
                "info",
                &["a", "b"],
                "too many arguments. See 'kes key info --help'",
            ),
            (
                "ls",
                &["a", "b"],
                "too many arguments. See 'kes key ls --help'",
            ),
            ("rm", &[], "no key name specified. See 'kes key rm --help'"),
            (
                "encrypt",
                &[],
                "no key name specified. See 'kes key encrypt --help'",
            ),
            (
                "encrypt",
                &["a"],
                "no message specified. See 'kes key encrypt --help'",
            ),
            (
                "encrypt",
                &["a", "b", "c"],
                "too many arguments. See 'kes key encrypt --help'",
            ),
            (
                "decrypt",
                &["a"],
                "no ciphertext specified. See 'kes key decrypt --help'",
            ),
            (
                "decrypt",
                &["a", "!!"],
                "invalid ciphertext: illegal base64 data at input byte 0. See 'kes key decrypt --help'",
            ),
            (
                "decrypt",
                &["a", "AAAA", "!!"],
                "invalid context: illegal base64 data at input byte 0. See 'kes key decrypt --help'",
            ),
            (
                "dek",
                &[],
                "no key name specified. See 'kes key dek --help'",
            ),
            (
                "dek",
                &["a", "!!"],
                "invalid context: illegal base64 data at input byte 0. See 'kes key dek --help'",
            ),
            (
                "dek",
                &["a", "AAAA", "b"],
                "too many arguments. See 'kes key dek --help'",
            ),
        ] {
            assert_eq!(
                complaint(command, rest).await,
                message,
                "{command} {rest:?}"
            );
        }
    }

    #[test]
    fn values_are_aligned_for_people_and_json_for_programs() {
        let text = |terminal, values: &[(&str, &str)]| values_text(terminal, values).expect("text");
        let both = [("plaintext", "AA=="), ("ciphertext", "BB==")];
        assert_eq!(text(true, &both), "\nplaintext:  AA==\nciphertext: BB==\n");
        assert_eq!(
            text(false, &both),
            "{\"plaintext\":\"AA==\",\"ciphertext\":\"BB==\"}"
        );
        assert_eq!(text(true, &both[..1]), "\nplaintext: AA==\n");
        assert_eq!(text(false, &both[1..]), "{\"ciphertext\":\"BB==\"}");
    }
}

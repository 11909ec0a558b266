//! The rows of the table of error texts, and the flag syntax.

use super::*;
use crate::cli::args::{Command, IdentityCommand, KeyCommand, When};

fn read(line: &str) -> Result<Cli, Failure> {
    let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    parse(&arguments)
}

fn message(line: &str) -> String {
    match read(line) {
        Ok(_) => "accepted".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

#[test]
fn errors_have_the_words_of_pflag() {
    for (line, expected) in [
        (
            "kes bogus",
            "\"bogus\" is not a kes command. See 'kes --help'",
        ),
        (
            "kes help",
            "\"help\" is not a kes command. See 'kes --help'",
        ),
        ("kes --bogus", "unknown flag: --bogus. See 'kes --help'"),
        (
            "kes -k key ls",
            "unknown shorthand flag: 'k' in -k. See 'kes --help'",
        ),
        (
            "kes key -k ls",
            "unknown shorthand flag: 'k' in -k. See 'kes key --help'",
        ),
        (
            "kes key foo",
            "\"foo\" is not a key command. See 'kes key --help'",
        ),
        (
            "kes key lst",
            "\"lst\" is not a key command. See 'kes key --help'",
        ),
        (
            "kes policy add",
            "\"add\" is not a policy command. See 'kes policy --help'",
        ),
        (
            "kes key ls --foo",
            "unknown flag: --foo. See 'kes key ls --help'",
        ),
        (
            "kes key ls --foo=bar",
            "unknown flag: --foo. See 'kes key ls --help'",
        ),
        (
            "kes key ls -x",
            "unknown shorthand flag: 'x' in -x. See 'kes key ls --help'",
        ),
        (
            "kes key ls -kxe",
            "unknown shorthand flag: 'x' in -xe. See 'kes key ls --help'",
        ),
        (
            "kes server --config",
            "flag needs an argument: --config. See 'kes server --help'",
        ),
        (
            "kes key ls -e",
            "flag needs an argument: 'e' in -e. See 'kes key ls --help'",
        ),
        (
            "kes key ls --enclave",
            "flag needs an argument: --enclave. See 'kes key ls --help'",
        ),
        (
            "kes key ls --insecure=foo",
            "invalid argument \"foo\" for \"-k, --insecure\" flag: strconv.ParseBool: parsing \"foo\": invalid syntax. See 'kes key ls --help'",
        ),
        (
            "kes identity new --expiry 10",
            "invalid argument \"10\" for \"--expiry\" flag: time: missing unit in duration \"10\". See 'kes identity new --help'",
        ),
        (
            "kes identity new --expiry foo",
            "invalid argument \"foo\" for \"--expiry\" flag: time: invalid duration \"foo\". See 'kes identity new --help'",
        ),
        (
            "kes identity new --ip foo",
            "invalid argument \"foo\" for \"--ip\" flag: invalid string being converted to IP address: foo. See 'kes identity new --help'",
        ),
        (
            "kes status --color foo",
            "invalid argument \"foo\" for \"--color\" flag: invalid color option. See 'kes status --help'",
        ),
        ("kes ls --bogus", "unknown flag: --bogus"),
        ("kes identity --bogus", "unknown flag: --bogus"),
        (
            "kes identity info --bad",
            "unknown flag: --bad. See 'kes policy ls --help'",
        ),
        (
            "kes policy info --bad",
            "unknown flag: --bad. See 'kes policy show --help'",
        ),
        (
            "kes server --mlock",
            "unknown flag: --mlock. See 'kes server --help'",
        ),
        (
            "kes log --audit=x",
            "invalid argument \"x\" for \"--audit\" flag: strconv.ParseBool: parsing \"x\": invalid syntax. See 'kes log --help'",
        ),
    ] {
        assert_eq!(message(line), expected, "{line}");
    }
}

#[test]
fn help_is_found_for_every_command() {
    for (line, path) in [
        ("kes -h", "kes"),
        ("kes --help", "kes"),
        ("kes key", "kes key"),
        ("kes policy", "kes policy"),
        ("kes cluster", "kes cluster"),
        ("kes cluster snapshot", "kes cluster snapshot"),
        ("kes cluster root-key -h", "kes cluster root-key"),
        (
            "kes cluster root-key rotate -h",
            "kes cluster root-key rotate",
        ),
        ("kes cluster status --help", "kes cluster status"),
        ("kes key create -h", "kes key create"),
        ("kes policy create -h", "kes policy create"),
        ("kes policy assign --help", "kes policy assign"),
        ("kes identity rm -h", "kes identity rm"),
        ("kes identity -h", "kes identity"),
        ("kes ls -h", "kes ls"),
        ("kes update --help", "kes update"),
    ] {
        assert!(
            matches!(read(line), Err(Failure::Help(found)) if found == path),
            "{line}"
        );
        assert!(
            help(path).starts_with(&format!("Usage:\n    {path} ")),
            "{}",
            help(path)
        );
    }
}

#[test]
fn booleans_are_grouped_and_take_values_only_after_an_equals_sign() {
    let list = |line: &str| match read(line).map(|cli| cli.command) {
        Ok(Some(Command::Ls(ls))) => (ls.insecure.insecure, ls.identity, ls.json, ls.rest),
        _ => panic!("{line}"),
    };
    assert_eq!(
        list("kes ls -ki a"),
        (true, true, false, vec!["a".to_owned()])
    );
    assert_eq!(
        list("kes ls --json false"),
        (false, false, true, vec!["false".to_owned()])
    );
    assert_eq!(
        list("kes ls a --json=F -k=T"),
        (true, false, false, vec!["a".to_owned()])
    );
    assert_eq!(list("kes ls -k -k=0"), (false, false, false, vec![]));
    assert_eq!(
        list("kes ls -- -k"),
        (false, false, false, vec!["-k".to_owned()])
    );
}

#[test]
fn values_come_attached_or_not_and_may_look_like_flags() {
    for line in [
        "kes ls -s -x",
        "kes ls -s=-x",
        "kes ls -s-x",
        "kes ls --server -x",
        "kes ls --server=-x",
    ] {
        match read(line).map(|cli| cli.command) {
            Ok(Some(Command::Ls(ls))) => assert_eq!(ls.server.as_deref(), Some("-x"), "{line}"),
            Ok(_) => panic!("{line}"),
            Err(failure) => panic!("{line}: {failure}"),
        }
    }
}

#[test]
fn lists_are_repeated_or_separated_by_commas() {
    let Ok(Some(Command::Identity(identity))) =
        read("kes identity new --ip 127.0.0.1,::1 --ip 10.0.0.1 --dns a,b --dns c x")
            .map(|cli| cli.command)
    else {
        panic!("not read");
    };
    let Some(IdentityCommand::New(new)) = identity.command else {
        panic!("not new");
    };
    let ips: Vec<String> = new
        .ip
        .iter()
        .flat_map(|list| &list.0)
        .map(ToString::to_string)
        .collect();
    assert_eq!(ips, ["127.0.0.1", "::1", "10.0.0.1"]);
    assert_eq!(new.dns, ["a,b", "c"]);
    assert_eq!(new.rest, ["x"]);
}

#[test]
fn the_first_argument_of_identity_may_be_a_command() {
    let rest = |line: &str| match read(line).map(|cli| cli.command) {
        Ok(Some(Command::Identity(identity))) => (identity.command.is_some(), identity.rest),
        _ => panic!("{line}"),
    };
    assert_eq!(rest("kes identity"), (false, vec![]));
    assert_eq!(rest("kes identity of x"), (true, vec![]));
    assert_eq!(
        rest("kes identity x new"),
        (false, vec!["x".to_owned(), "new".to_owned()])
    );
}

#[test]
fn an_empty_color_is_auto_and_case_does_not_matter() {
    let color = |line: &str| match read(line).map(|cli| cli.command) {
        Ok(Some(Command::Key {
            command: KeyCommand::Ls(ls),
        })) => ls.list.color.color,
        _ => panic!("{line}"),
    };
    assert_eq!(color("kes key ls --color="), When::Auto);
    assert_eq!(color("kes key ls --color ALWAYS"), When::Always);
    assert_eq!(color("kes key ls"), When::Auto);
}

//! Candidates as recorded, and installation into files of a temporary home.

use super::*;

fn environment<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
    |name| {
        variables
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    }
}

#[test]
fn candidates_complete_the_last_word() {
    for (line, expected) in [
        (
            "kes key ",
            &[
                "create", "import", "info", "ls", "rm", "encrypt", "decrypt", "dek",
            ][..],
        ),
        ("kes key c", &["create"]),
        (
            "kes policy ",
            &["create", "info", "ls", "rm", "assign", "show"],
        ),
        ("kes identity r", &["rm"]),
        ("kes policy assign --i", &["--insecure"]),
        ("kes cluster snapshot ", &["save", "restore"]),
        ("kes cluster root-key r", &["rotate"]),
        ("kes cluster join --l", &["--learner"]),
        ("kes key create -", &["--insecure"]),
        ("kes key -k ls --j", &["--json"]),
        ("kes s", &["server", "status"]),
        ("kes nothing ", &[]),
        ("kes key create my-key ", &[]),
    ] {
        assert_eq!(candidates(line), expected, "{line}");
    }
    let commands = candidates("kes ");
    assert_eq!(
        commands[..7],
        [
            "server", "key", "policy", "identity", "log", "status", "metric"
        ]
    );
    assert!(!commands.contains(&"update".to_owned()));
}

#[test]
fn only_shells_with_the_protocol_get_candidates() {
    let ask = |shell, line| requested(&environment(&[("SHELL", shell), ("COMP_LINE", line)]));
    assert_eq!(ask("/bin/bash", "kes met"), Some(vec!["metric".to_owned()]));
    assert_eq!(ask("/bin/zsh", "kes met"), Some(vec!["metric".to_owned()]));
    assert_eq!(ask("/bin/fish", "kes met"), None);
    assert_eq!(requested(&environment(&[("SHELL", "/bin/bash")])), None);
    assert_eq!(requested(&environment(&[("COMP_LINE", "kes ")])), None);
}

#[test]
fn installs_once() {
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join(".zshrc");
    let home_text = home.path().to_str().expect("UTF-8");
    let variables = [("SHELL", "/bin/zsh"), ("HOME", home_text)];
    let env = environment(&variables);
    let install =
        || install_for(&env, Path::new("/usr/bin/kes"), "kes").map_err(|error| error.to_string());

    assert_eq!(
        install(),
        Err(format!(
            "open {}: no such file or directory",
            path.display()
        ))
    );
    fs::write(&path, "alias x=y").expect("written");
    let message = install().expect("installed");
    assert!(message.starts_with(&format!(
        "Added completion to '{}'\n\nTo uninstall",
        path.display()
    )));
    let expected = "alias x=y\nautoload -U +X bashcompinit && bashcompinit\ncomplete -o default -C /usr/bin/kes kes\n";
    assert_eq!(fs::read_to_string(&path).expect("read"), expected);
    assert_eq!(
        install().as_deref(),
        Ok("Completion is already installed.\n")
    );
    assert_eq!(fs::read_to_string(&path).expect("read"), expected);
}

#[test]
fn fish_gets_a_file_of_its_own() {
    let home = tempfile::tempdir().expect("a directory");
    let variables = [
        ("SHELL", "/usr/bin/fish"),
        ("HOME", home.path().to_str().expect("UTF-8")),
    ];
    let env = environment(&variables);
    assert!(install_for(&env, Path::new("/usr/bin/kes"), "kes").is_ok());
    let path = home.path().join(".config/fish/completions/kes.fish");
    assert_eq!(
        fs::read_to_string(path).expect("read"),
        "/usr/bin/kes completion fish | source\n"
    );
}

#[test]
fn other_shells_are_refused() {
    let refusal = |variables: &[(&str, &str)]| {
        install_for(&environment(variables), Path::new("/kes"), "kes")
            .err()
            .map(|error| error.to_string())
    };
    assert_eq!(
        refusal(&[("SHELL", "/bin/tcsh")]).as_deref(),
        Some("auto-completion for '/bin/tcsh' is not available")
    );
    assert_eq!(
        refusal(&[]).as_deref(),
        Some("failed to detect shell. The env variable $SHELL is not defined")
    );
}

#[test]
fn every_script_knows_the_commands() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let script = script(shell);
        for word in [
            "migrate", "decrypt", "insecure", "root-key", "learner", "assign",
        ] {
            assert!(script.contains(word), "{shell:?} {word}");
        }
    }
}

//! `kes policy`: what a server's configuration lets its clients do.

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::{DescribeArgs, ListArgs, PolicyCommand, PolicyShowArgs};
use super::connect;
use super::failure::{Failure, OrFailure};
use super::ls;
use super::output::{Output, Style};
use super::time;
use crate::base::clock::Timestamp;

const ALLOW: Style = Style::rgb(0x0000_a700).bold();
const DENY: Style = Style::rgb(0x00d7_0000).bold();
const CREATED: Style = Style::rgb(0x0000_afaf).bold();
const NAME: Style = Style::rgb(0x002e_42d1);

/// Runs `kes policy`.
pub(super) async fn run(command: &PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Info(args) => info(args).await,
        PolicyCommand::Ls(args) => list(args).await,
        PolicyCommand::Show(args) => show(args).await,
    }
}

/// The name of the policy. Further arguments have always been ignored.
fn policy_name<'a>(command: &str, rest: &'a [String]) -> Result<&'a str, Failure> {
    rest.first()
        .map(String::as_str)
        .ok_or_else(|| Failure::usage(command, "no policy name specified"))
}

/// What `kes policy info --json` prints.
#[derive(Serialize)]
struct PolicyDescription<'a> {
    name: &'a str,
    created_at: String,
    created_by: &'a str,
}

async fn info(args: &DescribeArgs) -> Result<(), Failure> {
    let name = policy_name("kes policy info", &args.rest)?;
    let client = connect::connect(args.insecure)?.client;
    let policy = client.describe_policy(name).await.or_failure("")?;
    let output = Output::detect().with_color(args.color.color);
    let created_by = policy.created_by.as_str();
    if args.json {
        let description = PolicyDescription {
            name,
            created_at: policy.created_at.to_rfc3339(),
            created_by,
        };
        return output.print_json(&description, true);
    }
    let row = |label: &str, value: &str| {
        format!(
            "{} {value}\n",
            output.paint(Style::FAINT, &format!("{label:<11}"))
        )
    };
    let mut text = row("Name", &output.paint(NAME, name));
    if policy.created_at != Timestamp::ZERO {
        text.push_str(&row("Date", &time::local(policy.created_at)));
    }
    if !created_by.is_empty() {
        text.push_str(&row("Created by", created_by));
    }
    output.print(&text)
}

/// `kes policy ls`. Header and error speak of keys; scripts may have got used to it.
async fn list(args: &ListArgs) -> Result<(), Failure> {
    let pattern = ls::pattern("kes policy ls", &args.rest)?.unwrap_or("*");
    let client = connect::connect(args.insecure)?.client;
    let names = ls::fetch("failed to list keys: ", client.list_policies(pattern)).await?;
    ls::print("Key", names, args)
}

/// A rule has no content, so far.
#[derive(Serialize, Clone, Copy)]
struct Rule {}

/// What `kes policy show` prints for programs.
#[derive(Serialize)]
struct PolicyRules {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    allow: BTreeMap<String, Rule>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    deny: BTreeMap<String, Rule>,
    created_at: String,
    created_by: String,
}

async fn show(args: &PolicyShowArgs) -> Result<(), Failure> {
    let name = policy_name("kes policy show", &args.rest)?;
    let client = connect::connect(args.insecure)?.client;
    let context = format!("failed to show policy '{name}': ");
    let policy = client.get_policy(name).await.or_failure(&context)?;
    let created_at = policy.created_at;
    let rules = PolicyRules {
        allow: policy
            .allow
            .into_iter()
            .map(|(pattern, _)| (pattern, Rule {}))
            .collect(),
        deny: policy
            .deny
            .into_iter()
            .map(|(pattern, _)| (pattern, Rule {}))
            .collect(),
        created_at: created_at.to_rfc3339(),
        created_by: policy.created_by.as_str().to_owned(),
    };
    let output = Output::detect();
    match args.json || !output.terminal {
        true => output.print_json(&rules, true),
        false => output.print(&rules_text(&output, &rules, created_at)),
    }
}

/// The rules for people, sorted.
fn rules_text(output: &Output, rules: &PolicyRules, created_at: Timestamp) -> String {
    let mut text = String::new();
    for (heading, style, patterns) in [
        ("Allow:", ALLOW, &rules.allow),
        ("Deny:", DENY, &rules.deny),
    ] {
        if !patterns.is_empty() {
            text.push_str(&format!("{}\n", output.paint(style, heading)));
            let lines: String = patterns
                .keys()
                .map(|pattern| format!("  · {pattern}\n"))
                .collect();
            text.push_str(&format!("{lines}\n"));
        }
    }
    let created_by = Some(rules.created_by.as_str()).filter(|creator| !creator.is_empty());
    text.push_str(&format!(
        "\n{} {}\n{} {}\n",
        output.paint(CREATED, "Created at:"),
        time::local(created_at),
        output.paint(CREATED, "Created by:"),
        created_by.unwrap_or("<unknown>"),
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::{Palette, json};

    fn rules(allow: &[&str], deny: &[&str]) -> PolicyRules {
        let set = |patterns: &[&str]| {
            patterns
                .iter()
                .map(|&pattern| (pattern.to_owned(), Rule {}))
                .collect()
        };
        PolicyRules {
            allow: set(allow),
            deny: set(deny),
            created_at: "2026-11-22T01:08:16.696331658Z".to_owned(),
            created_by: String::new(),
        }
    }

    #[test]
    fn rules_are_objects_sorted_and_left_out_if_empty() {
        let text = json(&rules(&["/v1/status", "/v1/key/*"], &[]), false).expect("JSON");
        assert_eq!(
            text,
            "{\"allow\":{\"/v1/key/*\":{},\"/v1/status\":{}},\"created_at\":\"2026-11-22T01:08:16.696331658Z\",\"created_by\":\"\"}"
        );
    }

    #[test]
    fn people_get_headings_and_two_empty_lines() {
        let output = Output {
            terminal: true,
            palette: Palette::None,
        };
        let text = rules_text(&output, &rules(&["/b", "/a"], &["/c"]), Timestamp::ZERO);
        assert!(
            text.starts_with("Allow:\n  · /a\n  · /b\n\nDeny:\n  · /c\n\n\nCreated at: "),
            "{text}"
        );
        assert!(text.ends_with("\nCreated by: <unknown>\n"));
    }
}

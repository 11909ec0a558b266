//! `kes policy`: what a server lets its clients do.

use serde::Serialize;

use super::args::{DescribeArgs, ListArgs, PolicyCommand, PolicyShowArgs};
use super::connect;
use super::failure::{Failure, OrFailure};
use super::ls;
use super::output::{Output, Style};
use super::policy_change;
use super::time;
use crate::wire::policy::Patterns;

const ALLOW: Style = Style::rgb(0x0000_a700).bold();
const DENY: Style = Style::rgb(0x00d7_0000).bold();
const CREATED: Style = Style::rgb(0x0000_afaf).bold();
const NAME: Style = Style::rgb(0x002e_42d1);

/// Runs `kes policy`.
pub(super) async fn run(command: &PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Create(args) => policy_change::create(args).await,
        PolicyCommand::Assign(args) => policy_change::assign(args).await,
        PolicyCommand::Rm(args) => policy_change::remove(args).await,
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

async fn info(args: &DescribeArgs) -> Result<(), Failure> {
    let name = policy_name("kes policy info", &args.rest)?;
    let client = connect::connect(args.insecure)?.client;
    let policy = client.describe_policy(name).await.or_failure("")?;
    let output = Output::detect().with_color(args.color.color);
    if args.json {
        return output.print_json(&policy, true);
    }
    let row = |label: &str, value: &str| {
        format!(
            "{} {value}\n",
            output.paint(Style::FAINT, &format!("{label:<11}"))
        )
    };
    let mut text = row("Name", &output.paint(NAME, name));
    if time::is_known(&policy.created_at) {
        text.push_str(&row("Date", &time::local(&policy.created_at)));
    }
    if !policy.created_by.is_empty() {
        text.push_str(&row("Created by", &policy.created_by));
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

/// What `kes policy show` prints for programs.
#[derive(Serialize)]
struct PolicyRules {
    #[serde(skip_serializing_if = "Patterns::is_empty")]
    allow: Patterns,
    #[serde(skip_serializing_if = "Patterns::is_empty")]
    deny: Patterns,
    created_at: String,
    created_by: String,
}

async fn show(args: &PolicyShowArgs) -> Result<(), Failure> {
    let name = policy_name("kes policy show", &args.rest)?;
    let client = connect::connect(args.insecure)?.client;
    let context = format!("failed to show policy '{name}': ");
    let policy = client.get_policy(name).await.or_failure(&context)?;
    let rules = PolicyRules {
        allow: policy.allow,
        deny: policy.deny,
        created_at: policy.created_at,
        created_by: policy.created_by,
    };
    let output = Output::detect();
    match args.json || !output.terminal {
        true => output.print_json(&rules, true),
        false => output.print(&rules_text(&output, &rules)),
    }
}

/// The rules for people, sorted.
fn rules_text(output: &Output, rules: &PolicyRules) -> String {
    let mut text = String::new();
    for (heading, style, patterns) in [
        ("Allow:", ALLOW, &rules.allow),
        ("Deny:", DENY, &rules.deny),
    ] {
        if !patterns.is_empty() {
            text.push_str(&format!("{}\n", output.paint(style, heading)));
            let lines: String = patterns
                .0
                .iter()
                .map(|pattern| format!("  · {pattern}\n"))
                .collect();
            text.push_str(&format!("{lines}\n"));
        }
    }
    let created_by = Some(rules.created_by.as_str()).filter(|creator| !creator.is_empty());
    text.push_str(&format!(
        "\n{} {}\n{} {}\n",
        output.paint(CREATED, "Created at:"),
        time::local(&rules.created_at),
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
        PolicyRules {
            allow: allow.iter().copied().collect(),
            deny: deny.iter().copied().collect(),
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
        let text = rules_text(&output, &rules(&["/b", "/a"], &["/c"]));
        assert!(
            text.starts_with("Allow:\n  · /a\n  · /b\n\nDeny:\n  · /c\n\n\nCreated at: "),
            "{text}"
        );
        assert!(text.ends_with("\nCreated by: <unknown>\n"));
    }
}

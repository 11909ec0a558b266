//! `kes identity info` and `kes identity ls`: identities as a server knows them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::{DescribeArgs, ListArgs};
use super::connect;
use super::failure::{Failure, OrFailure};
use super::ls;
use super::output::{Output, Style};
use super::time;
use crate::base::clock::Timestamp;

const IDENTITY: Style = Style::rgb(0x002e_42d1);
const POLICY: Style = Style::rgb(0x00d1_bd2e);

/// A rule has no content, so far.
#[derive(Serialize, Clone, Copy)]
struct Rule {}

/// An identity, with the rules of its policy if it is the caller's own.
#[derive(Serialize)]
struct Description {
    identity: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    admin: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    policy: String,
    #[serde(serialize_with = "rfc3339", skip_serializing_if = "is_zero")]
    created_at: Timestamp,
    #[serde(skip_serializing_if = "String::is_empty")]
    created_by: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    allow: BTreeMap<String, Rule>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    deny: BTreeMap<String, Rule>,
}

fn rfc3339<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339())
}

fn is_zero(time: &Timestamp) -> bool {
    *time == Timestamp::ZERO
}

/// `kes identity info`.
pub(super) async fn info(args: &DescribeArgs) -> Result<(), Failure> {
    let identity = match args.rest.as_slice() {
        [] => None,
        [identity] => Some(identity.as_str()),
        // Here the hint is right; that about unknown flags is not.
        _ => {
            let hint = Some("kes identity info".to_owned());
            return Err(Failure::Usage {
                message: "too many arguments".to_owned(),
                hint,
            });
        }
    };
    let client = connect::connect(args.insecure)?.client;
    let description = match identity {
        Some(identity) => {
            let described = client.describe_identity(identity).await.or_failure("")?;
            Description {
                identity: identity.to_owned(),
                admin: described.admin,
                policy: described.policy,
                created_at: described.created_at,
                created_by: described.created_by.as_str().to_owned(),
                allow: BTreeMap::new(),
                deny: BTreeMap::new(),
            }
        }
        None => {
            let own = client.describe_self().await.or_failure("")?;
            Description {
                identity: own.identity.as_str().to_owned(),
                admin: own.admin,
                policy: own.policy,
                created_at: own.created_at,
                created_by: own.created_by.as_str().to_owned(),
                allow: own
                    .allow
                    .into_iter()
                    .map(|(pattern, _)| (pattern, Rule {}))
                    .collect(),
                deny: own
                    .deny
                    .into_iter()
                    .map(|(pattern, _)| (pattern, Rule {}))
                    .collect(),
            }
        }
    };
    let output = Output::detect().with_color(args.color.color);
    match args.json {
        true => output.print_json(&description, true),
        false => output.print(&text(&output, &description)),
    }
}

/// The description for people and for scripts that cut columns.
fn text(output: &Output, description: &Description) -> String {
    let row = |label: &str, value: &str| {
        format!(
            "{} {value}\n",
            output.paint(Style::HEADING, &format!("{label:<11}"))
        )
    };
    let mut text = row("Identity", &output.paint(IDENTITY, &description.identity));
    if !description.policy.is_empty() {
        text.push_str(&row("Policy", &output.paint(POLICY, &description.policy)));
    }
    if description.created_at != Timestamp::ZERO {
        text.push_str(&row("Created At", &time::local(description.created_at)));
    }
    text.push_str(&row(
        "Role",
        if description.admin { "Admin" } else { "User" },
    ));
    if !description.created_by.is_empty() {
        text.push_str(&row("Created By", &description.created_by));
    }
    for (label, patterns) in [("Allow", &description.allow), ("Deny", &description.deny)] {
        if !patterns.is_empty() {
            text.push_str(&format!("\n{}\n", output.paint(Style::HEADING, label)));
            let lines: String = patterns
                .keys()
                .map(|pattern| format!("{:11} · {pattern}\n", ""))
                .collect();
            text.push_str(&lines);
        }
    }
    text
}

/// `kes identity ls`.
pub(super) async fn list(args: &ListArgs) -> Result<(), Failure> {
    let pattern = ls::pattern("kes identity ls", &args.rest)?.unwrap_or_default();
    let client = connect::connect(args.insecure)?.client;
    let names = ls::fetch(
        "failed to list identities: ",
        client.list_identities(pattern),
    )
    .await?;
    ls::print("Identity", names, args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::{Palette, json};

    fn description(admin: bool) -> Description {
        Description {
            identity: "47de".to_owned(),
            admin,
            policy: if admin {
                String::new()
            } else {
                "my-app".to_owned()
            },
            created_at: Timestamp::ZERO,
            created_by: if admin {
                String::new()
            } else {
                "fd11".to_owned()
            },
            allow: BTreeMap::new(),
            deny: BTreeMap::new(),
        }
    }

    #[test]
    fn rows_without_a_value_are_left_out() {
        let output = Output {
            terminal: false,
            palette: Palette::None,
        };
        assert_eq!(
            text(&output, &description(true)),
            "Identity    47de\nRole        Admin\n"
        );
        let expected = "Identity    47de\nPolicy      my-app\nRole        User\nCreated By  fd11\n";
        assert_eq!(text(&output, &description(false)), expected);
        let mut own = description(false);
        own.allow.insert("/v1/status".to_owned(), Rule {});
        let expected = format!("{expected}\nAllow\n            · /v1/status\n");
        assert_eq!(text(&output, &own), expected);
    }

    #[test]
    fn json_has_the_same_facts() {
        assert_eq!(
            json(&description(false), false).expect("JSON"),
            "{\"identity\":\"47de\",\"policy\":\"my-app\",\"created_by\":\"fd11\"}"
        );
        assert_eq!(
            json(&description(true), false).expect("JSON"),
            "{\"identity\":\"47de\",\"admin\":true}"
        );
    }
}

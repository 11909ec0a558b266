//! `kes identity info` and `kes identity ls`: identities as a server knows them.

use super::args::{DescribeArgs, ListArgs};
use super::connect;
use super::failure::{Failure, OrFailure};
use super::ls;
use super::output::{Output, Style};
use super::time;
use crate::wire::identity::SelfDescription;
use crate::wire::policy::Patterns;

const IDENTITY: Style = Style::rgb(0x002e_42d1);
const POLICY: Style = Style::rgb(0x00d1_bd2e);

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
            SelfDescription {
                identity: identity.to_owned(),
                admin: described.admin,
                created_at: described.created_at,
                created_by: described.created_by,
                policy: described.policy,
                allow: Patterns::default(),
                deny: Patterns::default(),
            }
        }
        None => client.describe_self().await.or_failure("")?,
    };
    let output = Output::detect().with_color(args.color.color);
    match args.json {
        true => output.print_json(&description, true),
        false => output.print(&text(&output, &description)),
    }
}

/// The description for people and for scripts that cut columns.
fn text(output: &Output, description: &SelfDescription) -> String {
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
    if time::is_known(&description.created_at) {
        text.push_str(&row("Created At", &time::as_sent(&description.created_at)));
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
                .0
                .iter()
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
    use crate::cli::output::Palette;

    fn description(admin: bool) -> SelfDescription {
        SelfDescription {
            identity: "47de".to_owned(),
            admin,
            policy: if admin {
                String::new()
            } else {
                "my-app".to_owned()
            },
            created_at: "0001-01-01T00:00:00Z".to_owned(),
            created_by: if admin {
                String::new()
            } else {
                "fd11".to_owned()
            },
            allow: Patterns::default(),
            deny: Patterns::default(),
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
        own.allow = ["/v1/status"].into_iter().collect();
        let expected = format!("{expected}\nAllow\n            · /v1/status\n");
        assert_eq!(text(&output, &own), expected);
    }
}

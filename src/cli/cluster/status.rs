//! `kes cluster status`: how a cluster is doing, as one of its members sees it.

use super::args::StatusArgs;
use super::{json_text, rows};
use crate::cli::failure::{Failure, OrFailure};
use crate::cli::output::{Output, Style};
use crate::client::Client;
use crate::wire::cluster::{ClusterHealth, ClusterStatus, MemberStatus, RootKeyStatus};

const GOOD: Style = Style::rgb(0x0000_f700).bold();
const DOUBTFUL: Style = Style::rgb(0x00fe_de00).bold();
const BAD: Style = Style::rgb(0x00fe_0000).bold();

const UNREACHABLE: &str = "unreachable";

/// What `kes cluster status` prints. A cluster that is not healthy is an answer, too.
pub(super) async fn fetch(
    client: &Client,
    output: &Output,
    args: &StatusArgs,
) -> Result<String, Failure> {
    let status = client.cluster_status().await.or_failure("")?;
    let output = output.with_color(args.color.color);
    match args.json {
        true => json_text(&output, &status),
        false => Ok(status_text(&output, &status)),
    }
}

/// The status for people; without colors it is the same text.
fn status_text(output: &Output, status: &ClusterStatus) -> String {
    let style = match status.health {
        ClusterHealth::Healthy => GOOD,
        ClusterHealth::Degraded | ClusterHealth::Restoring => DOUBTFUL,
        ClusterHealth::NoQuorum | ClusterHealth::NotAMember | ClusterHealth::Unknown => BAD,
    };
    let mut text = format!("{} {}\n", output.paint(style, "●"), status.health.as_str());
    text.push_str(&rows(output, &summary(status)));
    if !status.members.is_empty() {
        text.push('\n');
        text.push_str(&member_table(output, &status.members));
    }
    text
}

fn summary(status: &ClusterStatus) -> Vec<(&'static str, String)> {
    let mut rows = vec![("Node", status.node.clone())];
    // Who belongs to no cluster has nothing to tell of one.
    if !status.cluster_id.is_empty() {
        let leader = match status.leader.as_str() {
            "" => "none",
            name => name,
        };
        rows.extend([
            ("Cluster", status.cluster_id.clone()),
            ("Leader", format!("{leader}, term {}", status.term)),
            (
                "Log",
                format!("{} committed, {} applied", status.committed, status.applied),
            ),
            ("Root key", root_key_text(&status.root_key)),
            ("Keys", status.keys.to_string()),
            ("Policies", status.policies.to_string()),
            ("Identities", status.identities.to_string()),
        ]);
    }
    rows
}

fn root_key_text(root_key: &RootKeyStatus) -> String {
    let rotating = match root_key.rotating {
        true => ", rotating",
        false => "",
    };
    format!("{}, epoch {}{rotating}", root_key.key_id, root_key.epoch)
}

/// One line for each member, below a header.
fn member_table(output: &Output, members: &[MemberStatus]) -> String {
    const HEADER: [&str; 7] = [
        "Member", "Role", "Voter", "Address", "Applied", "Lag", "Health",
    ];
    let lines: Vec<[String; 7]> = members.iter().map(cells).collect();
    let widths: [usize; 7] = std::array::from_fn(|column| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0).max(HEADER[column].len())
    });
    let line = |cells: [&str; 7]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        format!("  {}", padded.collect::<Vec<_>>().join(" ").trim_end())
    };
    let mut text = format!("{}\n", output.paint(Style::FAINT, &line(HEADER)));
    for cells in &lines {
        let line = line(cells.each_ref().map(String::as_str));
        text.push_str(&match line.strip_suffix(UNREACHABLE) {
            Some(start) => format!("{start}{}\n", output.paint(BAD, UNREACHABLE)),
            None => format!("{line}\n"),
        });
    }
    text
}

fn cells(member: &MemberStatus) -> [String; 7] {
    let voter = match member.voter {
        true => "yes",
        false => "no",
    };
    let health = match member.reachable {
        true => "ok",
        false => UNREACHABLE,
    };
    [
        member.name.clone(),
        member.role.as_str().to_owned(),
        voter.to_owned(),
        member.address.clone(),
        member.applied.to_string(),
        member.lag.to_string(),
        health.to_owned(),
    ]
}

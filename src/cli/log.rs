//! `kes log`: follows what a server does.

use super::args::LogArgs;
use super::connect::{self, Connection};
use super::duration;
use super::failure::{Failure, OrFailure};
use super::output::{Output, Style};
use super::time;
use crate::wire::log::AuditEvent;

/// In front of the error of both logs: scripts know it.
const CONTEXT: &str = "failed to connect to error log: ";

const HEADER: Style = Style {
    underline: true,
    ..Style::BOLD
};
const OK: Style = Style::rgb(0x0000_ff00);
const FAILED: Style = Style::rgb(0x00ff_0000);

/// Runs `kes log` until the server ends the stream or the user presses Ctrl-C.
pub(super) async fn run(args: &LogArgs) -> Result<(), Failure> {
    if !args.rest.is_empty() {
        // The hint names the help of another command; it has always done so.
        return Err(Failure::usage("kes key import", "too many arguments"));
    }
    if args.audit == Some(true) && args.error {
        let message = "cannot display audit and error logs at the same time";
        return Err(Failure::Refused(message.to_owned()));
    }
    let connection = connect::connect(args.insecure)?;
    let output = Output::detect();
    let following = async {
        match (args.error, args.audit) {
            (true, _) => follow_errors(&connection, args.json, &output).await,
            (false, Some(false)) => Err(Failure::Help("kes log".to_owned())),
            (false, _) => follow_audit(&connection, args.json, &output).await,
        }
    };
    tokio::select! {
        result = following => result,
        _ = tokio::signal::ctrl_c() => match args.json {
            true => Err(Failure::Interrupted { context: Some(String::new()) }),
            false => Ok(()),
        },
    }
}

async fn follow_errors(
    connection: &Connection,
    json: bool,
    output: &Output,
) -> Result<(), Failure> {
    let mut events = connection.client.error_log().await.or_failure(CONTEXT)?;
    while let Some(event) = events.next().await {
        let event = event.or_failure("")?;
        match json {
            true => output.print(&String::from_utf8_lossy(&event.to_line()))?,
            false => output.print(&format!("{}\n", event.message.trim_end_matches('\n')))?,
        }
    }
    Ok(())
}

async fn follow_audit(connection: &Connection, json: bool, output: &Output) -> Result<(), Failure> {
    let mut events = connection.client.audit_log().await.or_failure(CONTEXT)?;
    if !json {
        let header = format!(
            "{:<8}    {:<6}    {:<20}    {:<15}    {:<30}    Latency",
            "Time", "Status", "Identity", "IP", "API"
        );
        output.print(&format!("{}\n", output.paint(HEADER, &header)))?;
    }
    while let Some(event) = events.next().await {
        let event = event.or_failure("")?;
        match json {
            true => output.print(&String::from_utf8_lossy(&event.to_client_line()))?,
            false => output.print(&audit_line(output, &event))?,
        }
    }
    Ok(())
}

/// One event as a row.
fn audit_line(output: &Output, event: &AuditEvent) -> String {
    let style = if event.response.code == 200 {
        OK
    } else {
        FAILED
    };
    let status = output.paint(style, &format!("{:<5}", event.response.code));
    let identity: String = event.request.identity.chars().take(20).collect();
    let ip = Some(event.request.ip.as_str())
        .filter(|ip| !ip.is_empty())
        .unwrap_or("<unknown>");
    let row = format!(
        "{}    {status}     {identity:<20}    {ip:<15}    {:<30}    {}",
        time::clock_as_sent(&event.time),
        event.request.path,
        duration::format(event.response.time),
    );
    format!("{row}\n")
}

//! `kes status`: whether a server is up, and how it is doing.

use std::time::Instant;

use super::args::StatusArgs;
use super::connect;
use super::duration;
use super::failure::{Failure, OrFailure};
use super::output::{Output, Style};
use crate::wire::api::Api;
use crate::wire::status::Status;

const DOT: Style = Style::rgb(0x0000_f700).bold();
const ENDPOINT: Style = Style::rgb(0x0000_afaf).bold();

/// Runs `kes status`. A server whose keystore is gone is up, and says so.
pub(super) async fn run(args: &StatusArgs) -> Result<(), Failure> {
    if !args.rest.is_empty() {
        return Err(Failure::usage("kes status", "too many arguments"));
    }
    let connection = connect::connect(args.insecure)?;
    let start = Instant::now();
    let status = connection.client.status().await.or_failure("")?;
    let latency = start.elapsed();
    let mut apis = match args.api {
        true => Some(connection.client.apis().await.or_failure("")?),
        false => None,
    };
    if let Some(apis) = &mut apis {
        apis.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
    }
    let output = Output::detect().with_color(args.color.color);
    if args.json {
        return match &apis {
            Some(apis) => output.print_json(apis, !args.short),
            None => output.print_json(&status, !args.short),
        };
    }
    let endpoint = connection
        .endpoints
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    let mut text = format!(
        "{} {}\n",
        output.paint(DOT, "●"),
        output.paint(ENDPOINT, endpoint)
    );
    if !args.short {
        let milliseconds = u64::try_from((latency.as_micros() + 500) / 1000).unwrap_or(0);
        text.push_str(&details(&output, &status, milliseconds));
    }
    if let Some(apis) = &apis {
        text.push_str(&api_table(&output, apis));
    }
    output.print(&text)
}

/// The rows below the endpoint.
fn details(output: &Output, status: &Status, latency_ms: u64) -> String {
    let row = |label: &str, value: &str| {
        format!(
            "  {} {value}\n",
            output.paint(Style::FAINT, &format!("{label:<8}"))
        )
    };
    let mut text = [
        row("Version", &status.version),
        row("Uptime", &uptime(status.uptime)),
        row(
            "Latency",
            &duration::format(latency_ms.saturating_mul(1_000_000)),
        ),
        row("OS", &status.os),
        row("CPUs", &format!("{} {}", status.num_cpu_used, status.arch)),
        row("Memory", ""),
        row("· Heap", &size(status.mem_heap_used)),
        row("· Stack", &size(status.mem_stack_used)),
    ]
    .concat();
    if status.keystore_unreachable || status.keystore_unavailable {
        text.push_str(&row("Keystore", "unreachable"));
    }
    text
}

/// The API, below an empty line.
fn api_table(output: &Output, apis: &[Api]) -> String {
    let header = format!("  {:<7} {:<28} {}", "Method", "API", "Timeout");
    let mut text = format!("\n{}\n", output.paint(Style::FAINT, &header));
    for api in apis {
        let timeout = match api.timeout {
            0 => "Inf".to_owned(),
            seconds => duration::format(seconds.saturating_mul(1_000_000_000)),
        };
        text.push_str(&format!("  {:<7} {:<28} {timeout}\n", api.method, api.path));
    }
    text
}

/// How long a server is up, in one or two units. Whole and half days round up, which is odd, but
/// what scripts have always read; there is no singular.
fn uptime(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match seconds {
        s if s > DAY => format!("{} days {} hours", rounded(s, DAY), rounded(s % DAY, HOUR)),
        s if s > HOUR => format!("{} hours", rounded(s, HOUR)),
        s if s > MINUTE => format!("{} minutes", rounded(s, MINUTE)),
        s => format!("{s} seconds"),
    }
}

/// `value / unit` to the nearest whole number, halves to the even one.
fn rounded(value: u64, unit: u64) -> u64 {
    let (whole, rest) = (value / unit, value % unit);
    let up = rest * 2 > unit || (rest * 2 == unit && whole % 2 == 1);
    whole + u64::from(up)
}

/// A number of bytes in decimal units with one decimal. The fraction is rounded on its own, without
/// carry: just below `2.0MB` comes `1.0MB`, as the original has it.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KB", "MB", "GB", "TB", "PB"];
    if bytes == 0 {
        return "0B".to_owned();
    }
    let (mut unit, mut index) = (1_u64, 0);
    while index + 1 < UNITS.len() && bytes / unit >= 1000 {
        unit *= 1000;
        index += 1;
    }
    let tenths = rounded((bytes % unit) * 10, unit) % 10;
    format!("{}.{tenths}{}", bytes / unit, UNITS[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_are_rounded_as_recorded() {
        const HOUR: u64 = 3600;
        for (seconds, text) in [
            (0, "0 seconds"),
            (29, "29 seconds"),
            (60, "60 seconds"),
            (61, "1 minutes"),
            (HOUR, "60 minutes"),
            (HOUR + 1, "1 hours"),
            (24 * HOUR, "24 hours"),
            (36 * HOUR, "2 days 12 hours"),
            (25 * HOUR, "1 days 1 hours"),
        ] {
            assert_eq!(uptime(seconds), text);
        }
    }

    #[test]
    fn sizes_have_one_decimal_without_carry() {
        for (bytes, text) in [
            (0, "0B"),
            (5, "5.0B"),
            (999, "999.0B"),
            (1_000, "1.0KB"),
            (655_360, "655.4KB"),
            (1_970_000, "1.0MB"),
            (1_900_000, "1.9MB"),
            (2_622_464, "2.6MB"),
            (u64::MAX, "18446.7PB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}

//! `kes status`: whether a server is up, and how it is doing.

use serde::Serialize;

use super::args::StatusArgs;
use super::connect;
use super::duration;
use super::failure::{Failure, OrFailure};
use super::output::{Output, Style};
use crate::wire::status::{ApiRoute, StatusResponse};

const DOT: Style = Style::rgb(0x0000_f700).bold();
const ENDPOINT: Style = Style::rgb(0x0000_afaf).bold();

/// Runs `kes status`. A server whose keystore is gone is up, and says so.
pub(super) async fn run(args: &StatusArgs) -> Result<(), Failure> {
    if !args.rest.is_empty() {
        return Err(Failure::usage("kes status", "too many arguments"));
    }
    let connection = connect::connect(args.insecure)?;
    let (status, latency) = connection.client.status().await.or_failure("")?;
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
            Some(apis) => output.print_json(
                &apis.iter().map(RouteJson::of).collect::<Vec<_>>(),
                !args.short,
            ),
            None => output.print_json(&StatusJson::of(&status), !args.short),
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

/// The status as programs read it: members that are zero are left out.
#[derive(Serialize)]
struct StatusJson<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    os: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    arch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_cpu: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_cpu_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_heap_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_stack_used: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keystore_latency: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keystore_unreachable: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keystore_unavailable: bool,
}

impl<'a> StatusJson<'a> {
    fn of(status: &'a StatusResponse) -> Self {
        Self {
            version: &status.version,
            os: &status.os,
            arch: &status.arch,
            uptime: non_zero(status.uptime),
            num_cpu: non_zero(status.num_cpu),
            num_cpu_used: non_zero(status.num_cpu_used),
            mem_heap_used: non_zero(status.mem_heap_used),
            mem_stack_used: non_zero(status.mem_stack_used),
            keystore_latency: non_zero(status.keystore_latency),
            keystore_unreachable: status.keystore_unreachable,
            keystore_unavailable: status.keystore_unavailable,
        }
    }
}

/// A route as programs read it: as [`StatusJson`].
#[derive(Serialize)]
struct RouteJson<'a> {
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_body: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
}

impl<'a> RouteJson<'a> {
    fn of(route: &'a ApiRoute) -> Self {
        Self {
            method: &route.method,
            path: &route.path,
            max_body: non_zero(route.max_body),
            timeout: non_zero(route.timeout),
        }
    }
}

fn non_zero(number: u64) -> Option<u64> {
    Some(number).filter(|&number| number != 0)
}

/// The rows below the endpoint.
fn details(output: &Output, status: &StatusResponse, latency_ms: u64) -> String {
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
        format!("  {}  \n", output.paint(Style::FAINT, "Memory")),
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
fn api_table(output: &Output, apis: &[ApiRoute]) -> String {
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
    use crate::cli::output::{Palette, json};

    #[test]
    fn an_unreachable_keystore_is_shown_and_not_fatal() {
        let status = StatusResponse {
            version: "v".to_owned(),
            keystore_unreachable: true,
            ..StatusResponse::default()
        };
        let text = json(&StatusJson::of(&status), false).expect("JSON");
        assert_eq!(text, "{\"version\":\"v\",\"keystore_unreachable\":true}");
        let output = Output {
            terminal: false,
            palette: Palette::None,
        };
        assert!(details(&output, &status, 3).ends_with("  Keystore unreachable\n"));
    }

    #[test]
    fn the_rows_are_those_of_the_original() {
        let status = StatusResponse {
            version: "2025-05-27T18-49-52Z".to_owned(),
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            uptime: 29,
            num_cpu: 4,
            num_cpu_used: 2,
            mem_heap_used: 2_622_464,
            mem_stack_used: 655_360,
            ..StatusResponse::default()
        };
        let output = Output {
            terminal: false,
            palette: Palette::None,
        };
        assert_eq!(
            details(&output, &status, 3),
            "  Version  2025-05-27T18-49-52Z\n  Uptime   29 seconds\n  Latency  3ms\n  \
             OS       linux\n  CPUs     2 amd64\n  Memory  \n  · Heap   2.6MB\n  · Stack  655.4KB\n"
        );
    }

    #[test]
    fn routes_without_timeout_are_endless() {
        let route = ApiRoute {
            method: "GET".to_owned(),
            path: "/v1/log/audit".to_owned(),
            ..ApiRoute::default()
        };
        let output = Output {
            terminal: false,
            palette: Palette::None,
        };
        assert_eq!(
            api_table(&output, std::slice::from_ref(&route)),
            "\n  Method  API                          Timeout\n  GET     /v1/log/audit                Inf\n"
        );
        assert_eq!(
            json(&RouteJson::of(&route), false).expect("JSON"),
            "{\"method\":\"GET\",\"path\":\"/v1/log/audit\"}"
        );
    }

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

//! `kes metric`: samples of a server's metrics, one JSON object a line or a table that redraws itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::MetricArgs;
use super::connect;
use super::duration;
use super::failure::{Failure, OrFailure};
use super::output::{Output, Style};
use super::status::size;

const OK: Style = Style::rgb(0x0000_fe00).bold();
const CLIENT_ERROR: Style = Style::rgb(0x00fe_de00).bold();
const SERVER_ERROR: Style = Style::rgb(0x00fe_0000).bold();

/// Runs `kes metric` until Ctrl-C or the first failure.
pub(super) async fn run(args: &MetricArgs) -> Result<(), Failure> {
    if !args.rest.is_empty() {
        return Err(Failure::usage("kes metric", "too many arguments"));
    }
    let rate = args
        .rate()
        .ok_or_else(|| Failure::usage("kes metric", "'--rate' must be greater than zero"))?;
    let output = Output::detect();
    let sampling = sample_repeatedly(args, rate, &output);
    let result = tokio::select! {
        result = sampling => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    if output.terminal {
        output.print("\x1b[?25h")?;
    }
    result
}

async fn sample_repeatedly(
    args: &MetricArgs,
    rate: Duration,
    output: &Output,
) -> Result<(), Failure> {
    let connection = connect::connect(args.insecure)?;
    let mut ticks = tokio::time::interval(rate);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before: Option<(Sample, Instant)> = None;
    loop {
        ticks.tick().await;
        let text = connection
            .client
            .metrics()
            .await
            .or_failure("failed to fetch metrics: ")?;
        let sample = Sample::parse(&text);
        let now = Instant::now();
        if output.terminal {
            let frequency = before.as_ref().map_or(0.0, |(earlier, at)| {
                let requests = sample.requests().saturating_sub(earlier.requests());
                ratio(requests, 1) / now.duration_since(*at).as_secs_f64().max(f64::EPSILON)
            });
            let start = if before.is_some() {
                "\x1b[2K\x1b[F\r".repeat(8)
            } else {
                "\x1b[?25l".to_owned()
            };
            output.print(&format!("{start}{}", table(output, &sample, frequency)))?;
            before = Some((sample, now));
        } else {
            output.print_json(&sample, false)?;
        }
    }
}

/// What the server counted, in the order and under the names that programs read.
#[derive(Serialize, Default, PartialEq, Eq, Debug)]
struct Sample {
    kes_http_request_success: u64,
    kes_http_request_error: u64,
    kes_http_request_failure: u64,
    kes_http_request_active: u64,
    kes_log_audit_events: u64,
    kes_log_error_events: u64,
    /// Requests that took at most so many nanoseconds; the keys are text, and sorted as such.
    kes_http_response_time: BTreeMap<String, u64>,
    /// Nanoseconds, whole seconds.
    kes_system_up_time: u64,
    kes_system_num_cpu: u64,
    kes_system_num_cpu_used: u64,
    kes_system_num_threads: u64,
    kes_system_mem_heap_used: u64,
    kes_system_mem_heap_objects: u64,
    kes_system_mem_stack_used: u64,
}

impl Sample {
    /// Reads the Prometheus text format. Families that are not known are skipped; samples of one
    /// family that differ only in labels are added up.
    fn parse(text: &str) -> Self {
        let mut sample = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.trim().rsplit_once(' ') else {
                continue;
            };
            let Some(value) = value.parse().ok().and_then(whole) else {
                continue;
            };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            if name == "kes_http_response_time_bucket" {
                if let Some(bound) = bucket_nanos(labels) {
                    *sample
                        .kes_http_response_time
                        .entry(bound.to_string())
                        .or_default() += value;
                }
            } else if let Some(field) = sample.field(name) {
                *field = field.saturating_add(value);
            }
        }
        sample.kes_system_up_time = sample.kes_system_up_time.saturating_mul(1_000_000_000);
        sample
    }

    fn field(&mut self, name: &str) -> Option<&mut u64> {
        Some(match name {
            "kes_http_request_success" => &mut self.kes_http_request_success,
            "kes_http_request_error" => &mut self.kes_http_request_error,
            "kes_http_request_failure" => &mut self.kes_http_request_failure,
            "kes_http_request_active" => &mut self.kes_http_request_active,
            "kes_log_audit_events" => &mut self.kes_log_audit_events,
            "kes_log_error_events" => &mut self.kes_log_error_events,
            "kes_system_up_time" => &mut self.kes_system_up_time,
            "kes_system_num_cpu" => &mut self.kes_system_num_cpu,
            "kes_system_num_cpu_used" => &mut self.kes_system_num_cpu_used,
            "kes_system_num_threads" => &mut self.kes_system_num_threads,
            "kes_system_mem_heap_used" => &mut self.kes_system_mem_heap_used,
            "kes_system_mem_heap_objects" => &mut self.kes_system_mem_heap_objects,
            "kes_system_mem_stack_used" => &mut self.kes_system_mem_stack_used,
            _ => return None,
        })
    }

    fn requests(&self) -> u64 {
        self.kes_http_request_success
            .saturating_add(self.kes_http_request_error)
            .saturating_add(self.kes_http_request_failure)
    }

    /// The mean response time in nanoseconds, as if each request had taken its bucket's upper bound.
    fn mean_latency(&self) -> u64 {
        let parsed = self.kes_http_response_time.iter();
        let mut buckets: Vec<(u64, u64)> = parsed
            .filter_map(|(bound, count)| Some((bound.parse().ok()?, *count)))
            .collect();
        buckets.sort_unstable();
        let (mut sum, mut below) = (0_u128, 0);
        for &(bound, count) in &buckets {
            sum += u128::from(bound) * u128::from(count.saturating_sub(below));
            below = below.max(count);
        }
        sum.checked_div(u128::from(below))
            .and_then(|mean| u64::try_from(mean).ok())
            .unwrap_or(0)
    }
}

/// A metric's value as a whole number, fraction cut off; `None` for what cannot be counted.
fn whole(value: f64) -> Option<u64> {
    format!("{:.0}", value.trunc()).parse().ok()
}

/// The upper bound of a bucket in nanoseconds; `None` for the one without bound.
fn bucket_nanos(labels: &str) -> Option<u64> {
    let bound = labels.split("le=\"").nth(1)?.split('"').next()?;
    whole((bound.parse::<f64>().ok()? * 1e9).round())
}

/// `part / total`, 0 if there is nothing.
fn ratio(part: u64, total: u64) -> f64 {
    let float = |value: u64| value.to_string().parse::<f64>().unwrap_or(0.0);
    if total == 0 {
        0.0
    } else {
        float(part) / float(total)
    }
}

/// The table of the terminal: eight lines.
fn table(output: &Output, sample: &Sample, frequency: f64) -> String {
    let counts = [
        (OK, 19, sample.kes_http_request_success),
        (CLIENT_ERROR, 16, sample.kes_http_request_error),
        (SERVER_ERROR, 16, sample.kes_http_request_failure),
    ];
    let numbers =
        counts.map(|(style, width, count)| output.paint(style, &format!("{count:width$}")));
    let total = sample.requests();
    let shares = counts.map(|(style, width, count)| {
        let percent = format!("{:.2}%", 100.0 * ratio(count, total));
        output.paint(style, &format!("{percent:>width$}"))
    });
    let requests = "Request    OK [2xx]       Err [4xx]       Err [5xx]      Req/s        Latency";
    let system = "System       UpTime            Heap           Stack       CPUs        Threads";
    let milliseconds = (sample.mean_latency() + 500_000) / 1_000_000 * 1_000_000;
    format!(
        "\n{}\n{}{frequency:11.2}{:>15}\n{}\n\n{}\n{:>19}{:>16}{:>16}{:>11}{:>15}\n\n",
        output.paint(Style::HEADING, requests),
        numbers.concat(),
        duration::format(milliseconds),
        shares.concat(),
        output.paint(Style::HEADING, system),
        duration::format(sample.kes_system_up_time),
        size(sample.kes_system_mem_heap_used),
        size(sample.kes_system_mem_stack_used),
        sample.kes_system_num_cpu_used,
        sample.kes_system_num_threads,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Palette;

    const TEXT: &str = "\
# HELP kes_http_request_success Number of requests.
# TYPE kes_http_request_success counter
kes_http_request_success{code=\"200\"} 20
kes_http_request_success{code=\"204\"} 1
kes_http_request_error{code=\"404\"} 7
kes_http_response_time_bucket{le=\"0.01\"} 20
kes_http_response_time_bucket{le=\"1.5\"} 28
kes_http_response_time_bucket{le=\"+Inf\"} 28
kes_http_response_time_sum 0.1
kes_http_response_time_count 28
kes_system_up_time 22.7
kes_system_num_cpu 2
kes_system_mem_heap_used 1.9e+06
something_else 5
";

    #[test]
    fn reads_the_text_format() {
        let sample = Sample::parse(TEXT);
        assert_eq!(sample.kes_http_request_success, 21);
        assert_eq!(sample.kes_http_request_error, 7);
        assert_eq!(sample.kes_system_up_time, 22_000_000_000);
        assert_eq!(sample.kes_system_mem_heap_used, 1_900_000);
        let buckets: Vec<_> = sample.kes_http_response_time.iter().collect();
        assert_eq!(
            buckets,
            [
                (&"10000000".to_owned(), &20),
                (&"1500000000".to_owned(), &28)
            ]
        );
        // 20 requests of 10 ms and 8 of 1.5 s
        assert_eq!(sample.mean_latency(), 435_714_285);
    }

    #[test]
    fn an_empty_sample_has_every_member() {
        let text = super::super::output::json(&Sample::default(), false).expect("JSON");
        assert!(text.starts_with("{\"kes_http_request_success\":0,\"kes_http_request_error\":0,"));
        assert!(text.contains("\"kes_http_response_time\":{},\"kes_system_up_time\":0,"));
        assert_eq!(Sample::default().mean_latency(), 0);
    }

    #[test]
    fn the_table_has_eight_lines_in_columns() {
        let output = Output {
            terminal: true,
            palette: Palette::None,
        };
        let table = table(&output, &Sample::parse(TEXT), 1.5);
        let lines: Vec<&str> = table.split('\n').collect();
        assert_eq!(lines.len(), 9);
        assert_eq!(
            lines[2],
            "                 21               7               0       1.50          436ms"
        );
        assert_eq!(
            lines[3],
            "             75.00%          25.00%           0.00%"
        );
        assert_eq!(
            lines[6],
            "                22s           1.9MB              0B          0              0"
        );
    }
}

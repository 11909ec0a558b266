//! The benchmark: the CPU time that the server spends per request, against a bare actix-web handler.
//!
//! It starts both servers, puts the same load on them in turns, and compares the medians. CPU time
//! rather than throughput, because the load comes from the same machine and throughput would mostly
//! tell how fast that is. Run it by `scripts/bench.sh`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the console is where the results go"
)]

mod client;
mod operation;
mod process;
mod report;
mod round;
mod servers;
mod shape;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use client::Credentials;
use operation::{Operation, Requests};
use report::{Cell, Row};
use round::{Lanes, Round};
use servers::{Servers, Settings};
use shape::Shape;

/// A failure is shown and ends the benchmark; nobody handles it by its kind.
type Failure = Box<dyn Error + Send + Sync>;

/// How much CPU time, relative to the bare handler, the server may take.
const RATIO_MAX: f64 = 1.25;

/// Name of the key that all requests use.
const KEY_NAME: &str = "bench-key";

#[derive(Parser)]
#[command(about = "Compares the CPU time per request of `kes server` with that of a bare handler")]
struct Args {
    /// The server program. By default the one beside the directory of this program.
    #[arg(long)]
    kes: Option<PathBuf>,
    /// The bare server. By default `bench-bare` beside this program.
    #[arg(long)]
    bare: Option<PathBuf>,
    /// Rounds for each server, load shape and operation.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Length of a round.
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    seconds: Duration,
    /// All four operations, not just decrypt and generate.
    #[arg(long)]
    all: bool,
    /// Load shapes: `h1:CONNECTIONS` and `h2:CONNECTIONSxSTREAMS`, with STREAMS on each connection.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "h1:16,h1:64,h1:256,h2:1x16,h2:4x16"
    )]
    shapes: Vec<Shape>,
    /// Let the server write audit records, to a file. Off by default: the bare server has none.
    #[arg(long)]
    audit: bool,
    /// Fail if a ratio is above the limit of 1.25.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure(args))
}

async fn measure(args: &Args) -> Result<ExitCode, Failure> {
    let directory = tempfile::tempdir()?;
    let programs = args.programs()?;
    let credentials = Credentials::generate()?;
    let settings = Settings {
        directory: directory.path(),
        kes: &programs.0,
        bare: &programs.1,
        has_audit: args.audit,
    };
    let (servers, requests) = Servers::start(&settings, &credentials).await?;
    println!("{}", servers.describe()?);
    println!("\n{}", report::HEAD);
    let operations: &[Operation] = if args.all {
        &Operation::ALL
    } else {
        &Operation::DEFAULT
    };
    let mut worst: f64 = 0.0;
    for shape in &args.shapes {
        let rows = measure_shape(args, *shape, operations, &servers, &requests).await;
        for row in rows.map_err(|error| servers.explain(&error))? {
            println!("{row}");
            worst = worst.max(row.ratio());
        }
    }
    println!("\n{}", servers.describe_end()?);
    println!("Highest ratio: {worst:.2}, limit: {RATIO_MAX}.");
    let is_over = args.check && worst > RATIO_MAX;
    Ok(ExitCode::from(u8::from(is_over)))
}

/// Both servers in turns, over connections that stay open.
async fn measure_shape(
    args: &Args,
    shape: Shape,
    operations: &[Operation],
    servers: &Servers,
    requests: &Requests,
) -> Result<Vec<Row>, Failure> {
    let mut lanes = [
        Lanes::open(shape, &servers.ours).await?,
        Lanes::open(shape, &servers.bare).await?,
    ];
    let processes = [servers.ours.pid(), servers.bare.pid()];
    let mut rows = Vec::with_capacity(operations.len());
    for operation in operations {
        let load = requests.load(*operation)?;
        let mut rounds: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
        for number in 0..args.rounds {
            // Who goes first changes, so that a drift of the machine does not favor one.
            let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
            for server in order {
                let round = lanes[server].run(&load, processes[server], args.seconds);
                rounds[server].push(round.await?);
            }
        }
        let [ours, bare] = &rounds;
        rows.push(Row {
            shape,
            operation: *operation,
            ours: Cell::median_of(ours),
            bare: Cell::median_of(bare),
        });
    }
    Ok(rows)
}

impl Args {
    /// The server's program and the bare one's.
    fn programs(&self) -> Result<(PathBuf, PathBuf), Failure> {
        let own = std::env::current_exe()?;
        let examples = own.parent().ok_or("this program is in no directory")?;
        let built = examples.parent().ok_or("this program is not in target")?;
        let kes = self.kes.clone().unwrap_or_else(|| built.join("kes"));
        let bare = self.bare.clone();
        let bare = bare.unwrap_or_else(|| examples.join("bench-bare"));
        Ok((kes, bare))
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    // Below that, the clock of the CPU time (10 ms) is too coarse.
    if !(0.2..=600.0).contains(&seconds) {
        return Err("must be from 0.2 to 600".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

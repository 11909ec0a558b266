//! One round: all connections at work for some seconds, and what that cost the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::Failure;
use crate::client::{Http1, Http2};
use crate::operation::Load;
use crate::process::{Pid, Server};
use crate::shape::Shape;

/// Work that is not measured, at the beginning of each round.
const WARM_UP: Duration = Duration::from_millis(200);

/// Time for the last answers of a round, and for the handshakes of a shape.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the lanes do: answers count only while measuring.
const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const STOPPING: u8 = 2;

/// What carries one request at a time.
enum Lane {
    Http1(Box<Http1>),
    Http2(Http2),
}

/// All that is open to one server.
pub(crate) struct Lanes(Vec<Lane>);

/// What a round showed.
pub(crate) struct Round {
    /// The server's CPU time per request, in µs.
    pub(crate) cpu_microseconds: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Half of the requests took no longer, in ms.
    pub(crate) p50_milliseconds: f64,
    /// 99 of 100 requests took no longer, in ms.
    pub(crate) p99_milliseconds: f64,
}

impl Lanes {
    /// Opens the connections of a shape.
    pub(crate) async fn open(shape: Shape, server: &Server) -> Result<Self, Failure> {
        let opened = timeout(PATIENCE, Self::open_all(shape, server)).await;
        opened.map_err(|_| "the connections take too long to open")?
    }

    async fn open_all(shape: Shape, server: &Server) -> Result<Self, Failure> {
        let target = &server.target;
        let mut lanes = Vec::new();
        match shape {
            Shape::Http1 { connections } => {
                for _ in 0..connections {
                    lanes.push(Lane::Http1(Box::new(target.connect_http1().await?)));
                }
            }
            Shape::Http2 {
                connections,
                streams,
            } => {
                for _ in 0..connections {
                    let connection = target.connect_http2().await?;
                    lanes.extend((0..streams).map(|_| Lane::Http2(connection.clone())));
                }
            }
        }
        Ok(Self(lanes))
    }

    /// Sends `load` on all lanes for the time `length`.
    pub(crate) async fn run(
        &mut self,
        load: &Arc<Load>,
        process: Pid,
        length: Duration,
    ) -> Result<Round, Failure> {
        let phase = Arc::new(AtomicU8::new(WARMING));
        let mut lanes = JoinSet::new();
        for lane in self.0.drain(..) {
            lanes.spawn(drive(lane, Arc::clone(load), Arc::clone(&phase)));
        }
        tokio::time::sleep(WARM_UP).await;
        let cpu_before = process.cpu_microseconds()?;
        let started = Instant::now();
        phase.store(MEASURING, Ordering::Relaxed);
        tokio::time::sleep(length).await;
        phase.store(STOPPING, Ordering::Relaxed);
        let elapsed = started.elapsed();
        let cpu = process.cpu_microseconds()? - cpu_before;

        let mut latencies = Vec::new();
        let finished = timeout(PATIENCE, async {
            while let Some(driven) = lanes.join_next().await {
                let (lane, measured) = driven??;
                self.0.push(lane);
                latencies.extend(measured);
            }
            Ok::<_, Failure>(())
        });
        finished.await.map_err(|_| "an answer does not come")??;
        Round::new(latencies, cpu, elapsed)
    }
}

impl Lane {
    async fn send(&mut self, load: &Load) -> Result<(), Failure> {
        match self {
            Self::Http1(connection) => connection.send(load).await,
            Self::Http2(stream) => stream.send(load).await,
        }
    }
}

/// One request after the other; gives back how long those that count took.
async fn drive(
    mut lane: Lane,
    load: Arc<Load>,
    phase: Arc<AtomicU8>,
) -> Result<(Lane, Vec<Duration>), Failure> {
    let mut latencies = Vec::with_capacity(1024);
    loop {
        let started = Instant::now();
        lane.send(&load).await?;
        let latency = started.elapsed();
        match phase.load(Ordering::Relaxed) {
            WARMING => {}
            MEASURING => latencies.push(latency),
            _ => return Ok((lane, latencies)),
        }
    }
}

impl Round {
    fn new(mut latencies: Vec<Duration>, cpu: u64, elapsed: Duration) -> Result<Self, Failure> {
        latencies.sort_unstable();
        let Some(last) = latencies.len().checked_sub(1) else {
            return Err("no request was answered in a whole round".into());
        };
        let percentile = |percent: usize| latencies[last * percent / 100].as_secs_f64() * 1e3;
        let requests = latencies.len() as f64;
        Ok(Self {
            cpu_microseconds: cpu as f64 / requests,
            rate: requests / elapsed.as_secs_f64(),
            p50_milliseconds: percentile(50),
            p99_milliseconds: percentile(99),
        })
    }
}

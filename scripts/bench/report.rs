//! The results, as a Markdown table.

use std::fmt;

use crate::operation::Operation;
use crate::round::Round;
use crate::shape::Shape;

/// The head of the table.
pub(crate) const HEAD: &str = "\
| shape | operation | ours µs | bare µs | ratio | ours req/s | bare req/s | ours p50/p99 ms | bare p50/p99 ms |
|---|---|--:|--:|--:|--:|--:|--:|--:|";

/// The medians of one server.
pub(crate) struct Cell(Round);

impl Cell {
    /// The median of each figure by itself.
    pub(crate) fn median_of(rounds: &[Round]) -> Self {
        let median = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
        Self(Round {
            cpu_microseconds: median(|round| round.cpu_microseconds),
            rate: median(|round| round.rate),
            p50_milliseconds: median(|round| round.p50_milliseconds),
            p99_milliseconds: median(|round| round.p99_milliseconds),
        })
    }
}

/// One line of the table.
pub(crate) struct Row {
    pub(crate) shape: Shape,
    pub(crate) operation: Operation,
    pub(crate) ours: Cell,
    pub(crate) bare: Cell,
}

impl Row {
    /// CPU time per request, relative to the bare server.
    pub(crate) fn ratio(&self) -> f64 {
        self.ours.0.cpu_microseconds / self.bare.0.cpu_microseconds
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ours, bare) = (&self.ours.0, &self.bare.0);
        write!(f, "| {} | {} ", self.shape, self.operation)?;
        write!(f, "| {:.1} ", ours.cpu_microseconds)?;
        write!(f, "| {:.1} ", bare.cpu_microseconds)?;
        write!(f, "| {:.2} ", self.ratio())?;
        write!(f, "| {:.0} | {:.0} ", ours.rate, bare.rate)?;
        for round in [ours, bare] {
            let (p50, p99) = (round.p50_milliseconds, round.p99_milliseconds);
            write!(f, "| {p50:.2} / {p99:.2} ")?;
        }
        write!(f, "|")
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.get(middle) {
        None => f64::NAN,
        Some(upper) if figures.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(figures[middle - 1], *upper),
    }
}

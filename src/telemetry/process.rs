//! Figures of this process, read from the operating system when they are asked for.

use std::time::Instant;

/// Memory and threads of the process at one moment.
#[derive(Clone, Copy, Default, Debug)]
pub struct ProcessFigures {
    /// Bytes of anonymous memory in RAM: what the allocator holds.
    pub heap_bytes: u64,
    /// Bytes of the main thread's stack.
    pub stack_bytes: u64,
    /// Threads.
    pub threads: u64,
}

impl ProcessFigures {
    /// Reads the figures. Where the system does not tell, they are zero.
    pub fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or(0)
        };
        Self {
            heap_bytes: field("RssAnon") * 1024,
            stack_bytes: field("VmStk") * 1024,
            threads: field("Threads"),
        }
    }
}

/// Logical processors of the machine.
pub fn processors() -> usize {
    std::fs::read_to_string("/proc/cpuinfo")
        .map(|text| {
            text.lines()
                .filter(|line| line.starts_with("processor"))
                .count()
        })
        .ok()
        .filter(|count| *count > 0)
        .unwrap_or_else(usable_processors)
}

/// Processors that this process may use.
pub fn usable_processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// When the process started, for the uptime.
#[derive(Clone, Copy, Debug)]
pub struct Uptime(Instant);

impl Uptime {
    /// Starts counting now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since then.
    pub fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_plausible() {
        let figures = ProcessFigures::read();
        assert!(figures.threads >= 1);
        assert!(figures.heap_bytes > 0);
        assert!(processors() >= usable_processors().min(1));
    }
}

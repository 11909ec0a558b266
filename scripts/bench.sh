#!/usr/bin/env bash
# Measures the CPU time per request of the server against a bare actix-web handler.
#
#     scripts/bench.sh [--all] [--rounds N] [--seconds S] [--shapes LIST] [--audit] [--check]
#
# About six minutes after the build. `--seconds 1 --rounds 3` gives a first idea in one and a half.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}

# Two builds: one alone would unify features, and give the product the HTTP/2 of actix-web, which
# only the bare server has.
cargo build --release --locked --bin kes
cargo build --release --locked --example bench-bare --example bench-load

echo "Machine: $(uname -sr), $(nproc) processors," \
    "$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)," \
    "$(awk '/^MemTotal/ { printf "%.0f GiB RAM", $2 / 1048576 }' /proc/meminfo)," \
    "load average $(cut -d ' ' -f 1 /proc/loadavg)"
echo "Revision: $(git describe --always --dirty 2>/dev/null || echo unknown)"

# The benchmark limits its own waiting; this is for the case that even that fails.
exec timeout --kill-after=10 3600 "$target/release/examples/bench-load" "$@"

#!/usr/bin/env bash
# Speed of the server, `b2b --role b2bua`: CPU per call compared with a bare forwarder, added latency from a capture,
# memory of held calls and cost per call up to 10,000 of them, registrations, and the relay (scripts/bench-relay.sh).
# Prints a table, writes JSON.
# usage: scripts/bench-b2bua.sh [--quick] [--json file] [--rate N] [--calls N] [--runs N] [part...]
# B2B_BINARY, an existing `b2b`, is used instead of a build; B2B_FLOOR, an examples/b2bua_floor. Parts: call latency
# held registrations relay; default all. docs/benchmarks.md has the results. Needs two cores, one for the server and one
# for the load, taskset, python3, and for the latency dumpcap (tshark) with its capabilities. Goals are multiplied by
# B2B_BENCH_WIDE (1), for latency by B2B_BENCH_WIDE_LATENCY (the same): on a busy machine check the floor first.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b --example b2bua_floor
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/bench.py "$@"

#!/usr/bin/env bash
# Speed of the server, `b2b --role b2bua`: CPU per call beside a bare forwarder, latency
# added from a capture, memory of held calls and cost per call up to 10,000 of them,
# registrations, and the relay (scripts/bench-relay.sh). Prints a table, writes JSON.
# usage: scripts/bench-b2bua.sh [--quick] [--json file] [--rate N] [--calls N] [--runs N] [part...]
# B2B_BINARY, a `b2b` built before, is taken instead of a build; B2B_FLOOR, an examples/b2bua_floor.
# Parts: call latency held registrations relay; all without any. docs/benchmarks.md has what
# came out. Needs two cores, taskset, python3; dumpcap (tshark) with its rights for
# the latency. The server has one core, the load the other. Goals are held to, times
# B2B_BENCH_WIDE (1), for latency B2B_BENCH_WIDE_LATENCY (the same): on a machine that does other work look at the floor first.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-dist}" --bin b2b --example b2bua_floor
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/bench.py "$@"

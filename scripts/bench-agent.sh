#!/usr/bin/env bash
# What programs get of calls, and what that costs: 1,000 calls whose sound goes to voice agents and
# back over WebSockets at 16 kHz, and how long `clear` takes to silence on the wire; commands, 500 a
# second, while 500 calls with RTP both ways are up; events to 1,000 subscribers of which one never
# reads, while calls come and go.
# usage: scripts/bench-agent.sh [quick] [calls] [--per-connection n] [--json file] [case …]
# Cases: streams commands subscribers; calls: of `streams`, and so many of them share a WebSocket (1); quick: a tenth of it for a few seconds,
# as CI does. Needs taskset, python3 and two cores: the server has one, the load the other.
# Held to: late frames and packets (20 ms) at most B2B_BENCH_LATE (0.1) percent; from `clear` to
# silence B2B_BENCH_CLEAR_MS (40), a command's round trip B2B_BENCH_COMMAND_MS (5), and the answer to
# an INVITE at most B2B_BENCH_SETUP_MS (5) more with subscribers than without, each at the 99th
# percentile; nothing lost, every call up until it is hung up, nothing left at the end. The exit code is 3 where
# only time was lost: look at what the machine by itself was late.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-dist}" --bin b2b --example voice_load
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/bench_agent.py "$@"

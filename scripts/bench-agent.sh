#!/usr/bin/env bash
# Latency and cost for external programs: 600 calls whose audio goes to voice agents and back over WebSockets at 16
# kHz, 250 in Twilio's shape, and the time from `clear` to silence on the wire; 200 of the first while other agents fail in
# every state (bench_agent/bad_agents.py), whose callers have to reach the fall-back; commands, 500 a second, during 500
# calls with RTP both ways; events to 1,000 subscribers, one of which never reads, while calls come and go.
# usage: scripts/bench-agent.sh [quick] [calls] [--per-connection n] [--json file] [case …]
# Cases: streams twilio attacked commands subscribers. calls: the number of calls of `streams` and `twilio`;
# per-connection: how many of `streams` share a WebSocket (1). quick: a part of it for a few seconds, as in CI. Needs
# taskset, python3 and two cores, one for the server and one for the load.
# Limits: late frames and packets (20 ms) at most B2B_BENCH_LATE (0.1) percent; from `clear` to silence
# B2B_BENCH_CLEAR_MS (40), a command's round trip B2B_BENCH_COMMAND_MS (5), and the response to an INVITE at most
# B2B_BENCH_SETUP_MS (5) more with subscribers than without, each at the 99th percentile; nothing lost, every call up
# until it is hung up, nothing left at the end. The exit code is 3 if only time limits were exceeded: check how late the
# machine itself was.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b --example voice_load
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/bench_agent.py "$@"

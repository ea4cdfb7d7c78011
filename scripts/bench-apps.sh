#!/usr/bin/env bash
# Cost of the applications over real sockets: CPU per caller and the share of ticks later than 5 ms, with 1,000 callers
# listening to a prompt, 300 in a queue with music, a room of 200, 100 rooms of five, 200 recorded calls, and for
# comparison 200 relayed calls.
# usage: scripts/bench-apps.sh [quick] [--json file] [case …]
# Cases: relay prompt prompt-opus queue room rooms recording …; quick: a tenth, as in CI. The calls come from `b2b --role
# load`; the plans and the server's configuration are in scripts/b2bua/bench_apps. B2B_SERVER, another `b2b` than that of
# the load, compares two servers under one load. Needs taskset, python3 and two cores,
# one for the server and one for the load. Limits: late ticks at most B2B_BENCH_LATE (0.1) percent above the lateness of
# an idle sleeper on the server's core; every call up until it is hung up.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/bench_apps.py "$@"

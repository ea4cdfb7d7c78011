#!/usr/bin/env bash
# The client library's figures: call setup, mouth to ear, many calls at once, on loopback.
# usage: scripts/bench-client.sh [quick] [json file]
# 1,000 sequential calls, 20 s of clicks, 500 parallel calls for 20 s; quick: 100 calls, 5 s. Needs two cores: the peer
# is a separate process.
# Limits: setup p99 at most B2B_BENCH_SETUP_MS (15), mouth to ear p95 at most B2B_BENCH_EAR_MS (90), with devices on
# both sides at most B2B_BENCH_DEVICES_MS (150), CPU per call at most B2B_BENCH_CPU_PCT (0.08) of a core, memory per
# call at most B2B_BENCH_KB (1000), underruns at most B2B_BENCH_UNDERRUNS (0). The exit code is 3 if any limit but
# memory was exceeded: the machine may be the cause.
set -euo pipefail
cd "$(dirname "$0")/.."
options=()
if [ "${1:-}" = quick ]; then options=(--quick); shift; fi
json=${1:-$(mktemp)}
case "$json" in /*) ;; *) json="$PWD/$json" ;; esac
ulimit -Sn "$(ulimit -Hn)"
cargo bench -q --profile "${B2B_PROFILE:-release}" --bench client -- "${options[@]}" --json "$json"
held() { # figure limit [exit code]
    local value
    value=$(sed -n "s/^ *\"$1\": \([0-9.e+-]*\),\{0,1\}$/\1/p" "$json")
    awk -v value="$value" -v most="$2" 'BEGIN { exit !(value + 0 <= most + 0) }' ||
        { echo "NOT HELD: $1 is $value, at most $2"; [ "$failed" = 1 ] || failed=${3:-3}; }
}
failed=0
held setup_ms_p99 "${B2B_BENCH_SETUP_MS:-15}"
held ear_ms_p95 "${B2B_BENCH_EAR_MS:-90}"
held devices_ms_p95 "${B2B_BENCH_DEVICES_MS:-150}"
held cpu_pct_per_call "${B2B_BENCH_CPU_PCT:-0.08}"
held memory_kb_per_call "${B2B_BENCH_KB:-1000}" 1
held underruns "${B2B_BENCH_UNDERRUNS:-0}"
exit $failed

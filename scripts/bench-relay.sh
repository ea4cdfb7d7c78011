#!/usr/bin/env bash
# CPU per relayed RTP packet, delay and loss, compared with a bare forwarder in the same run.
# usage: scripts/bench-relay.sh [quick] [json file]
# 1,000 calls both ways, 5 interleaved runs of 10 s; quick: 200 calls, 3 runs of 3 s. Needs taskset and two cores, one
# for the forwarder and one for the load. Limits: loss at most B2B_BENCH_LOST (0) packets, CPU at most B2B_BENCH_RATIO
# (1.15) times the floor, delay p99 at most B2B_BENCH_P99_US (1000); otherwise the exit code is 3. On a busy machine
# check the floor first.
set -euo pipefail
cd "$(dirname "$0")/.."
options=()
if [ "${1:-}" = quick ]; then options=(--quick); shift; fi
json=${1:-$(mktemp)}
case "$json" in /*) ;; *) json="$PWD/$json" ;; esac
ulimit -Sn "$(ulimit -Hn)"
cargo bench -q --profile "${B2B_PROFILE:-release}" --bench relay -- "${options[@]}" --json "$json"
figure() { sed -n "s/^ *\"$1\": \([0-9.]*\),\{0,1\}$/\1/p" "$json" | tail -1; }
relay() { sed -n '/"relay": {/,/}/p' "$json" | sed -n "s/^ *\"$1\": \([0-9.]*\),\{0,1\}$/\1/p"; }
awk -v ratio="$(figure ratio)" -v most="${B2B_BENCH_RATIO:-1.15}" -v lost="$(relay lost)" \
    -v few="${B2B_BENCH_LOST:-0}" \
    -v p99="$(relay delay_us_p99)" -v longest="${B2B_BENCH_P99_US:-1000}" \
    'BEGIN { exit !(ratio <= most && lost <= few && p99 <= longest) }' ||
    { echo "not held: ratio $(figure ratio), lost $(relay lost), p99 $(relay delay_us_p99) us"; exit 3; }

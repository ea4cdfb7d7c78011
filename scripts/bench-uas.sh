#!/usr/bin/env bash
# CPU per call of examples/uas under SIPp (INVITE, 180, 200, ACK, BYE, 200).
# usage: scripts/bench-uas.sh [calls-per-second=500] [calls=10000] [runs=3] [udp|tcp]
# The server has one core, SIPp the other. Needs sipp and taskset. The limit
# that the run is held to: 0.08 ms a call at 500 calls/s (B2B_BENCH_LIMIT_MS).
set -euo pipefail
cd "$(dirname "$0")/.."
rate=${1:-500} calls=${2:-10000} runs=${3:-3} transport=${4:-udp}
limit=${B2B_BENCH_LIMIT_MS:-0.08}
mode=u1; [ "$transport" = tcp ] && mode=t1
last=$(( $(nproc) - 1 ))

cargo build -q --release --example uas
out=$(mktemp -d)
uas=
cleanup() { [ -z "$uas" ] || kill "$uas" 2>/dev/null || true; rm -rf "$out"; }
trap cleanup EXIT

taskset -c 0 target/release/examples/uas 127.0.0.1:0 >"$out/uas.log" 2>&1 &
uas=$!
addr=
for _ in $(seq 100); do
    addr=$(sed -n 's/^listening on //p' "$out/uas.log")
    [ -n "$addr" ] && break
    sleep 0.05
done
[ -n "$addr" ] || { cat "$out/uas.log"; echo "the UAS did not start"; exit 1; }

ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$uas/stat"; }
rss_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$uas/status"; }
hz=$(getconf CLK_TCK)
load() { # calls
    (cd "$out" && taskset -c "$last" sipp -sn uac "$addr" -i 127.0.0.1 -t "$mode" -r "$rate" -m "$1" -d 0 \
        -l 100000 -nostdin -timeout 120 >sipp.log 2>&1) || { tail -5 "$out/sipp.log"; echo "a call failed"; exit 1; }
}

load "$rate" # warm up
for run in $(seq "$runs"); do
    before=$(ticks) t0=$(date +%s%N)
    load "$calls"
    t1=$(date +%s%N)
    after=$(ticks)
    awk -v t="$(( after - before ))" -v hz="$hz" -v n="$calls" -v ns="$(( t1 - t0 ))" -v run="$run" -v rss="$(rss_kb)" \
        'BEGIN { printf "run %d: %.4f ms CPU a call, %.0f calls/s achieved, rss %d kB\n", run, t * 1000 / hz / n, n / (ns / 1e9), rss }' |
        tee -a "$out/results"
done
median=$(awk '{ print $3 }' "$out/results" | sort -n | sed -n "$(( (runs + 1) / 2 ))p")
echo "median $median ms a call at $rate calls/s over $transport, $calls calls a run, none failed; limit $limit ms"
awk -v m="$median" -v l="$limit" 'BEGIN { exit !(m <= l) }'

#!/usr/bin/env bash
# CPU per call of examples/uas under SIPp (INVITE, 200, ACK, BYE, 200), and of a
# bare socket loop (examples/uas_floor) beside it, in interleaved runs.
# usage: scripts/bench-uas.sh [calls-per-second=500] [calls=10000] [runs=3] [udp|tcp]
# One core for the server, one for SIPp. Needs sipp and taskset. Limit for the median: 0.08 ms a call at 500 calls/s
# (B2B_BENCH_LIMIT_MS); above it the exit code is 3. On a busy machine both figures grow: check the floor first.
set -euo pipefail
cd "$(dirname "$0")/.."
rate=${1:-500} calls=${2:-10000} runs=${3:-3} transport=${4:-udp}
limit=${B2B_BENCH_LIMIT_MS:-0.08}
mode=u1; [ "$transport" = tcp ] && mode=t1
last=$(( $(nproc) - 1 ))
hz=$(getconf CLK_TCK)

cargo build -q --profile "${B2B_PROFILE:-release}" --example uas --example uas_floor
out=$(mktemp -d)
pids=()
cleanup() { [ "${#pids[@]}" = 0 ] || kill "${pids[@]}" 2>/dev/null || true; rm -rf "$out"; }
trap cleanup EXIT

start() { # name: sets pid and addr
    : >"$out/$1.log" # looked at before the program may have opened it
    taskset -c 0 "target/${B2B_PROFILE:-release}/examples/$1" 127.0.0.1:0 >"$out/$1.log" 2>&1 &
    pid=$!
    pids+=("$pid")
    addr=
    for _ in $(seq 100); do
        addr=$(sed -n 's/^listening on //p' "$out/$1.log")
        [ -n "$addr" ] && return
        sleep 0.05
    done
    cat "$out/$1.log"
    echo "$1 did not start"
    exit 1
}
ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
load() { # addr calls
    (cd "$out" && taskset -c "$last" sipp -sn uac "$1" -i 127.0.0.1 -t "$mode" -r "$rate" -m "$2" -d 0 \
        -l 100000 -nostdin -timeout 120 >sipp.log 2>&1) || { tail -5 "$out/sipp.log"; echo "a call failed"; exit 1; }
}
measure() { # name pid addr
    local before after t0 t1
    before=$(ticks "$2") t0=$(date +%s%N)
    load "$3" "$calls"
    t1=$(date +%s%N) after=$(ticks "$2")
    awk -v t="$(( after - before ))" -v hz="$hz" -v n="$calls" -v ns="$(( t1 - t0 ))" -v name="$1" \
        -v rss="$(awk '/^VmRSS/ { print $2 }' "/proc/$2/status")" \
        'BEGIN { printf "%s %.4f ms CPU a call, %.0f calls/s achieved, rss %d kB\n", name, t * 1000 / hz / n, n / (ns / 1e9), rss }' |
        tee -a "$out/results"
}
median() { awk -v name="$1" '$1 == name { print $2 }' "$out/results" | sort -n | sed -n "$(( (runs + 1) / 2 ))p"; }

start uas; uas=$pid uas_addr=$addr
load "$uas_addr" "$rate" # warm up
if [ "$transport" = udp ]; then
    start uas_floor; floor=$pid floor_addr=$addr
    load "$floor_addr" "$rate"
fi
for _ in $(seq "$runs"); do
    [ "$transport" = udp ] && measure floor "$floor" "$floor_addr"
    measure uas "$uas" "$uas_addr"
done
[ "$transport" = udp ] && echo "floor median $(median floor) ms a call"
echo "uas median $(median uas) ms a call at $rate calls/s over $transport, $calls calls a run, none failed; limit $limit ms"
awk -v m="$(median uas)" -v l="$limit" 'BEGIN { exit m <= l ? 0 : 3 }'

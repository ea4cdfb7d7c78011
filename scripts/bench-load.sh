#!/usr/bin/env bash
# Capacity of b2b --role load on two cores, and of SIPp, in one run.
# usage: scripts/bench-load.sh [quick] [signalling] [server] [direct]
#   signalling  calls without sound, each hung up at once, against examples/uas_floor: generator on core 0, floor
#               on core 1. The rate goes up until the generator loses a call or is late; SIPp by turns with it.
#   server      300 calls whose sound is judged through b2b --role b2bua: callers on core 0, callees on core 1, the
#               server on both
#   direct      1,000 such calls between two load roles
# Default: all three, about 6 minutes; quick: one. Needs sipp, taskset and jq, and two cores. Limits: B2B_BENCH_CPS
# (4000) calls/s, no failed call, own lateness at most an idle sleeper's + 0.1 % (the verdict of the role). Exit code 1
# if a call failed, 3 if the rate was not reached or a verdict is void: the machine may be the cause.
set -euo pipefail
cd "$(dirname "$0")/.."
quick=; [ "${1:-}" != quick ] || { quick=1; shift; }
parts=("$@"); [ $# -gt 0 ] || parts=(signalling server direct)
goal=${B2B_BENCH_CPS:-4000}
built=target/${B2B_PROFILE:-release}
cargo build -q --profile "${B2B_PROFILE:-release}" -p b2b --bin b2b --example uas_floor
ulimit -Sn "$(ulimit -Hn)"
# separate addresses, so that no other process uses their ports
at=127.79.$(($$ / 250 % 250 + 1)).$(($$ % 250 + 1)) media=127.80.${at#127.79.}
out=$(mktemp -d)
pids=()
cleanup() { [ "${#pids[@]}" = 0 ] || kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$out"; }
trap cleanup EXIT
code=0
lost() { echo "NOT HELD: $1"; code=1; }
slow() { echo "NOT HELD: $1"; [ "$code" = 1 ] || code=3; }

start() { # name, line that says that it is ready, cores, command: sets pid
    local name=$1 ready=$2 cores=$3
    shift 3
    : >"$out/$name.log"
    taskset -c "$cores" "$@" >"$out/$name.log" 2>&1 &
    pid=$!
    pids+=("$pid")
    for _ in $(seq 200); do
        ! grep -q "$ready" "$out/$name.log" || return 0
        sleep 0.05
    done
    cat "$out/$name.log"
    echo "$name did not start"
    exit 1
}
stop() { # pid: by SIGINT, as from its terminal
    kill -INT "$1" && wait "$1" || true
}
# Nanoseconds on a core of all threads of a process.
spent() { cat /proc/"$1"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
# Runs a command to its end; sets cpu (s, user and system), took (s) and status.
timed() { # log, command
    local log=$1 t0 t1
    shift
    t0=$(date +%s%N) status=0
    TIMEFORMAT='%U %S'
    { time "$@" >"$log" 2>&1; } 2>"$out/time" || status=$?
    t1=$(date +%s%N)
    cpu=$(awk '{ print $1 + $2 }' "$out/time") took=$(((t1 - t0) / 1000000))
}
figure() { jq -r "$2" "$out/$1/load.json"; }
calc() { awk "BEGIN { printf \"$1\", $2 }"; }
late() { figure "$1" '"late \(.generator_late_pct * 1000 | round / 1000) %, sleeper \(.sleeper_late_pct * 1000 | round / 1000) %"'; }

# -- signalling

floor_of() { # calls: ms a call that the floor took since `before`
    calc %.4f "($(spent "$floor") - $before) / 1e6 / $1"
}
by_b2b() { # rate, seconds
    local before calls=$(($1 * $2))
    rm -rf "$out/signalling"
    before=$(spent "$floor")
    timed "$out/b2b.log" taskset -c 0 "$built/b2b" --role load --sip-bind "$at:5061" --target "sip:1000@$at:5060" \
        --signalling-only --caller 'dial 1000; hang up' --rate "$1" --calls "$calls" --report "$out/signalling"
    local done failed began verdict
    done=$(figure signalling .callers.done) failed=$((calls - done))
    verdict=$(figure signalling .verdict.result)
    printf 'b2b   %6d calls/s asked, %6.0f made, %d failed, %s (%s), %.4f ms CPU a call, floor %s, set-up p99 %.1f ms\n' \
        "$1" "$(figure signalling '.callers.begun / .took_s')" "$failed" "$verdict" "$(late signalling)" \
        "$(calc %.5f "$cpu * 1e3 / $calls")" "$(floor_of "$calls")" "$(figure signalling .setup.p99_ms)"
    [ "$verdict" = passed ]
}
by_sipp() { # rate, seconds
    local before calls=$(($1 * $2))
    before=$(spent "$floor")
    (cd "$out" && timed "$out/sipp.log" taskset -c 0 sipp -sn uac "$at:5060" -i "$at" -p 5062 -r "$1" -m "$calls" \
        -d 0 -l 100000 -nostdin -timeout $(($2 * 3 + 40)) && echo "$cpu $took $status" >"$out/sipp.time")
    read -r cpu took status <"$out/sipp.time"
    local failed made
    failed=$(sed -n 's/.*Failed call *| *[0-9]* *| *\([0-9]*\).*/\1/p' "$out/sipp.log" | tail -1)
    made=$(calc %.0f "$calls / ($took / 1e3)")
    printf 'sipp  %6d calls/s asked, %6.0f made, %s failed, exit code %d, %.4f ms CPU a call, floor %s\n' "$1" "$made" \
        "${failed:-?}" "$status" "$(calc %.5f "$cpu * 1e3 / $calls")" "$(floor_of "$calls")"
    [ "$status" = 0 ] && [ "$made" -ge $(($1 * 9 / 10)) ]
}
signalling() {
    local rates=(1000 2000 4000 5000 6000 7000 8000 10000 12000) length=20 best=0 sipp_best=0 rate b2b=1 sipp=1 tries
    [ -z "$quick" ] || rates=(2000 "$goal") length=5
    start floor 'listening on' 1 "$built/examples/uas_floor" "$at:5060"; floor=$pid
    for rate in "${rates[@]}"; do
        # a second attempt: one stall of a shared machine is not a limit of the generator
        for tries in 1 2; do
            [ -n "$b2b" ] || break
            by_b2b "$rate" $length && { best=$rate; break; }
            [ $tries = 1 ] || b2b=
        done
        for tries in 1 2; do
            [ -n "$sipp" ] || break
            by_sipp "$rate" $length && { sipp_best=$rate; break; }
            [ $tries = 1 ] || sipp=
        done
    done
    kill "$floor"
    echo "signalling: b2b $best calls/s, SIPp $sipp_best calls/s"
    [ "$best" -ge "$goal" ] || slow "$best calls/s, at least $goal"
}

# -- judged calls

callees() { # port
    rm -rf "$out/callees"
    start callees READY 1 "$built/b2b" --role load --sip-bind "$at:$1" --callee 'answer; say mark; hung up' \
        --report "$out/callees"
    callees=$pid
}
judged() { # name, calls, a second, target
    local name=$1 calls=$2 rate=$3 hold=15 before side cost
    [ -z "$quick" ] || hold=5
    rm -rf "$out/callers"
    before=$(spent "$callees")
    # all of them are up simultaneously for this time
    timed "$out/callers.log" taskset -c 0 "$built/b2b" --role load --sip-bind "$at:5071" --target "$4" --rate "$rate" \
        --calls "$calls" --hold-s $((calls / rate + hold)) --report "$out/callers"
    cost=$(calc %.0f "$(spent "$callees") - $before")
    stop "$callees"
    for side in callers callees; do
        local part=".$side"
        printf '%s: %s %s\n' "$name" "$side" "$(figure $side "\"\(.at_once) at once, \($part.ears.judged) judged, \($part.failed) failed, \
RTP \($part.packets.sent) sent, \($part.packets.lost) lost, mouth to ear p50 \($part.ears.mouth_to_ear.p50_ms) ms, p95 \($part.ears.mouth_to_ear.p95_ms), \
longest gap \($part.ears.longest_gaps.max_ms) ms, MOS \($part.mos.p1), \(.verdict.result)\"") ($(late $side))"
        case "$(figure $side .verdict.result)" in
            failed) lost "$name, $side: $(figure $side '.verdict.why | join("; ")')" ;;
            void) slow "$name, $side: void" ;;
        esac
        [ "$(figure $side "$part.ears.judged")" = "$calls" ] || lost "$name, $side: not all $calls were judged"
    done
    # RTP packets in both directions are the main cost
    local packets=$(($(figure callers '.callers.packets.sent + .callers.packets.received')))
    printf '%s: callers %.1f s CPU in %.1f s, %.2f us a packet; callees %.1f s\n' "$name" "$cpu" \
        "$(calc %.1f "$took / 1e3")" "$(calc %.2f "$cpu * 1e6 / $packets")" "$(calc %.1f "$cost / 1e9")"
}
server() {
    cat >"$out/server.toml" <<END
[server]
listen = ["udp:$at:5080"]
trusted = ["127.0.0.0/8"]
domains = ["b2b.example"]
store = "memory"
[http]
listen = "off"
[media]
bind = "$media"
ports = "20000-39999"
[limits]
source_messages_per_s = 1000000
calls_per_s = 100000
[[route]]
called = "1000"
to = "sip:1000@$at:5072"
END
    callees 5072
    start server READY 0,1 "$built/b2b" --role b2bua --config "$out/server.toml"; local server=$pid before
    before=$(spent "$server")
    judged server 300 50 "sip:1000@$at:5080"
    printf 'server: b2bua %.1f s CPU\n' "$(calc %.1f "($(spent "$server") - $before) / 1e9")"
    kill "$server"
}
direct() {
    callees 5072
    judged direct 1000 100 "sip:1000@$at:5072"
}

echo "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1), $(nproc) cores, load $(cut -d' ' -f1 /proc/loadavg), $(git rev-parse --short HEAD)"
for part in "${parts[@]}"; do "$part"; done
exit $code

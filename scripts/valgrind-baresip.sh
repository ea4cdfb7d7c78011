#!/usr/bin/env bash
# A whole call from start to stop under valgrind: source -> mixer -> sink, each on the engine baresip. Fails if memcheck
# finds an error, lost memory or an open descriptor in any part of the program. scripts/valgrind-baresip.supp lists what
# the C libraries do and why it is accepted.
# "Lost" is memory without a pointer to it (definite, indirect). Interior pointers are not lost: both libre and Rust
# keep pointers behind a header (mem_alloc, Arc, hash tables), and statics live on at exit.
# usage: scripts/valgrind-baresip.sh [program=target/debug/b2b] [seconds=3] [engine=baresip]
# Needs valgrind, and a build with --features baresip; a debug build gives line numbers.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-target/debug/b2b} seconds=${2:-3} engine=${3:-baresip}
[ -x "$program" ] || { echo "no $program; build it first: cargo build --features baresip"; exit 1; }
command -v valgrind >/dev/null || { echo "valgrind is not installed"; exit 1; }
out=$(mktemp -d)
declare -A pids=()
cleanup() {
    local role
    for role in "${!pids[@]}"; do kill "${pids[$role]}" 2>/dev/null || true; done
    rm -rf "$out"
}
trap cleanup EXIT

start() { # role arguments...
    local role=$1
    shift
    : >"$out/$role.out"
    timeout 120 valgrind --quiet --leak-check=full --show-leak-kinds=definite,indirect \
        --errors-for-leak-kinds=definite,indirect --error-exitcode=99 --track-fds=yes \
        --num-callers=40 --suppressions=scripts/valgrind-baresip.supp --log-file="$out/$role.valgrind" \
        "$program" --role "$role" --engine "$engine" "$@" >"$out/$role.out" 2>"$out/$role.err" &
    pids[$role]=$!
}

ready() { # role: sets address
    local role=$1 tries
    address=
    for tries in $(seq 600); do
        address=$(sed -n 's/^READY .* sip=\([^ ]*\) .*/\1/p' "$out/$role.out")
        [ -n "$address" ] && return
        kill -0 "${pids[$role]}" 2>/dev/null || break
        sleep 0.1
    done
    echo "the $role is not ready"
    cat "$out/$role.err" "$out/$role.valgrind"
    exit 1
}

# A WAV file with the given seconds of noise: 8 kHz, mono, 16 bits.
noise() {
    local data=$((seconds * 16000))
    word() { printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)); }
    printf 'RIFF%bWAVEfmt %b%b%b%b%bdata%b' "$(word $((data + 36)))" "$(word 16)" "$(word $((1 + (1 << 16))))" \
        "$(word 8000)" "$(word 16000)" "$(word $((2 + (16 << 16))))" "$(word $data)"
    head -c $data /dev/urandom
}

start sink --output null --wav "$out/heard.wav"
ready sink
start mixer --target "sip:sink@$address" --dtmf-seq 12
ready mixer
noise >"$out/noise.wav"
start source --target "sip:mixer@$address" --audio-file "$out/noise.wav"

failed=0
for role in source mixer sink; do
    code=0
    wait "${pids[$role]}" || code=$?
    unset "pids[$role]"
    # the others wait for a call that does not come
    [ $code -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    # Not counted: descriptors inherited from valgrind's caller, and the two ends of the queue of baresip-rs (see the
    # suppressions).
    descriptors=$(awk '/^==[0-9]+== Open /{ open++ } /inherited from parent|mqueue_alloc/ && open > known { known = open; fine++ }
        /lost in loss record/ { exit } END { print open - fine }' "$out/$role.valgrind")
    packets=$(sed -n 's/.*"packets_tx":\([0-9]*\),"packets_rx":\([0-9]*\).*/\1 sent, \2 received/p' "$out/$role.out" | tail -n 1)
    if [ $code -eq 0 ] && [ "$descriptors" -eq 0 ]; then
        echo "$role: nothing to report; ${packets:-no figures}"
    else
        failed=1
        echo "$role: exit code $code, $descriptors descriptors open"
        cat "$out/$role.err" "$out/$role.valgrind"
    fi
done
exit $failed

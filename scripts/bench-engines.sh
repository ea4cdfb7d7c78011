#!/usr/bin/env bash
# Latency, CPU and memory of the engines compared, as rows of a Markdown table.
# usage: scripts/bench-engines.sh [program=target/release/b2b] [seconds=30] [engines="native baresip"]
# Needs tshark with permission to capture on loopback, and these builds:
#   cargo build --release --features baresip && cargo build --release --example stopwatch
# Latency is measured from outside, so in the same way for every engine: the source plays one click a second. On the
# wire, tshark sees the time at which the packet with the click's first sample is sent; less the packet time, that is
# when the sample was spoken. At the sink, examples/stopwatch takes the place of the player and records when it gets the
# sample. Both use the same clock. The native engine also reports its own measurement as a cross-check. CPU and memory:
# scripts/bench-roles.sh, over the whole of plans/smk.plan.toml.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-target/release/b2b} seconds=${2:-30} engines=${3:-native baresip}
stopwatch=$(realpath -m "$(dirname "$program")/examples/stopwatch")
for file in "$program" "$stopwatch"; do
    [ -x "$file" ] || { echo "no $file; build it first, see the head of this script"; exit 1; }
done
out=$(mktemp -d)
tshark_pid=
cleanup() { [ -z "$tshark_pid" ] || kill "$tshark_pid" 2>/dev/null || true; rm -rf "$out"; }
trap cleanup EXIT

# A WAV file, 8 kHz, mono, 16 bits: each second ends with 20 ms of a square wave.
clicks() {
    local data=$((seconds * 16000)) n
    word() { printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)); }
    printf 'RIFF%bWAVEfmt %b%b%b%b%bdata%b' "$(word $((data + 36)))" "$(word 16)" "$(word $((1 + (1 << 16))))" \
        "$(word 8000)" "$(word 16000)" "$(word $((2 + (16 << 16))))" "$(word $data)"
    head -c 15680 /dev/zero >"$out/second"
    for n in $(seq 20); do
        printf '\x30\x75\x30\x75\x30\x75\x30\x75\xd0\x8a\xd0\x8a\xd0\x8a\xd0\x8a' >>"$out/second"
    done
    for n in $(seq "$seconds"); do cat "$out/second"; done
}
clicks >"$out/clicks.wav"

# latency <engine> <name> <mixer lines>: one row
latency() {
    local engine=$1 name=$2 target=sink mixer=$3 port
    [ -z "$mixer" ] || target=mixer
    printf '[topology]\nsource.sip_target = "sip:%s@127.0.0.1:0"\nsource.audio_file = "%s"\n%b' \
        "$target" "$out/clicks.wav" "$mixer" >"$out/plan.toml"
    printf 'sink.sip_bind = "127.0.0.1:0"\nsink.output = "aplay"\nsink.aplay_cmd = "%s %s"\n' \
        "$stopwatch" "$out/heard" >>"$out/plan.toml"
    rm -f "$out/wire.pcapng" "$out/heard"
    : >"$out/tshark.log"
    tshark -q -i lo -f udp -w "$out/wire.pcapng" 2>"$out/tshark.log" &
    tshark_pid=$!
    until grep -q 'Capturing on' "$out/tshark.log"; do
        kill -0 $tshark_pid 2>/dev/null || { cat "$out/tshark.log"; exit 1; }
        sleep 0.1
    done
    sleep 1
    "$program" --role orchestrator --plan "$out/plan.toml" --engine "$engine" >"$out/run.log" 2>&1 ||
        { cat "$out/run.log"; exit 1; }
    sleep 1
    kill -INT $tshark_pid
    wait $tshark_pid || true
    tshark_pid=
    port=$(sed -n 's/^\[SRC \].*RTP with [^ ]*:\([0-9]*\)$/\1/p' "$out/run.log" | head -n 1)
    tshark -r "$out/wire.pcapng" -Y "udp.dstport == $port" -T fields -e frame.time_epoch -e udp.payload |
        # G.711 at full level begins with 8 or 0; silence is ff
        # and only PCMU counts (RTCP may come to the same port)
        awk 'substr($2, 3, 2) ~ /^[08]0$/ {
            payload = substr($2, length($2) - 319)
            for (at = 0; at < 160; at++)
                if (index("08", substr(payload, 2 * at + 1, 1))) {
                    if ($1 - last > 0.5) printf "%.6f\n", $1 - 0.020 + at / 8000
                    last = $1
                    break
                }
        }' >"$out/spoken"
    awk -v name="$name" -v engine="$engine" -v own="$(sed -n 's/^latency .*p50 \([0-9.]* ms\).*/\1/p' "$out/run.log")" '
        FNR == NR { heard[++count] = $1; next }
        {
            for (n = 1; n <= count && heard[n] < $1; n++);
            if (n <= count && heard[n] - $1 < 1) sorted[++found] = 1000 * (heard[n] - $1)
        }
        END {
            for (i = 2; i <= found; i++) {
                value = sorted[i]
                for (j = i - 1; j > 0 && sorted[j] > value; j--) sorted[j + 1] = sorted[j]
                sorted[j + 1] = value
            }
            printf "| %s | %s | %.0f ms | %.0f ms | %s | %d of %d |\n", name, engine, sorted[int(found / 2 + 0.5)], \
                sorted[int(found * 0.95 + 0.5)], own == "" ? "-" : own, found, FNR
        }' "$out/heard" "$out/spoken"
}

mixer='mixer.sip_bind = "127.0.0.1:0"\nmixer.sip_target = "sip:sink@127.0.0.1:0"\nmixer.mix_gain_in = 1\n'
echo "| latency, mouth to ear | engine | p50 | p95 | own time stamps, p50 | clicks found |"
echo "|---|---|---|---|---|---|"
for engine in $engines; do latency "$engine" "source, sink" ""; done
for engine in $engines; do latency "$engine" "source, mixer, sink" "$mixer"; done
echo
echo "| role | engine | CPU | largest memory |"
echo "|---|---|---|---|"
for engine in $engines; do
    scripts/bench-roles.sh plans/smk.plan.toml "$program" "$engine" >"$out/roles" || { cat "$out/roles"; exit 1; }
    awk -v engine="$engine" '$2 == "ALL" { printf "| %s | %s | %s %% | %s MB |\n", $1, engine, $3, $(NF - 1) }' "$out/roles"
    grep '^load' "$out/roles" >&2
done

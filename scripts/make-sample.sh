#!/usr/bin/env bash
# Makes assets/sample.mp3: speech in several voices and test tones, 44.1 kHz
# stereo, about -20 dBFS RMS. Needs espeak-ng, sox and lame.
#
# usage: scripts/make-sample.sh [output.mp3]
#
# All tones are below 3.4 kHz and outside 650 to 1700 Hz, the band of DTMF, so the mixer's digits stay detectable. No
# pause is longer than 0.5 s: a second of silence in a recording is then a fault of the chain, not of the sample.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$here/assets/sample.mp3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=0
parts=()

# part <pan 0..1>: takes mono $work/raw.wav, cuts the silence at both ends and
# long ones inside, levels it, pans it gently, appends 0.4 s of pause.
part() {
    local left right file
    left=$(awk -v p="$1" 'BEGIN { print 1.15 - 0.3 * p }')
    right=$(awk -v p="$1" 'BEGIN { print 0.85 + 0.3 * p }')
    file=$(printf '%s/part%02d.wav' "$work" "$count")
    sox "$work/raw.wav" -r 44100 "$work/cut.wav" silence -l 1 0.01 0.5% -1 0.35 0.5% reverse silence 1 0.01 0.5% reverse
    # Speech peaks about 15 dB over its RMS: compress lightly, so that all parts
    # sound equally loud.
    sox "$work/cut.wav" "$work/level.wav" gain -n -3 compand 0.005,0.1 -60,-60,-30,-18,0,-6 -3 -90 0.1 gain -n -7
    sox -M -v "$left" "$work/level.wav" -v "$right" "$work/level.wav" "$file" pad 0 0.4
    parts+=("$file")
    count=$((count + 1))
}

# say <voice> <pan> <text>
say() {
    espeak-ng -v "$1" -s 155 -w "$work/raw.wav" "$3"
    part "$2"
}

# tone <seconds> <sox synth arguments...>: at the level of the voices.
tone() {
    local file
    file=$(printf '%s/part%02d.wav' "$work" "$count")
    sox -n -r 44100 -c 2 "$file" synth "$@" gain -n -16 fade t 0.02 "$1" 0.02 pad 0 0.3
    parts+=("$file")
    count=$((count + 1))
}

say en-gb+f3 0.5 "Welcome to the telephone audio laboratory. You are listening to a test recording. It travels in fifty small packets every second."
tone 1.0 sine 440
say en-gb+m3 0.2 "If every word reaches you, whole and in its order, then no packet was lost on the way. If you hear a click, a stutter, or a hole, then something went wrong."
tone 2.0 sine 1800:3300
say en-us+f2 0.8 "Five quick foxes watched the lazy river bend around the mill. She sells fresh bread at the corner shop every Thursday."
tone 0.5 sine 330
tone 0.5 sine 392
tone 0.5 sine 494
say en-gb-scotland+m7 0.3 "Now listen to the numbers. One. Two. Three. Four. Five. Six. Seven. Eight. Nine. Ten."
tone 2.0 sine 600-200
say en-gb-x-rp+f4 0.6 "A jitter buffer waits for a moment, so that late packets may still arrive in time. Wait too short, and the voice breaks."
tone 1.0 sine 2000
say en-us+m1 0.4 "The quiet harbour lay under a pale morning sky. Two fishing boats left with the tide, and a dog barked twice from the end of the pier."
tone 0.4 sine 587
tone 0.4 sine 440
say en-gb+f3 0.5 "This was the whole recording. If you have followed it up to here without a gap, the laboratory works. Thank you for listening, and goodbye."

sox "${parts[@]}" "$work/joined.wav"
# Normalise the whole to -20 dBFS RMS.
rms=$(sox "$work/joined.wav" -n remix - stats 2>&1 | awk '/^RMS lev dB/ { print $4 }')
gain=$(awk -v rms="$rms" 'BEGIN { print -20 - rms }')
sox "$work/joined.wav" "$work/sample.wav" gain "$gain"
lame --quiet -m j -b 112 --cbr --noreplaygain --tt "b2b test sample" "$work/sample.wav" "$out"

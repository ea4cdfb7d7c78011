#!/usr/bin/env bash
# Soak test: 50 calls/s for the given minutes, nearly all with RTP both ways and each judged by its audio, about 250 at
# once. Fails unless memory is flat, nothing is held afterwards, and the records of every call agree with the load. The
# load's series of memory measurements goes into the JSON.
# usage: scripts/soak-b2bua.sh [MINUTES=30] [--rate 50] [--json file]
# Needs taskset, python3.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/soak.py soak "$@"

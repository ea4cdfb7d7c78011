#!/usr/bin/env bash
# Soak: 50 calls/s, nearly all with RTP both ways, each judged by its sound, about 250 at once, for so many
# minutes.
# Fails unless memory is flat, nothing is held afterwards, and the records say of every
# call what the load says. The series of memory, as the load has watched it, goes into the JSON.
# usage: scripts/soak-b2bua.sh [MINUTES=30] [--rate 50] [--json file]
# Needs taskset, python3.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-dist}" --bin b2b
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/soak.py soak "$@"

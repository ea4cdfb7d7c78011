#!/usr/bin/env bash
# Leak test: mixed calls (answered, cancelled, refused, timed out, vanishing peers) in four storms against the real
# server. Fails unless after each nothing is held, memory at rest has not grown since the first, and the records of
# every call agree with the load.
# usage: scripts/storm-b2bua.sh [--calls 10000] [--storms 4] [--rate 150] [--json file]
# Needs taskset, python3. After each storm up to 70 s pass until the last BYE to a vanished peer is given up (RFC 3261,
# Timer F).
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/soak.py storm "$@"

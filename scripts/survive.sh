#!/usr/bin/env bash
# Calls of all kinds go through a server with a keeper, which dies in many ways; no answered call may be lost.
# usage: scripts/survive.sh [--calls N] [--deaths N] [--seed N] [--short] [--json file]
# Needs taskset, python3.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/survive.py "$@"

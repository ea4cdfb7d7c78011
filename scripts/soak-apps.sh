#!/usr/bin/env bash
# Soak test of the applications: callers of menus, queues, rooms, parking slots and recorded calls, who press keys and
# hang up at random; agents who refuse, do not answer, come and go, and one who is killed repeatedly. Fails unless
# nothing is held afterwards, memory is flat, every call follows its steps, and records and loads agree. Callers and
# callees are `b2b --role load`; the plans and the server's configuration are in scripts/b2bua/soak_apps.
# usage: scripts/soak-apps.sh [MINUTES=30] [--rate 3] [--json file]
# Needs taskset, python3.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/soak_apps.py "$@"

#!/usr/bin/env bash
# Soak of the applications: callers of menus, queues, rooms, parking slots and recorded calls,
# who press something and hang up when chance says so; agents who refuse, do not answer, come
# and go, and one who is killed again and again. Fails unless nothing is held afterwards, memory
# is flat, every call goes by its steps, and records and loads tell the same. Who calls and who is called does so by
# `b2b --role load`; the plans and the server's configuration are in scripts/b2bua/soak_apps.
# usage: scripts/soak-apps.sh [MINUTES=30] [--rate 3] [--json file]
# Needs taskset, python3.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-dist}" --bin b2b
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/soak_apps.py "$@"

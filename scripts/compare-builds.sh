#!/usr/bin/env bash
# What builds of b2b cost beside each other: CPU time of a call, or with `--held` memory of one that is up. Runs of
# all of them take turns, each with a server of its own, so that what a machine does meanwhile falls on all; the table
# has medians, spreads, and the ratio to the first within each turn.
# usage: scripts/compare-builds.sh [--rate N] [--calls N] [--runs N] [--held N] [--json file] NAME=BINARY[,HOW]...
# HOW: `off` keeps no journals (log.call_journals); `forgets` keeps no ended calls, `stores` keeps them in a file.
# B2B_BINARY makes the calls (target/dist/b2b); B2B_FLOOR, an examples/b2bua_floor, is measured in each turn where it
# is there. Needs two cores, taskset, python3.
set -euo pipefail
cd "$(dirname "$0")/.."
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/builds.py "$@"

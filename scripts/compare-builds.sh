#!/usr/bin/env bash
# Compares builds of b2b: CPU time of a call; with `--held` memory of an active one, with `--latency` what is added to a
# 200 in the 99th percentile. Runs of all builds alternate, each with its own server, so that disturbances of the machine
# affect all; the table has medians, spreads, and the ratio to the first within each turn.
# usage: scripts/compare-builds.sh [--rate N] [--calls N] [--runs N] [--held N] [--latency] [--json file] NAME=BINARY[,HOW]...
# HOW: `off` keeps no journals (log.call_journals); `forgets` keeps no ended calls, `stores` keeps them in a file;
# `survives` writes calls for the next process.
# B2B_BINARY makes the calls (target/release/b2b); B2B_FLOOR, an examples/b2bua_floor, is measured in each turn if it
# exists. Needs two cores, taskset, python3.
set -euo pipefail
cd "$(dirname "$0")/.."
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/builds.py "$@"

#!/usr/bin/env bash
# Simulated media by seed, in virtual time: relay machines and jitter buffers under networks that lose, delay,
# reorder and repeat, with clocks that differ; what is sent, heard and reported is checked against what came.
# What fails is printed with its seed: exit code 1.
#
# usage: scripts/simulate-media.sh [--seed N] [--hours N] [--jobs N] [--only] [--trace]
#        scripts/simulate-media.sh            10,000 hours of endpoints
#        scripts/simulate-media.sh --help     all options
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- --hours 10000
exec cargo test --quiet --release -p b2b-media --test simulate-media -- "$@"

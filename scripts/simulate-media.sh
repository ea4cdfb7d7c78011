#!/usr/bin/env bash
# Simulated media from a seed, in virtual time: relay machines and jitter buffers on networks that lose, delay, reorder
# and duplicate, with differing clocks; what is sent, played and reported is checked against what arrived. Failures are
# printed with their seed: exit code 1.
#
# usage: scripts/simulate-media.sh [--seed N] [--hours N] [--jobs N] [--only] [--trace]
#        scripts/simulate-media.sh            10,000 hours of endpoints
#        scripts/simulate-media.sh --help     all options
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- --hours 10000
exec cargo test --quiet --profile "${B2B_PROFILE:-release}" --test simulate-media -- "$@"

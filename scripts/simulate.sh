#!/usr/bin/env bash
# Simulated calls from a seed, in virtual time: parties, every application, transfers, faults and a bad network; the
# invariants are checked after each world (designs/0023-call-value.md). A failure is printed with its seed, the fewest
# calls that still fail, and the command that repeats them: exit code 1.
#
# usage: scripts/simulate.sh [--seed N] [--calls N] [--minutes N] [--jobs N] [--mix NAME] [--replay] [--deaths] ...
#        scripts/simulate.sh             a million calls
#        scripts/simulate.sh --minutes 1 --seed 7
#        scripts/simulate.sh --calls 100000 --deaths     servers die, and their calls go on
#        scripts/simulate.sh --help      all options
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- --calls 1000000
exec cargo test --quiet --profile "${B2B_PROFILE:-release}" --test simulate -- "$@"

#!/usr/bin/env bash
# Faults planted in a system under test, and what `b2b --role load` finds of them: a bridge and an echo of ours
# (tests/lab/load_faults) through which two loads call each other, with crossed, one-way, late, lost and old sound and
# lost ACKs in calls that a seed chooses; and the same calls with nothing wrong. Call by call, planted and found are to
# be the same. A run on a machine that was late itself is void, and tried again, three times at most.
# usage: scripts/load-faults.sh [seeds=10] [calls=1000] [calls-per-second=20] [first-seed=1]
# Two cores: about three minutes a seed, half of one core (B2B_PROFILE=release: less).
set -euo pipefail
cd "$(dirname "$0")/.."
export LOAD_FAULTS_SEEDS=${1:-10} LOAD_FAULTS_CALLS=${2:-1000} LOAD_FAULTS_RATE=${3:-20} LOAD_FAULTS_FIRST=${4:-1}
exec cargo test -q ${B2B_PROFILE:+--profile "$B2B_PROFILE"} -p b2b --test program -- --nocapture \
    lab::load_faults::planted_faults_are_found_each_in_its_call_and_nothing_where_none_is

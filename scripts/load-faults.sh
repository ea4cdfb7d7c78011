#!/usr/bin/env bash
# Plants faults in a system under test, and checks what `b2b --role load` finds: a bridge and an echo of ours
# (tests/lab/load_faults) through which two loads call each other, with crossed, one-way, late, lost and old audio and
# lost ACKs in calls that a seed chooses; and the same calls without faults. Planted and found faults must be equal,
# call by call. A run on a machine that was late itself is void, and repeated up to three times.
# usage: scripts/load-faults.sh [seeds=10] [calls=1000] [calls-per-second=20] [first-seed=1]
# Two cores: about three minutes per seed, half of one core (B2B_PROFILE=quick: less).
set -euo pipefail
cd "$(dirname "$0")/.."
export LOAD_FAULTS_SEEDS=${1:-10} LOAD_FAULTS_CALLS=${2:-1000} LOAD_FAULTS_RATE=${3:-20} LOAD_FAULTS_FIRST=${4:-1}
exec cargo test -q ${B2B_PROFILE:+--profile "$B2B_PROFILE"} -p b2b --test program -- --nocapture \
    lab::load_faults::planted_faults_are_found_each_in_its_call_and_nothing_where_none_is

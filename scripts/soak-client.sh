#!/usr/bin/env bash
# Soak test of the client library: rounds of ten calls with devices, conference, hold, recording, digits, files, ended
# by either side, and a cancelled one, for the given minutes. Fails if a thread, a descriptor, a call or memory is left
# behind.
# usage: scripts/soak-client.sh [MINUTES=30], 4 at least: memory is judged after 90 s
set -euo pipefail
cd "$(dirname "$0")/.."
export SOAK_MINUTES=${1:-30}
exec cargo test --quiet --profile "${B2B_PROFILE:-release}" -p b2b-client --test soak -- --nocapture

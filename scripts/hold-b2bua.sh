#!/usr/bin/env bash
# Holds 10,000 calls for ten minutes: 1,000 with 50 packets a second both ways, the others with one packet a second,
# without which the server would end them. Packets are numbered, and the numbers checked at the far end.
# usage: scripts/hold-b2bua.sh [--calls N] [--full N] [--minutes N] [--survives | --dies] [--json file]
# `--survives`: calls are also written for the next process; `--dies`: it has a keeper, and is killed at the end. Fails if
# a call ends early, if more than 0.01 % is lost, if anything is left afterwards, or if after the kill a call is not there,
# not all have sound again within 3 s and are taken up within 8 s. Needs two quiet cores, taskset and python3.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b --example rtp_load
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/hold.py "$@"

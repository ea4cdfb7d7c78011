#!/usr/bin/env bash
# Setup time added by remote media over loopback: INVITE to 200 by the b2bua with the embedded engine, with a media
# server over REST and over gRPC, interleaved. Prints a table.
# usage: scripts/bench-media.sh [--calls N] [--runs N]: calls of each, 50 a second by a load
# B2B_BINARY, an existing `b2b`, is used instead of a build. Needs python3.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b
exec python3 -B scripts/b2bua/media_setup.py "$@"

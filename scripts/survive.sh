#!/usr/bin/env bash
# Calls of all kinds (scripts/b2bua/survive_mix.py) go through a server with a keeper and `[survive]`, which dies in many
# ways: killed, aborted, a fault, stopped, out of memory (a control group, as root), a panic (debug builds), and again while
# it restores calls. What each side hears is judged by the calls' marks; callers in applications have to hear their sound
# all the time. Fails if an answered call is lost, the gap's 99th percentile is over 0.6 s (SIGSTOP apart; for callers of
# voice agents, which are connected again 10 ms apart, by so much more), a record is missing or there twice, a recording is
# short, an SRTP packet is refused, a queue's order, a room or a parking slot changes, or anything is held at the end. One
# line a death: calls up before, calls that the server took up, lost, ears without sound from then on, calls refused
# before an answer, gaps, the time without a process, and that until the next one was ready.
# usage: scripts/survive.sh [--calls N=1000] [--deaths N=20] [--seed N] [--short] [--untimed] [--rate N] [--only KIND,…]
#                           [--kinds DEATH,…] [--logs FOLDER] [--json FILE]
# --short: 100 calls, 3 deaths, a minute. --untimed: gaps are told and not judged, for a machine that does other work.
# --only: kinds of calls. --kinds: these deaths in this order. --logs: keeps logs, records and reports. B2B_SERVER: another
# binary for the server. The exit code is 4 if the generator was late.
# Needs two quiet cores, taskset, openssl and python3. A death of 1,000 calls takes 8 s.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/b2bua/survive.py "$@"

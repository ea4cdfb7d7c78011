#!/usr/bin/env bash
# All attackers at once (scripts/hostile/README.md): strangers, insiders with one password, malicious gateways and web
# servers, RTP from third addresses, during 200 calls of `b2b --role load`, which judges the audio of each. Passes if no
# other call is lost, late or overheard, no call is billed, the process survives, memory is bounded, and its counters
# report what happened.
# usage: scripts/hostile.sh [MINUTES=60 | quick] [--calls N] [--json FILE]
#        scripts/hostile.sh --list
#        scripts/hostile.sh --only ATTACK [--binary PATH [--base]]   one by itself: does it win?
#        scripts/hostile.sh --each [--binary PATH [--base]] --json FILE
#        scripts/hostile.sh --table BEFORE.json AFTER.json [--write] both columns, into docs/security.md
# `quick` is one minute with 40 calls. `--base`: the binary is of before issue 15. Needs Python 3, taskset.
set -euo pipefail
cd "$(dirname "$0")/.."
case " $* " in
    *" --binary "* | *" --list "* | *" --table "*) ;;
    *) [ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b ;;
esac
ulimit -Sn "$(ulimit -Hn)"
exec python3 -B scripts/hostile/run.py "$@"

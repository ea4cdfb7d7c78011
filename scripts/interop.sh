#!/usr/bin/env bash
# b2b with other programs: each peer in each scenario, as caller and as callee, with audio judged at both ends
# (scripts/interop/README.md). Writes the results of this run; a complete run writes docs/interop.md.
# usage: scripts/interop.sh [--quick] [--peers NAME,…] [--only SCENARIO,…] [--binary PATH] [--jobs N] [--keep] [--write]
#        scripts/interop.sh --list
#        scripts/interop.sh --networks [--binary PATH] [--asterisk FOLDER]   one b2b in five networks (networks.py)
#        scripts/interop.sh --get-asterisk FOLDER     Asterisk of Debian sid into a folder, for --asterisk
# `--quick` takes five minutes with the programs that Debian 12 packages. Needs root (network namespaces), Python 3,
# iproute2, iptables, tshark, openssl and the peers; a peer that is not installed is "not tried".
set -euo pipefail
cd "$(dirname "$0")/.."
case " $* " in
    *" --get-asterisk "*) exec scripts/interop/get-asterisk.sh "${2:?a folder outside of every repository}" ;;
    *" --list "* | *" --binary "*) ;;
    *) [ -n "${B2B_BINARY:-}" ] || cargo build -q --profile "${B2B_PROFILE:-release}" --bin b2b ;;
esac
if [[ " $* " != *" --list "* ]]; then
    [ "$(id -u)" -eq 0 ] || { echo "scripts/interop.sh: network namespaces need root"; exit 2; }
    for tool in ip iptables nsenter openssl dumpcap tshark python3; do
        command -v "$tool" >/dev/null || { echo "scripts/interop.sh: $tool is not here"; exit 2; }
    done
fi
case " $* " in
    *" --networks "*) exec python3 -B scripts/interop/networks.py "$@" ;;
esac
exec python3 -B scripts/interop/run.py "$@"

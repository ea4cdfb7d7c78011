#!/usr/bin/env bash
# Puts a fixed bug back with its patch, prints which tests of the call model fail and what the simulation finds, and
# removes the patch again: a bug that neither finds could come back unnoticed.
#
# usage: scripts/bug-back.sh PATCH [CALLS]     100,000 simulated calls at most
set -euo pipefail
patch=$(realpath "$1")
cd "$(dirname "$0")/.."
git diff --quiet HEAD || { echo "the tree has changes of its own: commit them first"; exit 2; }
git apply "$patch"
trap 'git apply -R "$patch"' EXIT
cargo test --quiet --no-run -p b2b-call --test switch
found=1
if failed=$(cargo test --quiet -p b2b-call --test switch 2>/dev/null); then
    echo "no test fails"
else
    found=0
    sed -n '/^failures:$/,$p' <<<"$failed" | grep -E '^    [a-z_0-9:]+$' | sort -u
fi
if seen=$(scripts/simulate.sh --calls "${2:-100000}" 2>/dev/null); then
    echo "the simulation finds nothing in ${2:-100000} calls"
else
    found=0
    grep -E '^(seed|  scripts|[0-9]+ calls)' <<<"$seen" || true
fi
exit "$found"

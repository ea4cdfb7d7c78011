#!/usr/bin/env bash
# Instructions of a call, of one that is also written for the next process, and of a relayed RTP packet, counted by
# callgrind, so independent of the machine's load. Each is the difference that COUNT more of them make, so start and end
# do not count.
# usage: scripts/instructions.sh [--against COMMIT]
# `--against`: also for that commit, and by how much this tree is dearer. Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."
against=
case "${1:-}" in
    "") ;;
    --against) against=${2:?a commit} ;;
    *) sed -n '/^# usage/p' "$0"; exit 64 ;;
esac
work=$(mktemp -d)
cleanup() {
    [ ! -d "$work/tree" ] || git worktree remove --force "$work/tree"
    rm -rf "$work"
}
trap cleanup EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}

# Builds the bench of a tree. Each tree has its own folder: cargo takes a source for built if it is older than the files
# that another tree of the same crates has left there.
build() { # tree, where to
    local built
    [ "$1" = . ] || export CARGO_TARGET_DIR=$CARGO_TARGET_DIR/then
    built=$(cd "$1" && cargo bench -q --bench instructions --no-run --message-format=json |
        python3 -c 'import json, sys; print([it["executable"] for it in map(json.loads, sys.stdin) if it.get("executable") and it["target"]["name"] == "instructions"][-1])')
    cp "$built" "$2"
}
count() { # program, what, how many
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 >/dev/null | sed -n 's/.*Collected : //p'
}
each() { # program, what, how many
    echo $((($(count "$1" "$2" $((2 * $3))) - $(count "$1" "$2" "$3")) / $3))
}

build . "$work/now"
if [ -n "$against" ]; then
    git worktree add -q --detach "$work/tree" "$against"
    # A commit older than this bench gets it.
    if [ ! -e "$work/tree/benches/instructions.rs" ]; then
        cp benches/instructions.rs "$work/tree/benches/"
        printf '\n[[bench]]\nname = "instructions"\nharness = false\n' >>"$work/tree/Cargo.toml"
    fi
    build "$work/tree" "$work/then"
fi
for row in "call 400" "kept 400" "packet 200000"; do
    read -r what many <<<"$row"
    now=$(each "$work/now" "$what" "$many")
    if [ -n "$against" ]; then
        then=$(each "$work/then" "$what" "$many")
        awk -v what="$what" -v now="$now" -v then="$then" -v at="$against" \
            'BEGIN { printf "%-7s %d instructions, %d at %s: %+.1f %%\n", what, now, then, at, 100 * (now - then) / then }'
    else
        printf '%-7s %d instructions\n' "$what" "$now"
    fi
done

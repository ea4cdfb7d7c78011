#!/usr/bin/env bash
# Runs the tests of the crate sys, which has the library's `unsafe`, under AddressSanitizer and under valgrind. Both use
# the stable toolchain. The library alone is built, in a separate folder (target/sanitize): that takes minutes, and
# nothing else uses it, so CI does not run this.
# usage: scripts/sanitize-sys.sh [asan|valgrind ...]      both without a word
# Needs valgrind for the second.
set -euo pipefail
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
[ $# -gt 0 ] || set -- asan valgrind

# build <folder> <flags>: prints the path of the library's tests
build() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=$2 CARGO_TARGET_DIR=target/sanitize/$1 \
        cargo test -p b2b-sys --lib --no-run --target "$host" --message-format=json |
        sed -n 's/.*"target":{"kind":\["lib"\].*"executable":"\([^"]*\)".*/\1/p' | tail -n 1
}

for tool in "$@"; do
    printf '\n==== %s\n' "$tool"
    case $tool in
    asan)
        # With an explicit target, build scripts and macros are built without it.
        program=$(build asan '-Zsanitizer=address -Cforce-frame-pointers=yes')
        ASAN_OPTIONS=detect_stack_use_after_return=1:strict_init_order=1 "$program"
        ;;
    valgrind)
        command -v valgrind >/dev/null || { echo "valgrind is not installed"; exit 1; }
        # The tests of descriptors close those of their thread, including valgrind's own.
        program=$(build plain '')
        valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite \
            --show-leak-kinds=definite --num-callers=30 \
            "$program" --skip descriptors --test-threads 1
        ;;
    *) echo "usage: $0 [asan|valgrind ...]"; exit 1 ;;
    esac
done

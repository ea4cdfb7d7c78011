#!/usr/bin/env bash
# Builds `b2b` as it is shipped (`--release`) with rustc's profile-guided optimisation: first an instrumented
# program carries calls, media, registrations and applications on this machine's loopback; the second build uses its
# profile. docs/benchmarks.md has the gain.
# usage: scripts/build-pgo.sh
# Writes target/pgo/b2b, with all roles: a profile belongs to a crate with its features, and the load used here is a
# role of the lab. Takes about three times a build, two cores, taskset, python3, and rustup's llvm-tools.
set -euo pipefail
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
[ -x "$profdata" ] || { echo "llvm-profdata is missing: rustup component add llvm-tools"; exit 2; }
into=$PWD/target/pgo
rm -rf "$into/counts" "$into/b2b.profdata"
mkdir -p "$into/counts"

# $1: flags of rustc for every crate, but not for build scripts: hence --target.
build() {
    RUSTFLAGS="${RUSTFLAGS:-} $1" cargo build --release --locked --target "$host" --target-dir "$into" --bin b2b
}

build "-Cprofile-generate=$into/counts"
cp "$into/$host/release/b2b" "$into/counting"

# Each process writes its profile when it ends. Instrumentation takes time, so exceeded goals (3) do not count here.
at_work() {
    echo "at work: $*"
    B2B_BINARY=$into/counting LLVM_PROFILE_FILE=$into/counts/%p.profraw "$@" --json "$into/at-work.json" >"$into/at-work.log" 2>&1 ||
        { [ $? -eq 3 ] || { tail -20 "$into/at-work.log"; exit 1; }; }
}
at_work scripts/storm-b2bua.sh --calls 4000 --storms 2
at_work scripts/bench-b2bua.sh --quick registrations
at_work scripts/soak-b2bua.sh 1
at_work scripts/soak-apps.sh 1

"$profdata" merge -o "$into/b2b.profdata" "$into/counts"
rm -r "$into/counts" "$into/counting"
build "-Cprofile-use=$into/b2b.profdata"
cp "$into/$host/release/b2b" "$into/b2b"
ls -l "$into/b2b"

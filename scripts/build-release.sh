#!/usr/bin/env bash
# Builds what is shipped into target/shipped/files: the Debian package, the one of its symbols, the bill of materials and
# the SHA-256 sums.
# usage: scripts/build-release.sh
# Needs dpkg-deb, binutils, python3.
set -euo pipefail
cd "$(dirname "$0")/.."
# Paths of this machine stay out of the program, and the time of the build out of the package.
export RUSTFLAGS="--remap-path-prefix=$PWD=/b2b --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CARGO_TARGET_DIR=$PWD/target/shipped CARGO_INCREMENTAL=0
cargo build --release --locked --bin b2b
files=$CARGO_TARGET_DIR/files
rm -rf "$files" "$CARGO_TARGET_DIR/deb"
scripts/build-deb.sh "$CARGO_TARGET_DIR/release/b2b"
mkdir "$files"
cp "$CARGO_TARGET_DIR"/deb/*.deb "$files/"
scripts/sbom.py >"$files/b2b.cdx.json"
(cd "$files" && sha256sum -- * >SHA256SUMS && ls -l && cat SHA256SUMS)

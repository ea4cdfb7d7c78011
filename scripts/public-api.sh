#!/usr/bin/env bash
# The public API of the published crates, as text in docs/api/, one line per item. Fails if the code differs; users of
# the library see every change in these files (CHANGELOG.md).
# usage: scripts/public-api.sh [--write]
# Needs rustdoc's unstable JSON: scripts/public-api/Cargo.toml names the Rust version. With another one nothing is
# compared, and the script exits with 3.
set -euo pipefail
cd "$(dirname "$0")/.."
crates=(b2b-sip b2b-dsp b2b-media b2b-call b2b-client b2b-testkit)
features=b2b-sip/dns,b2b-sip/tls,b2b-call/dns,b2b-call/tls,b2b-client/processing
target=${CARGO_TARGET_DIR:-target}
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' scripts/public-api/Cargo.toml)
if [[ $(rustc --version) != "rustc $wanted."* ]]; then
    echo "the public API was not compared: that takes Rust $wanted, here is $(rustc --version)" >&2
    exit 3
fi
cargo build --quiet --manifest-path scripts/public-api/Cargo.toml --target-dir "$target/public-api"
# Only rustdoc itself gets unstable features: all other builds are unchanged.
rustdoc=$(mktemp)
made=$(mktemp -d)
trap 'rm -rf "$rustdoc" "$made"' EXIT
printf '#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc "$@" -Zunstable-options --output-format json\n' >"$rustdoc"
chmod +x "$rustdoc"
RUSTDOC=$rustdoc cargo doc --quiet --no-deps --lib --features "$features" "${crates[@]/#/-p}"
code=0
for crate in "${crates[@]}"; do
    "$target/public-api/debug/b2b-public-api" "$target/doc/${crate//-/_}.json" >"$made/$crate.txt"
    if [ "${1:-}" = --write ]; then
        mkdir -p docs/api
        cp "$made/$crate.txt" "docs/api/$crate.txt"
    elif ! diff -u "docs/api/$crate.txt" "$made/$crate.txt"; then
        code=1
    fi
done
[ $code -eq 0 ] || echo "the public API has changed: scripts/public-api.sh --write, and a line in CHANGELOG.md" >&2
exit $code

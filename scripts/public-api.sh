#!/usr/bin/env bash
# What the published crates promise, as text in docs/api/: one line an item. Fails where the code says
# something else; a change of these files is a change that users of the library see (CHANGELOG.md).
# usage: scripts/public-api.sh [--write]
# Needs rustdoc's JSON, which is not stable: scripts/public-api/Cargo.toml says of which Rust. With another
# one nothing is compared, and the script ends with 3.
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
# Only rustdoc itself gets what is unstable: the builds of all else stay as they are.
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

#!/usr/bin/env bash
# Runs axe-core on every page of the book, or on the given addresses, light and dark, 1400 and 400 pixels wide; prints
# its findings, and fails if there are any. Needs chromium, node and npm, which installs axe-core and puppeteer-core
# into target/axe.
# usage: scripts/axe.sh [URL...]        like http://127.0.0.1:8080/#calls; without one: target/book, built before
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/axe
[ -d target/axe/node_modules/axe-core ] || npm install --silent --no-audit --no-fund --prefix target/axe axe-core@4 puppeteer-core@24
pages=("$@")
if [ $# = 0 ]; then
    # print.html repeats each heading, and toc.html is a frame.
    while read -r page; do pages+=("file://$PWD/$page"); done < <(
        find target/book -name '*.html' ! -name print.html ! -name toc.html ! -name 404.html | sort)
fi
NODE_PATH=$PWD/target/axe/node_modules exec node scripts/axe.cjs "${pages[@]}"

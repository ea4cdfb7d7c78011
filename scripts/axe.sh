#!/usr/bin/env bash
# axe-core over every page of the book, or over the addresses that are named, light and dark, 1400 and 400 pixels wide: what
# it finds is printed, and fails. Needs chromium, node and npm, which gets axe-core and puppeteer-core into target/axe.
# usage: scripts/axe.sh [URL...]        like http://127.0.0.1:8080/#calls; without one: target/book, built before
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/axe
[ -d target/axe/node_modules/axe-core ] || npm install --silent --no-audit --no-fund --prefix target/axe axe-core@4 puppeteer-core@24
pages=("$@")
if [ $# = 0 ]; then
    # The whole book on one page has each heading twice, and toc.html is a frame.
    while read -r page; do pages+=("file://$PWD/$page"); done < <(
        find target/book -name '*.html' ! -name print.html ! -name toc.html ! -name 404.html | sort)
fi
NODE_PATH=$PWD/target/axe/node_modules exec node scripts/axe.cjs "${pages[@]}"

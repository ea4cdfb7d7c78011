#!/usr/bin/env python3
"""Checks the dependencies against deny.toml if cargo-deny is not installed, whose build takes
longer than every other check: licences (SPDX expressions from cargo metadata, not from the text
of the files), banned crates, missing versions, sources other than crates.io.

usage: scripts/licences.py        prints what is refused and ends with 1, or one line and 0
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INDEX = "registry+https://github.com/rust-lang/crates.io-index"


def allowed(expression, names):
    """Whether an SPDX expression can be satisfied: OR of ANDs of names; AND binds closer."""
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        found = both()
        while words and words[0] == "OR":
            words.pop(0)
            found = both() or found
        return found

    def both():
        found = one()
        while words and words[0] == "AND":
            words.pop(0)
            found = one() and found
        return found

    def one():
        word = words.pop(0)
        if word == "(":
            found = either()
            words.pop(0)
            return found
        if words and words[0] == "WITH":
            word = f"{word} WITH {words[1]}"
            del words[:2]
            return word in names or word.split()[0] in names
        return word in names

    return either() and not words


def main():
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    names, banned = set(rules["licenses"]["allow"]), {it["crate"] for it in rules["bans"]["deny"]}
    command = ["cargo", "metadata", "--format-version", "1", "--all-features", "--locked"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    refused = []
    for package in metadata["packages"]:
        name, licence = f"{package['name']} {package['version']}", package["license"]
        if package["name"] in banned:
            refused.append(f"{name}: is banned")
        if package["source"] not in (None, INDEX):
            refused.append(f"{name}: comes from {package['source']}")
        try:
            met = licence and allowed(licence, names)
        except IndexError:
            met = False
        if not met:
            refused.append(f"{name}: licence {licence} is not allowed")
        if package["source"] is None:
            # `allow-wildcard-paths`: `cargo package` leaves out what tests use from a folder
            wild = [
                it["name"]
                for it in package["dependencies"]
                if it["req"] == "*" and not (it["kind"] == "dev" and it.get("path"))
            ]
            refused += [f"{name}: no version of {it} is said" for it in wild]
    print("\n".join(refused) or f"{len(metadata['packages'])} packages: all as deny.toml wants them")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Prints the software bill of materials of b2b as it is shipped: CycloneDX 1.5, every crate that is in the program or
builds it, with licence and checksum, and what depends on what.

usage: scripts/sbom.py >b2b.cdx.json
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def said(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def main():
    host = next(line.split()[1] for line in said("rustc", "-vV").splitlines() if line.startswith("host:"))
    metadata = json.loads(said("cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host))
    checksums = {
        (it["name"], it["version"]): it.get("checksum") for it in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    }
    packages = {it["id"]: it for it in metadata["packages"]}
    nodes = {it["id"]: it for it in metadata["resolve"]["nodes"]}

    def needs(package):
        """What a package is built of, tests left out."""
        return [it["pkg"] for it in nodes[package]["deps"] if any(kind["kind"] != "dev" for kind in it["dep_kinds"])]

    root = metadata["resolve"]["root"]
    reached, left = set(), [root]
    while left:
        package = left.pop()
        if package not in reached:
            reached.add(package)
            left += needs(package)

    def reference(package):
        return f"pkg:cargo/{packages[package]['name']}@{packages[package]['version']}"

    def component(package):
        it = packages[package]
        found = {
            "type": "application" if package == root else "library",
            "bom-ref": reference(package),
            "purl": reference(package),
            "name": it["name"],
            "version": it["version"],
        }
        if it["license"]:
            found["licenses"] = [{"expression": it["license"].replace("/", " OR ")}]
        if checksum := checksums.get((it["name"], it["version"])):
            found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        return found

    others = sorted(reached - {root}, key=reference)
    json.dump({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(root)},
        "components": [component(it) for it in others],
        "dependencies": [
            {"ref": reference(it), "dependsOn": sorted({reference(other) for other in needs(it)})} for it in [root, *others]
        ],
    }, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()

"""See scripts/interop.sh."""

import argparse
import functools
import hashlib
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import reasons
import report
import scenarios
from asterisk import Asterisk
from baresip import Baresip
from case import Case
from janus import Janus
from kamailio import Kamailio
from linphone import Linphone
from rtpengine import Rtpengine
from scanner import Scanner
from server import certificates
from sipp import Sipp
from world import Gone, World

ROOT = Path(__file__).resolve().parents[2]
PEERS = [Sipp, Baresip, Linphone, Kamailio, Asterisk, Janus, Rtpengine, Scanner]
# A red cell is run once more: a build beside the run may have kept the machine too busy.
TRIES = 2


def options():
    parser = argparse.ArgumentParser(prog="scripts/interop.sh")
    built = ROOT / "target" / os.environ.get("B2B_PROFILE", "release") / "b2b"
    parser.add_argument("--quick", action="store_true", help="five minutes, with what Debian 12 packages")
    parser.add_argument("--peers", help="only these, with commas between them")
    parser.add_argument("--only", help="only these scenarios, with commas between them")
    parser.add_argument("--binary", default=os.environ.get("B2B_BINARY", built), help="the b2b that is tried")
    parser.add_argument(
        "--asterisk", default=os.environ.get("B2B_ASTERISK"), help="the folder that --get-asterisk has made"
    )
    parser.add_argument("--jobs", type=int, default=2, help="so many peers at once; 2")
    parser.add_argument("--keep", action="store_true", help="keep the captures of green cells, too")
    parser.add_argument("--write", action="store_true", help="write docs/interop.md whatever was run")
    parser.add_argument("--list", action="store_true", help="say which peers and scenarios there are")
    return parser.parse_args()


def run_cell(world, chosen, peer, row, folder):
    """One cell: its state, and why it is red."""
    method = getattr(peer, row.method, None)
    if row.name in peer.NOT:
        why = peer.NOT[row.name]
        # An unwritten scenario says nothing about the program.
        return {"state": "not tried" if why.startswith(("not written", "not here")) else "n/a", "why": why}
    if method is None:
        return {"state": "not tried"}
    for attempt in range(TRIES):
        begun = time.monotonic()
        case = Case(world, Path(chosen.binary).resolve(), folder, peer, row.name)
        why = None
        try:
            try:
                method(case)
            finally:
                case.end()
            case.judge()
        except Gone as gone:
            why = str(gone)
        except (OSError, ValueError, subprocess.SubprocessError):
            why = "the script itself: " + traceback.format_exc(limit=-2).replace("\n", " ")[-400:]
        result = {"state": "FAIL" if why else "ok", "seconds": round(time.monotonic() - begun, 1), "tries": attempt + 1}
        if not why:
            return result
        result.update(why=" ".join(why.split()), message=case.last_words(), folder=str(folder.relative_to(ROOT)))
        # Known red cells are not retried.
        if reasons.of((peer.name, row.name), result):
            break
    return result


def run_peer(chosen, wanted, top, peer):
    """All cells of a peer, in their own namespaces; and its version, if it is installed."""
    peer.options = chosen
    if not peer.here():
        print(f"{peer.name}: is not here; not tried", flush=True)
        return {}, []
    cells = {}
    with World(top) as world:
        trouble = None
        try:
            peer.prepare(world, top)
        except Gone as gone:
            trouble = str(gone)
            print(f"{peer.name}: {gone}", flush=True)
        for row in scenarios.ALL:
            if row.name not in wanted or (chosen.quick and not row.quick):
                continue
            if trouble and hasattr(peer, row.method):
                cell = {"state": "FAIL", "why": trouble, "message": "", "folder": "target/interop"}
            else:
                cell = tell(peer, row, run_cell(world, chosen, peer, row, top / f"{peer.name}-{row.name}"), chosen)
            cells[peer.name, row.name] = cell
    return cells, [peer.version()]


def tell(peer, row, cell, chosen):
    """Prints the result of a cell; a green one no longer needs its capture."""
    if cell["state"] in ("ok", "FAIL"):
        tries = "" if cell["tries"] == 1 else f", try {cell['tries']}"
        print(
            f"{peer.name:10} {row.name:18} {cell['state']:5} {cell['seconds']:5.1f} s{tries}"
            + (f"  {cell['why']} [{cell['message']}]" if cell["state"] == "FAIL" else ""),
            flush=True,
        )
    if cell["state"] == "ok" and not chosen.keep:
        (ROOT / "target/interop" / f"{peer.name}-{row.name}" / "capture.pcap").unlink(missing_ok=True)
    return cell


def main():
    chosen = options()
    peers = [it() for it in PEERS]
    if chosen.list:
        print("peers:", *(it.name for it in peers))
        for row in scenarios.ALL:
            print(f"{row.name:18} {row.title}")
        return 0
    names = chosen.peers.split(",") if chosen.peers else [it.name for it in peers]
    wanted = chosen.only.split(",") if chosen.only else [it.name for it in scenarios.ALL]
    unknown = [it for it in wanted if it not in scenarios.BY_NAME] + [
        it for it in names if it not in {it.name for it in peers}
    ]
    if unknown:
        sys.exit(f"there is no {', '.join(unknown)}; --list says what there is")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    top = ROOT / "target/interop"
    top.mkdir(parents=True, exist_ok=True)
    begun, cells, versions = time.monotonic(), {}, []
    certificates(top)
    tried = [it for it in peers if it.name in names and (it.quick or not chosen.quick)]
    # One process each: most of the time both wait for calls.
    with multiprocessing.get_context("fork").Pool(chosen.jobs) as pool:
        for more, version in pool.imap(functools.partial(run_peer, chosen, wanted, top), tried, chunksize=1):
            cells.update(more)
            versions += version
    whole = not (chosen.quick or chosen.peers or chosen.only)
    words = " ".join(sys.argv[1:]).replace(str(chosen.binary), "…")
    what = "all peers and scenarios" if whole else f"a part, {words}"
    versions.append(f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}")
    about = {
        "when": report.when(),
        "seconds": time.monotonic() - begun,
        "what": what,
        "versions": versions,
        "b2b": built(chosen.binary),
    }
    page = "\n".join(report.text(peers, cells, about)) + "\n"
    (top / "interop.md").write_text(page)
    (top / "cells.json").write_text(json.dumps({" ".join(key): it for key, it in cells.items()}, indent=1))
    if whole or chosen.write:
        (ROOT / "docs/interop.md").write_text(page)
    return verdict(cells, about["seconds"])


def built(binary):
    """Version of b2b and identity of the binary: the tree may have changed since it was built."""
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout.split()
    digest = hashlib.sha256(Path(binary).read_bytes()).hexdigest()
    return f"{version[-1] if version else ''} (binary sha256 {digest[:16]}…)"


def verdict(cells, seconds):
    """Prints the result; returns the exit code."""
    states = [it["state"] for it in cells.values()]
    red = [key for key, it in cells.items() if it["state"] == "FAIL"]
    bare = [key for key in red if not reasons.of(key, cells[key])]
    mended = [key for key, it in cells.items() if it["state"] == "ok" and key in reasons.REASONS]
    print(
        f"{states.count('ok')} ok, {len(red)} red, {states.count('not tried')} not tried, {states.count('n/a')} n/a"
        f" in {seconds:.0f} s; target/interop/interop.md"
    )
    for key in bare:
        print(f"red without a reason in scripts/interop/reasons.py: {' '.join(key)}")
    for key in mended:
        print(f"green, though scripts/interop/reasons.py has a reason: {' '.join(key)}")
    return 1 if bare else 0


if __name__ == "__main__":
    sys.exit(main())

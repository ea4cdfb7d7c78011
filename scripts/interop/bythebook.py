"""What docs/asterisk.md and docs/kamailio.md say, done as they say it: their blocks, with the addresses of this run."""

import re
from pathlib import Path

import baresip
from phones import ANSWERS, FIRST, PEER
from world import Gone

DOCS = Path(__file__).resolve().parents[2] / "docs"
PLACES = {
    "192.0.2.0/24": "10.9.1.0/24",
    "192.0.2.10": "10.9.0.1",
    "192.0.2.20": "10.9.1.20",
    "192.0.2.30": "10.9.1.30",
}


def blocks(document, name):
    """The blocks of a document that begin with a comment of this name."""
    text = (DOCS / document).read_text()
    found = re.findall(rf"^```\w+\n[;#] {re.escape(name)}\n(.*?)^```$", text, re.S | re.M)
    if not found:
        raise Gone(f"docs/{document} has no block {name}")
    for there, here in PLACES.items():
        found = [it.replace(there, here) for it in found]
    return found


def call_both_ways(case, address, number, of_ours):
    """A phone `number` that is registered at `address` calls `of_ours`, and 1002 calls it."""
    case.listen()
    ours = case.our("1002", ANSWERS + "cue up; wait 2; hang up")
    peer = baresip.Party(case, number, server=address, domain=address, register_there=True)
    peer.dial(of_ours)
    ours.cue("up")
    case.pause(1.5)
    ours.done()
    case.pause(1)
    case.our("1002", f"dial {number}; say {FIRST} Hz; hears {PEER} Hz within 15 s; wait 2; hang up").done()
    found = peer.heard(FIRST)
    # Of each of the two calls.
    if found < 2:
        raise Gone(f"{number} has heard {FIRST} Hz for {found:.1f} s")

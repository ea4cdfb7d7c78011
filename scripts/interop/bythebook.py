"""Runs the blocks of docs/asterisk.md, docs/kamailio.md and docs/load.md literally, with the addresses of this run."""

import json
import re
import shlex
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
    """A phone `number` registered at `address` calls `of_ours`, and 1002 calls it."""
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
    # For each of the two calls.
    if found < 2:
        raise Gone(f"{number} has heard {FIRST} Hz for {found:.1f} s")


def words(document, name):
    """The command lines of a block, each as a list of words, without the shell's processing."""
    return [[it for it in shlex.split(line) if it != "&"] for line in blocks(document, name)[0].splitlines()]


def load(case, machine, name):
    """Both loads of this block of docs/load.md, with 20 calls instead of its rate; all are judged by their audio."""
    answers, calls = ([case.binary, *line[1:]] for line in words("load.md", name))
    for flag, few in (("--rate", 5), ("--duration-s", 4)):
        calls[calls.index(flag) + 1] = few
    for line, folder in ((answers, "callee"), (calls, "caller")):
        line[line.index("--report") + 1] = case.folder / folder
    callee = case.world.start(machine, answers, case.folder / "callee.log")
    callee.says("READY", 15)
    caller = case.world.start(machine, calls, case.folder / "caller.log")
    code = caller.wait(60)
    callee.end(patience=30)
    # 1 is also the code for void, for which a busy machine is enough.
    if code not in (0, 1):
        raise Gone(f"the caller has ended with {code}: {caller.text[-300:]}")
    for side in ("caller", "callee"):
        _judge(case.folder / side, side)


def _judge(folder, side):
    """The report of one side of `load`."""
    missing = [it for it in ("load.json", "junit.xml", "report.html") if not (folder / it).exists()]
    if missing:
        raise Gone(f"the {side} has not written {', '.join(missing)}")
    found = json.loads((folder / "load.json").read_text())
    of_side, verdict = found[f"{side}s"], found["verdict"]
    counts = {"begun": of_side["begun"], "judged": of_side["ears"]["judged"], "failed": of_side["failed"]}
    # If the machine delayed a thread that only sleeps, audio has gaps; a fault in the page fails all calls.
    may_fail = 0 if found["sleeper_late_pct"] <= 0.1 else 10
    if counts["begun"] != 20 or counts["judged"] < 20 - may_fail or counts["failed"] > may_fail:
        late = f"a thread that only slept was late for {found['sleeper_late_pct']:.1f} %"
        raise Gone(f"of 20 calls the {side} has {counts}, {of_side['failures']}; {late}: {verdict}")
    # Audio could bypass the system under test, so the RTP address in its SDP must be its own.
    for call in found["worst_calls"]:
        got = [it["text"] for it in call["messages"] if not it["sent"]]
        to = {it for text in got for it in re.findall(r"^c=IN IP4 (\S+)", text, re.M)}
        if to != {"127.0.0.1"}:
            raise Gone(f"the {side} is told to send RTP to {', '.join(sorted(to)) or 'nowhere'}, not to 127.0.0.1 alone")

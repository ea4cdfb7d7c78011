"""The loads of the storm and the soak (calls/*.toml), and what the records have to say of their calls."""

import signal
import socket
import sys
from pathlib import Path

from load import Load
from machine import free_port

# A machine that is late for so much of the time (percent, by a thread that only sleeps) may be why sound was not heard,
# in so many times as much of the calls; never why somebody else was.
LATE, TIMES = 1.0, 4
NOT_HEARD = ("it heard nothing", "the far end did not hear it")
PLANS = Path(__file__).parent / "calls"
# How a caller's leg of each kind ends.
ENDS = {
    "answered": "ANSWERED", "lab": "ANSWERED", "cancelled": "CANCELLED", "refused": "BUSY", "unanswered": "NO ANSWER",
    "nowhere": "NO ANSWER", "gone-caller": "ANSWERED", "gone-callee": "ANSWERED",
}


class Mix:
    """Callees for a plan's kinds, callers on demand, and how many calls of each kind there were."""

    def __init__(self, house, plan):
        self.house, self.plan, self.counts, self.heard, self.unheard, self.runs = house, PLANS / plan, {}, 0, 0, 0
        flags = ["--signalling-only"] if "signalling_only" in self.plan.read_text() else []
        self.callees = Load(house, "callees", *flags, plan=(PLANS / "callees.toml").read_text())
        self.deaf = socket.socket(type=socket.SOCK_DGRAM)
        self.deaf.bind(("127.0.0.1", free_port()))
        addresses = {"nowhere": "%s:%d" % self.deaf.getsockname()}
        short = {"unanswered": "timeout_s = 2", "nowhere": "timeout_s = 2"}
        self.routes = "".join(
            f'[[route]]\ncalled = "{kind}"\nto = "sip:{kind}@{addresses.get(kind, self.callees.address)}"\n{short.get(kind, "")}\n'
            for kind in ENDS
        )

    def call(self, server, calls, rate):
        """So many calls, each as its plan says; who hears somebody else, or nobody, has failed."""
        self.runs += 1
        flags = ["--target", f"sip:any@{server.address}", "--rate", rate, "--calls", calls, "--seed", self.runs]
        caller = Load(self.house, f"callers-{self.runs}", *flags, plan=self.plan.read_text())
        found = caller.told(calls / rate * 2 + 120)
        late = found["sleeper_late_pct"]
        failures = found["callers"]["failures"]
        failed = calls - found["callers"]["done"]
        if failed and late >= LATE and failed <= calls * late * TIMES / 100 and all(it["why"] in NOT_HEARD for it in failures):
            self.unheard += failed
            print(f"{failed} calls were not heard in time, on a machine late for {late:.2f} % of it", flush=True)
        elif failed:
            sys.exit(f"{failed} of {calls} calls failed (machine late for {late:.2f} %): {failures}")
        self.heard += found["callers"]["ears"]["judged"]
        for kind, of_kind in found["kinds"].items():
            self.counts[kind] = self.counts.get(kind, 0) + of_kind["begun"]

    def wrong(self, records):
        """In words, where callees did not hear their callers, and where the records differ from the loads."""
        callees = self.callees.told(60, signal.SIGINT)["callees"]
        # Where callers were not heard in time, callees may not be either.
        unheard = [it for it in callees["failures"] if it["why"] in NOT_HEARD and self.unheard]
        problems = [f"callees: {it['calls']} at `{it['step']}`: {it['why']}" for it in callees["failures"] if it not in unheard]
        for kind, count in self.counts.items():
            of_kind = [it for it in records if kind in (it["callee"], user_of(it["callee"]))]
            for direction in ("inbound", "outbound"):
                found = [it for it in of_kind if it["direction"] == direction]
                if len(found) != count:
                    problems.append(f"{kind}: {len(found)} {direction} records of {count} calls")
            ends = [it["disposition"] for it in of_kind if it["direction"] == "inbound"]
            if other := [end for end in ends if end != ENDS[kind]]:
                problems.append(f"{kind}: {len(other)} ended with {set(other)} instead of {ENDS[kind]}")
        known = 2 * sum(self.counts.values())
        return problems if len(records) == known else [*problems, f"{len(records)} records of {known}"]


def user_of(uri):
    return uri.split(":", 1)[-1].split("@", 1)[0]

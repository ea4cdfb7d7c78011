"""See scripts/soak-b2bua.sh and scripts/storm-b2bua.sh: calls of the kinds in calls/*.toml through a server, and the
check of its records."""

import json
import signal
import socket
import sys
import time
from collections import Counter

from load import Load
from machine import HERE, House, Server, arguments, conclude, wait_for

# A stall of the machine of this length (ms, measured by threads that only sleep, on the server's core and on the
# loads') may explain unheard audio: in calls that began within a second of it, and in this multiple of the share of
# time that was late. It never explains hearing the wrong party.
STALL_MS, BEGUN_S, TIMES = 20, 1, 4
NOT_HEARD = ("it heard nothing", "the far end did not hear it")
PLANS = HERE / "calls"
# How a caller's leg of each kind ends.
ENDS = {
    "answered": "ANSWERED", "lab": "ANSWERED", "cancelled": "CANCELLED", "refused": "BUSY", "unanswered": "NO ANSWER",
    "nowhere": "NO ANSWER", "gone-caller": "ANSWERED", "gone-callee": "ANSWERED",
}
# Warm-up calls, which do not count, fill what is filled once: tables, arenas, the ring of events, and dialogs and
# transactions that wait for late messages (RFC 3261: 32 s).
WARM_UP, WARM_UP_S = 1_200, 45


class Mix:
    """A server, callees for the kinds of a plan, callers on demand, and the number of calls of each kind."""

    def __init__(self, house, plan, rtp_timeout_s, *flags):
        self.house, self.plan, self.flags = house, PLANS / plan, flags
        self.counts, self.runs, self.heard, self.unheard, self.problems = Counter(), 0, 0, 0, []
        self.callees = Load(house, "callees", *flags, plan=PLANS / "callees.toml")
        # This address does not respond and sends no ICMP.
        self.deaf = socket.socket(type=socket.SOCK_DGRAM)
        self.deaf.bind(("127.0.0.1", 0))
        addresses = {"callees": self.callees.address, "deaf": "%s:%d" % self.deaf.getsockname()}
        self.server = Server(house, PLANS / "b2bua.toml", rtp_timeout_s=rtp_timeout_s, **addresses).rests()

    def call(self, calls, rate, **limits):
        """Runs this many calls according to their plan; a party that hears another one, or nobody, has failed. Returns
        the load's output."""
        self.runs += 1
        flags = ["--target", f"sip:any@{self.server.address}", "--rate", rate, "--calls", calls, "--seed", self.runs]
        flags += ["--watch-pid", self.server.pid, *self.flags]
        idler = Load(self.house, f"idler-{self.runs}", "--callee", "answer", core=0)
        waited = self.callees.waited()
        found = Load(self.house, f"callers-{self.runs}", *flags, plan=self.plan, **limits).told(calls / rate * 2 + 120)
        waits = self.callees.waited() - waited
        naps = [found, idler.told(how=signal.SIGINT)]
        if not self.server.is_alive():
            sys.exit(f"the server has ended:\n{self.server.said()[-3000:]}")
        late, longest = (max(nap[of] for nap in naps) for of in ("sleeper_late_pct", "sleeper_longest_ms"))
        failed, failures = calls - found["callers"]["done"], found["callers"]["failures"]
        excused = BEGUN_S * rate + calls * late * TIMES / 100 if longest >= STALL_MS else 0
        machine = f"machine late for {late:.2f} % of the time, {longest} ms at once, the generator {found['generator_late_pct']:.2f} %"
        machine += f"; the callees' media waited {waits:.0f} s for a core"
        if 0 < failed <= excused and all(it["why"] in NOT_HEARD for it in failures):
            self.unheard += failed
            print(f"{failed} calls were not heard in time ({machine})", flush=True)
        elif failed:
            sys.exit(f"{failed} of {calls} calls failed ({machine}): {failures}")
        self.heard += found["callers"]["ears"]["judged"]
        self.counts.update({kind: of_kind["begun"] for kind, of_kind in found["kinds"].items()})
        return found

    def rest(self):
        """Waits until every leg has its record and nothing is held: INVITE and BYE to a vanished peer take 32 s each
        (RFC 3261, Timers B and F), one after the other."""
        legs = 2 * self.counts.total()
        wait_for(lambda: self.server.is_quiet(legs), f"the end of run {self.runs}", 128, 0.5)

    def end(self):
        """Ends everything; returns what was held, is left, and is wrong."""
        self.rest()
        found = {"holdings": self.server.holdings(), "descriptors": self.server.descriptors()}
        self.problems += self.server.not_let_go() + self.server.never() + self.server.stop()
        if "calls may continue" in self.server.said():
            self.problems.append("calls were up at the end")
        records = self.server.cdrs()
        self.problems += self.wrong(records)
        return found | {"calls": self.counts, "records": len(records), "left": self.server.left}

    def wrong(self, records):
        """As text, where callees did not hear their callers, and where the records differ from the loads."""
        callees = self.callees.told(how=signal.SIGINT)["callees"]
        # If callers were not heard in time, callees may not be either.
        unheard = [it for it in callees["failures"] if it["why"] in NOT_HEARD and self.unheard]
        problems = [f"callees: {it['calls']} at `{it['step']}`: {it['why']}" for it in callees["failures"] if it not in unheard]
        ends = Counter((user_of(it["callee"]), it["direction"], it["disposition"]) for it in records)
        for kind, count in self.counts.items():
            inbound = ends[kind, "inbound", ENDS[kind]]
            outbound = sum(found for (of, way, _), found in ends.items() if (of, way) == (kind, "outbound"))
            if (inbound, outbound) != (count, count):
                found = {key[1:]: it for key, it in ends.items() if key[0] == kind}
                problems.append(f"{kind}: of {count} calls, all to end with {ENDS[kind]}, there are records {found}")
        known = 2 * self.counts.total()
        return problems if len(records) == known else [*problems, f"{len(records)} records of {known}"]


def user_of(uri):
    return uri.split(":", 1)[-1].split("@", 1)[0]


def memory(told):
    """Figures of the server's memory, as watched by a load."""
    kb = told["watched"]["memory_kb"]
    series = [[it["at_s"], it["memory_kb"]] for it in told["watched"]["over_time"]]
    return {"rss_kb_first_last": [kb["before"], kb["end"]], "grown_kb": kb["grown"], "rss_kb_series": series}


def allowed_kb(options, calls):
    """The permitted growth of memory: what calls leave behind, plus the effects of the allocator and of a short run."""
    return options.noise_kb + round(options.bytes_per_call * calls / 1024)


def storm():
    options = arguments(calls=10_000, rate=150, storms=4, bytes_per_call=60, noise_kb=1024, json="target/storm-b2bua.json")
    resting, share = [], options.calls // options.storms
    with House() as house:
        mix = Mix(house, "storm.toml", 3, "--signalling-only")
        mix.call(WARM_UP, options.rate)
        mix.rest()
        for storm in range(options.storms):
            mix.call(share, options.rate)
            mix.rest()
            time.sleep(1)
            resting.append(mix.server.rss() // 1024)
            print(f"storm {storm + 1}: {share} calls, {resting[-1] / 1024:.1f} MB at rest", flush=True)
        figures = mix.end()
    after, grown = share * (options.storms - 1), resting[-1] - resting[0]
    if grown > allowed_kb(options, after):
        mix.problems.append(f"memory grew by {grown} KB with {after} calls: {resting} KB")
    counts, left = dict(mix.counts), figures["left"]
    print(f"{mix.counts.total()} calls: {counts}; at rest {grown} KB more than after the first storm; left: {left}")
    conclude(options.json, mix.problems, rss_kb_at_rest=resting, grown_kb=grown, **figures)


def soak():
    options = arguments(rate=50, bytes_per_call=60, noise_kb=1024, json="target/soak-b2bua.json")
    minutes = float((options.words or [30])[0])
    total = round(minutes * 60 * options.rate)
    # From the eighth after the middle to the last one.
    allowed = allowed_kb(options, total * 3 / 8)
    with House() as house:
        mix = Mix(house, "soak.toml", 10)
        mix.call(options.rate * WARM_UP_S, options.rate, grown_kb=1_000_000)
        told = mix.call(total, options.rate, grown_kb=allowed)
        figures = mix.end()
    mix.problems += [why for why in told["verdict"]["why"] if why.startswith("max_memory_grown_kb")]
    figures |= {"minutes": minutes, "judged": mix.heard, "not_heard_in_time": mix.unheard, "at_once": told["at_once"]}
    figures |= {"calls_per_s": round(told["callers"]["begun"] / told["took_s"], 1), "allowed_kb": allowed}
    figures |= {"cpu_percent": told["watched"]["cpu_pct"], **memory(told)}
    print(json.dumps({key: value for key, value in figures.items() if key != "rss_kb_series"}, indent=1))
    conclude(options.json, mix.problems, **figures)


if __name__ == "__main__":
    {"storm": storm, "soak": soak}[sys.argv.pop(1)]()

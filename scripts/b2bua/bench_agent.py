"""See scripts/bench-agent.sh."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from load import Load, Measure
from machine import BUILT, HERE, LAST_CORE, PARTIES, CallsFailed, House, Process, Server, arguments, conclude, wait_for

# The agents' side of WebSockets, and callers whose packets are timed with the same clock.
VOICE = Path(os.environ.get("B2B_VOICE_LOAD", BUILT / "examples/voice_load"))
AGENTS = f"{PARTIES}:5080"
HELD = ("calls", "legs", "media_endpoints", "media_streams", "voice_sockets", "commands")
LIMITS = {"LATE": "0.1", "CLEAR_MS": "40", "COMMAND_MS": "5", "SETUP_MS": "5"}
ALLOWED = {name: float(os.environ.get(f"B2B_BENCH_{name}", usual)) for name, usual in LIMITS.items()}


def percent(part, of):
    return round(part / of * 100, 3) if of else None


class Bench:
    """The server, and what is measured of it."""

    def __init__(self, house, quick, calls, per_connection):
        self.house, self.quick, self.calls, self.rows, self.problems, self.slow = house, quick, calls, {}, [], []
        self.per_connection = per_connection
        words = {"agents": AGENTS, "per_connection": per_connection, "parties": PARTIES}
        self.server = Server(house, HERE / "bench_agent/b2bua.toml", **words)

    def measured(self, case, count, seconds, rate=0, quiet=True, **starts):
        """Starts these parts of examples/voice_load one after the other, and short calls by a load, hung up once
        answered; returns the output of each, and the CPU time of both sides."""
        loads = {}
        for name, words in starts.items():
            loads[name] = Process(self.house, f"{case}-{name}", [VOICE, *words], LAST_CORE, stdin=subprocess.PIPE)
            loads[name].ready("UP", 120)
        flags = ["--signalling-only", "--target", f"sip:600@{self.server.address}", "--caller", "dial 600; hang up"]
        flags += ["--rate", rate, "--duration-s", seconds - 1]
        short = [Load(self.house, f"{case}-short", *flags)] if rate else []
        measure = Measure(self.server, [*loads.values(), *short])
        time.sleep(seconds - 1.5)
        row = self.rows[case] = {"calls": count, **measure.row()}
        for load in loads.values():
            load.child.stdin.close()
            if load.child.wait(seconds + 90) != 0:
                raise CallsFailed(f"a load has failed:\n{load.said()[-3000:]}")
        told = {name: json.loads(load.said().splitlines()[-1]) for name, load in loads.items()}
        for load in short:
            setup = load.finish(60)["setup"]
            told["setup"] = {what: setup[what] for what in ("count", "p50_ms", "p99_ms", "max_ms")}
        calls = told["calls"]
        for what in (what for what in ("frames", "packets") if calls[what]["all"]):
            came = calls[what]["all"]
            row |= {f"{what}_late_percent": percent(calls[what]["late"], came), f"{what}_latest_ms": calls[what]["most_ms"]}
            # The start and the end of the period do not count.
            row[f"{what}_missing_percent"] = max(0.0, percent(calls["due"] - came, calls["due"]))
            for how in ("late", "missing"):
                self.held(f"{case}: {how} {what}", row[f"{what}_{how}_percent"], ALLOWED["LATE"], "%")
        self.right(not calls["over_before"], f"{case}: {calls['over_before']} calls ended by themselves")
        self.right(not calls["lost_ms"], f"{case}: {calls['lost_ms']} ms were lost")
        print(f"{case}: {json.dumps(row)}")
        if quiet:
            self.quiet()
        return row, told

    def quiet(self):
        wait_for(lambda: not any(map(self.server.holdings().get, HELD)), "calls to end", 60, 0.2)

    def held(self, what, seen, limit, unit="ms"):
        if seen is None or seen > limit:
            self.slow.append(f"{what}: {seen} {unit}, {limit} {unit} are allowed")

    def right(self, is_so, words):
        if not is_so:
            self.problems.append(words)

    def tell(self, row, **found):
        row |= found
        print(f"    {json.dumps(found)}", flush=True)

    def streams(self):
        self.agents("streams", 700, self.calls or 600)

    def twilio(self):
        self.agents("twilio", 701, self.calls or 250)

    def agents(self, case, number, calls):
        calls, seconds = calls // 6 if self.quick and not self.calls else calls, 4 if self.quick else 30
        row, told = self.measured(case, calls, seconds, calls=("agents", self.server.address, AGENTS, number, calls, seconds))
        clear, unheard = told["calls"]["clear_ms"], told["calls"]["unheard"]
        self.tell(row, clear_to_silence_ms=clear, calls_per_connection=self.per_connection if case == "streams" else 1)
        self.held(f"{case}: clear to silence", clear["p99"], ALLOWED["CLEAR_MS"])
        if unheard:
            # The load clears at fixed times, whatever has arrived by then.
            self.slow.append(f"{case}: {unheard} times nothing was heard before a clear")

    def attacked(self):
        """Streams while other agents fail in every state: their callers are heard by the echo, which is the fall-back."""
        calls, seconds = (40, 8) if self.quick else (200, 60)
        good = ("agents", self.server.address, AGENTS, 700, calls, seconds)
        if not self.quick:
            self.measured("unattacked", calls, seconds // 2, calls=(*good[:-1], seconds // 2))
        bad = Process(self.house, "bad", [sys.executable, "-B", HERE / "bench_agent/bad_agents.py", f"{PARTIES}:5090"], LAST_CORE)
        bad.ready("UP")
        Load(self.house, "consulted", "--sip-bind", f"{PARTIES}:5070", "--callee", "answer; say 900 Hz; hung up", "--ears", "none")
        loads = []
        for number in range(710, 715):
            steps = f"dial {number}; say 600 Hz; hears 600 Hz; hang up"
            flags = ["--target", f"sip:{number}@{self.server.address}", "--caller", steps, "--ears", "none"]
            loads.append(Load(self.house, f"attacked-{number}", *flags, "--rate", 3, "--duration-s", seconds + 4))
        row, told = self.measured("attacked", calls, seconds, calls=good, quiet=False)
        callers = [load.finish(120)["callers"]["begun"] for load in loads]
        self.quiet()
        kept, pairs = told["calls"]["over_before"] == 0, Counter(re.findall(r"^\w+: .*: .*$", bad.said(), re.M))
        ends = {name[21:]: value for name, value in self.server.metrics().items() if name.startswith("b2b_voice_ends_total") and value}
        self.tell(row, callers=callers, states_and_deeds=len(pairs), failures=pairs.total(), ends=ends)
        self.right(kept and not self.server.never(), f"attacked: {self.server.never()}")

    def commands(self):
        calls, seconds, rate = (50, 3, 100) if self.quick else (500, 20, 500)
        talks = ("calls", self.server.address, 600, calls, seconds + 2)
        row, told = self.measured("commands", calls, seconds, calls=talks, commander=("commands", self.server.http, rate, seconds))
        commander = told["commander"]
        self.tell(row, commander=commander)
        self.held("commands: round trip", commander["completed_ms"]["p99"], ALLOWED["COMMAND_MS"])
        done, sent = commander["completed"], commander["commands"]
        self.right(done == sent, f"commands: {done} of {sent} were done: {commander['wrong']}")

    def subscribers(self):
        calls, seconds, rate, count = (20, 3, 10, 100) if self.quick else (200, 15, 20, 1000)
        talks, listening = ("calls", self.server.address, 600, calls, seconds), ("subscribers", self.server.http, count)
        row, told = self.measured("subscribers-none", calls, seconds, rate, calls=talks)
        most = round(told["setup"]["p99_ms"] + ALLOWED["SETUP_MS"], 2)
        self.tell(row, setup=told["setup"])
        row, told = self.measured(f"subscribers-{count}", calls, seconds, rate, subscribers=listening, calls=talks)
        heard = told["subscribers"]
        self.tell(row, setup=told["setup"], subscribers=heard)
        self.held("subscribers: answer to an INVITE", told["setup"]["p99_ms"], most)
        wrong = {what: heard[what] for what in ("gone", "lost", "wrong") if heard[what]}
        self.right(heard["events"] and not wrong, f"subscribers: {heard['events']} events came; {wrong}")


def main():
    options = arguments(json="target/bench-agent.json", per_connection=1)
    calls = next((int(word) for word in options.words if word.isdigit()), None)
    cases = ["streams", "twilio", "attacked", "commands", "subscribers"]
    with House() as house:
        bench = Bench(house, "quick" in options.words, calls, options.per_connection)
        for case in [word for word in options.words if word in cases] or cases:
            getattr(bench, case)()
        bench.problems += bench.server.stop()
    conclude(options.json, bench.problems, bench.slow, rows=bench.rows)


if __name__ == "__main__":
    main()

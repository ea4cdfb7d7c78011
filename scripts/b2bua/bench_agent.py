"""See scripts/bench-agent.sh."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from string import Template

from load import Load
from machine import BUILT, LAST_CORE, House, ending, free_port, machine, verdict, wait_for

HERE = Path(__file__).parent
# The agents' side of WebSockets, and callers whose packets are timed with it, by one clock.
VOICE = Path(os.environ.get("B2B_VOICE_LOAD", BUILT / "examples/voice_load"))
TICKS = 'b2b_media_ticks_total{when="%s"}'
HELD = ("calls", "legs", "media_endpoints", "media_streams", "voice_sockets", "commands")
LIMITS = {"LATE": "0.1", "CLEAR_MS": "40", "COMMAND_MS": "5", "SETUP_MS": "5"}


def percent(part, of):
    return round(part / of * 100, 3) if of else None


def figures(times):
    """Of a load's times, without their histogram."""
    return {what: times[what] for what in ("count", "p50_ms", "p99_ms", "max_ms")}


class Bench:
    """The server, and what is found out about it."""

    def __init__(self, house, options):
        self.house, self.options, self.rows, self.problems, self.slow = house, options, {}, [], []
        self.limits = {name: float(os.environ.get(f"B2B_BENCH_{name}", usual)) for name, usual in LIMITS.items()}
        self.port = free_port()
        self.server = house.server(
            Template((HERE / "bench_agent/b2bua.toml").read_text()).substitute(port=self.port),
            media='ports = "10000-64999"\nthreads = 1\nrtp_timeout_s = 0',
            limits="calls = 3000",
            http="on",
        )

    def voice(self, name, *words):
        """A part of examples/voice_load at work, once it is there."""
        load = self.house.start(name, [VOICE, *words], LAST_CORE, stdin=subprocess.PIPE)
        wait_for(lambda: "UP" in load.log.read_text() or not load.is_alive(), f"the load {name}", 120)
        return load

    def short_calls(self, name, rate, seconds):
        """A load of so many calls a second, each hung up once it is answered."""
        flags = ["--signalling-only", "--target", f"sip:600@{self.server.address}", "--caller", "dial 600; hang up"]
        return Load(self.house, name, *flags, "--rate", str(rate), "--duration-s", str(seconds))

    def measured(self, case, count, seconds, rate=0, **starts):
        """Starts these loads, one after the other, and short calls; what each tells, and CPU of both sides."""
        server, loads = self.server, {name: self.voice(f"{case}-{name}", *words) for name, words in starts.items()}
        short = self.short_calls(f"{case}-short", rate, seconds - 1) if rate else None
        working = [*loads.values(), *([short.process] if short else [])]
        command = ["taskset", "-c", "0", sys.executable, "-B", HERE / "idler.py"]
        idler = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        began, before, threads = time.monotonic(), server.metrics(), server.cpu_by_thread()
        spent = sum(load.cpu() for load in working)
        time.sleep(seconds - 1.5)
        took = time.monotonic() - began
        spent = sum(load.cpu() for load in working) - spent
        by_thread = Counter()
        for thread, used in server.cpu_by_thread().items():
            kind = thread.split("-")[0] if thread.startswith(("relay-", "voice-")) else thread
            by_thread[kind] += (used - threads.get(thread, 0)) / took * 100
        after, stalled = server.metrics(), float(idler.communicate()[0])
        for load in loads.values():
            load.child.stdin.close()
            if load.child.wait(seconds + 90) != 0:
                sys.exit(f"a load has failed:\n{load.log.read_text()[-3000:]}")
        told = {name: json.loads(load.log.read_text().splitlines()[-1]) for name, load in loads.items()}
        told["short"] = short and short.finish(60)["setup"]
        late, in_time = (after[TICKS % when] - before.get(TICKS % when, 0) for when in ("late", "in_time"))
        row = self.rows[case] = {
            "calls": count,
            "server_percent": round(by_thread.total(), 1),
            "load_percent": round(spent / took * 100, 1),
            "by_thread": {name: round(used, 1) for name, used in by_thread.most_common() if used > 0.5},
            "late_ticks_percent": percent(late, late + in_time),
            "stalled_percent": stalled,
        }
        calls = told["calls"]
        for what in (what for what in ("frames", "packets") if calls[what]["all"]):
            came = calls[what]["all"]
            row |= {f"{what}_late_percent": percent(calls[what]["late"], came), f"{what}_latest_ms": calls[what]["most_ms"]}
            # What lies at both ends of the time is nobody's.
            row[f"{what}_missing_percent"] = max(0.0, percent(calls["due"] - came, calls["due"]))
            for how in ("late", "missing"):
                self.held(f"{case}: {how} {what}", row[f"{what}_{how}_percent"], self.limits["LATE"], "%")
        self.right(not calls["over_before"], f"{case}: {calls['over_before']} calls ended by themselves")
        self.right(not calls["lost_ms"], f"{case}: {calls['lost_ms']} ms were lost")
        print(f"{case}: {json.dumps(row)}")
        wait_for(lambda: not any(map(server.holdings().get, HELD)), "calls to end", 60, 0.2)
        return row, told

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
        calls, seconds = self.options.calls or (100 if self.options.quick else 1000), 4 if self.options.quick else 30
        agents = ("agents", self.server.address, f"127.0.0.1:{self.port}", 700, calls, seconds)
        row, told = self.measured("streams", calls, seconds, calls=agents)
        clear, unheard = told["calls"]["clear_ms"], told["calls"]["unheard"]
        self.tell(row, clear_to_silence_ms=clear)
        self.held("streams: clear to silence", clear["p99"], self.limits["CLEAR_MS"])
        if unheard:
            # The load clears at its own times, whatever has come by then.
            self.slow.append(f"streams: {unheard} times nothing was heard before a clear")

    def commands(self):
        calls, seconds, rate = (50, 3, 100) if self.options.quick else (500, 20, 500)
        talks = ("calls", self.server.address, 600, calls, seconds + 2)
        row, told = self.measured("commands", calls, seconds, calls=talks, commander=("commands", self.server.http, rate, seconds))
        commander = told["commander"]
        self.tell(row, commander=commander)
        self.held("commands: round trip", commander["completed_ms"]["p99"], self.limits["COMMAND_MS"])
        done, sent = commander["completed"], commander["commands"]
        self.right(done == sent, f"commands: {done} of {sent} were done: {commander['wrong']}")

    def subscribers(self):
        calls, seconds, rate, count = (20, 3, 10, 100) if self.options.quick else (200, 15, 20, 1000)
        talks, listening = ("calls", self.server.address, 600, calls, seconds), ("subscribers", self.server.http, count)
        row, told = self.measured("subscribers-none", calls, seconds, rate, calls=talks)
        most = round(told["short"]["p99_ms"] + self.limits["SETUP_MS"], 2)
        self.tell(row, setup=figures(told["short"]))
        row, told = self.measured(f"subscribers-{count}", calls, seconds, rate, subscribers=listening, calls=talks)
        heard = told["subscribers"]
        self.tell(row, setup=figures(told["short"]), subscribers=heard)
        self.held("subscribers: answer to an INVITE", told["short"]["p99_ms"], most)
        wrong = {what: heard[what] for what in ("gone", "lost", "wrong") if heard[what]}
        self.right(heard["events"] and not wrong, f"subscribers: {heard['events']} events came; {wrong}")


def main():
    words = argparse.ArgumentParser()
    words.add_argument("words", nargs="*")
    words.add_argument("--json", default="target/bench-agent.json")
    options = words.parse_args()
    options.quick = "quick" in options.words
    options.calls = next((int(word) for word in options.words if word.isdigit()), None)
    cases = [word for word in options.words if word in ("streams", "commands", "subscribers")]
    with House() as house:
        bench = Bench(house, options)
        for case in cases or ["streams", "commands", "subscribers"]:
            getattr(bench, case)()
        left = bench.server.stop()
        bench.right(left is not None and not any(left.values()), f"left at the end: {left}")
    result = {"machine": machine(), "rows": bench.rows, "problems": bench.problems, "slow": bench.slow}
    Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    verdict(bench.problems, bench.slow)


if __name__ == "__main__":
    ending(main)

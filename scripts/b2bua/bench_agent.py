"""See scripts/bench-agent.sh."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from machine import BUILT, LAST_CORE, House, ending, free_port, machine, verdict, wait_for

LOAD = Path(os.environ.get("B2B_VOICE_LOAD", BUILT / "examples/voice_load"))
LATE = 'b2b_media_ticks_total{when="late"}'
IN_TIME = 'b2b_media_ticks_total{when="in_time"}'
HELD = ("calls", "legs", "media_endpoints", "media_streams", "voice_sockets", "commands")
CONFIG = """
[[voice_agent]]
name = "load"
url = "ws://127.0.0.1:{port}/"
rate_hz = 16000

[[route]]
called = "700"
app = "voice_agent/load"

[[route]]
called = "600"
app = "echo"
"""


def up(process, patience=120):
    """Waits until the load says so."""
    wait_for(lambda: "UP" in process.log.read_text() or not process.is_alive(), "the load", patience)
    if not process.is_alive():
        raise SystemExit(f"the load has ended:\n{process.log.read_text()[-3000:]}")


def counted(process):
    """What it printed last, as JSON."""
    lines = process.log.read_text().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        raise SystemExit(f"the load says nothing that can be read:\n{chr(10).join(lines[-30:])}") from None


def percent(part, of):
    return round(part / of * 100, 3) if of else None


class Bench:
    """The server, and what is found out about it."""

    def __init__(self, house, options):
        self.house, self.options, self.rows, self.problems, self.slow = house, options, {}, [], []
        self.port = free_port()
        self.server = house.server(
            CONFIG.format(port=self.port),
            media='ports = "10000-64999"\nthreads = 1\nrtp_timeout_s = 0',
            limits="calls = 3000",
            http="on",
        )
        self.limits = {
            name: float(os.environ.get(f"B2B_BENCH_{name}", usual))
            for name, usual in (("LATE", "0.1"), ("CLEAR_MS", "40"), ("COMMAND_MS", "5"), ("SETUP_MS", "5"))
        }

    def load(self, name, *words, **more):
        return self.house.start(name, [LOAD, *map(str, words)], LAST_CORE, **more)

    def agents(self, name, calls, seconds):
        return self.load(name, "agents", self.server.address, f"127.0.0.1:{self.port}", 700, calls, seconds)

    def measured(self, talks, seconds, *others):
        """While these calls are measured: CPU of both sides, ticks, what the machine alone is late."""
        up(talks)
        others = [start() for start in others]
        server, processes = self.server, [talks, *others]
        idler = subprocess.Popen(
            ["taskset", "-c", "0", sys.executable, "-B", str(Path(__file__).with_name("idler.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        before, cpu, threads = server.metrics(), server.cpu(), server.cpu_by_thread()
        loads, began = [process.cpu() for process in processes], time.monotonic()
        wait_for(lambda: time.monotonic() - began > seconds - 1, "time", seconds + 5, 0.1)
        took = time.monotonic() - began
        used = [process.cpu() - earlier for process, earlier in zip(processes, loads)]
        by_thread = {}
        for thread, spent in server.cpu_by_thread().items():
            kind = thread.split("-")[0] if thread.startswith(("relay-", "voice-")) else thread
            by_thread[kind] = by_thread.get(kind, 0) + spent - threads.get(thread, 0)
        server_used, after = server.cpu() - cpu, server.metrics()
        stalled = float(idler.communicate()[0])
        for process in processes:
            if process.child.stdin:
                process.child.stdin.close()
            process.child.wait(seconds + 90)
        told = [counted(process) for process in processes]
        ticks = {what: after[what] - before.get(what, 0) for what in (LATE, IN_TIME)}
        row = {
            "told": told,
            "server_percent": round(server_used / took * 100, 1),
            "load_percent": round(sum(used) / took * 100, 1),
            "by_thread": {name: round(spent / took * 100, 1) for name, spent in by_thread.items() if spent > 0.005 * took},
            "late_ticks_percent": percent(ticks[LATE], sum(ticks.values())),
            "stalled_percent": stalled,
        }
        wait_for(lambda: not any(map(server.holdings().get, HELD)), "calls to end", 60, 0.2)
        return row

    def held(self, what, seen, limit, unit="ms"):
        if seen is None or seen > limit:
            self.slow.append(f"{what}: {seen} {unit}, {limit} {unit} are allowed")

    def media(self, case, row, calls):
        """Whether calls were as they should be; in words."""
        told, words = row["told"][0], []
        for what in ("frames", "packets"):
            counted = told[what]
            if counted["all"]:
                late = percent(counted["late"], counted["all"])
                missing = max(0.0, percent(told["due"] - counted["all"], told["due"]))
                row[f"{what}_late_percent"], row[f"{what}_missing_percent"] = late, missing
                words.append(f"{late:.3f} % of {counted['all']} {what} late (most {counted['most_ms']:.0f} ms), {missing:.3f} % missing")
                self.held(f"{case}: late {what}", late, self.limits["LATE"], "%")
                # What lies at both ends of the time is nobody's.
                self.held(f"{case}: missing {what}", missing, self.limits["LATE"], "%")
        if told["over_before"] or told["lost_ms"]:
            self.problems.append(f"{case}: {told['over_before']} calls ended by themselves, {told['lost_ms']} ms were lost")
        cpu = f"server {row['server_percent']} % of a core ({row['server_percent'] / calls:.4f} % a call), load {row['load_percent']} %"
        threads = ", ".join(f"{name} {spent}" for name, spent in sorted(row["by_thread"].items(), key=lambda it: -it[1]))
        print(f"{case}: {calls} calls; {cpu}\n    {threads}")
        if row["late_ticks_percent"] is not None:
            words.append(f"{row['late_ticks_percent']:.3f} % of ticks later than 5 ms")
        print(f"    {'; '.join(words)}; by the machine alone {row['stalled_percent']} % later than 5 ms", flush=True)

    def streams(self):
        calls, seconds = self.options.calls or (100 if self.options.quick else 1000), 4 if self.options.quick else 30
        row = self.measured(self.agents("streams", calls, seconds), seconds)
        self.rows["streams"] = row
        self.media("streams", row, calls)
        told = row["told"][0]
        clear = told["clear_ms"]
        print(f"    clear to silence, {clear['count']} times: median {clear['p50']} ms, 99 % {clear['p99']} ms, most {clear['max']} ms")
        self.held("streams: clear to silence", clear["p99"], self.limits["CLEAR_MS"])
        if told["unheard"]:
            # The load clears at its own times, whatever has come by then.
            self.slow.append(f"streams: {told['unheard']} times nothing was heard before a clear")

    def commands(self):
        calls, seconds, rate = (50, 3, 100) if self.options.quick else (500, 20, 500)
        commands = lambda: self.load("commander", "commands", self.server.http, rate, seconds)
        talks = self.load("commanded", "calls", self.server.address, 600, calls, seconds + 2, 0)
        row = self.measured(talks, seconds, commands)
        self.rows["commands"] = row
        self.media("commands", row, calls)
        told = row["told"][1]
        accepted, completed = told["accepted_ms"], told["completed_ms"]
        print(
            f"    {told['commands']} commands, {told['per_s']:.0f}/s: taken in {accepted['p50']} ms, 99 % {accepted['p99']} ms; "
            f"done in {completed['p50']} ms, 99 % {completed['p99']} ms, most {completed['max']} ms"
        )
        self.held("commands: round trip", completed["p99"], self.limits["COMMAND_MS"])
        if told["completed"] != told["commands"]:
            self.problems.append(f"commands: {told['completed']} of {told['commands']} were done: {told['wrong']}")

    def subscribers(self):
        calls, seconds, rate, count = (20, 3, 10, 100) if self.options.quick else (200, 15, 20, 1000)
        words = ("calls", self.server.address, 600, calls, seconds, rate)
        without = self.measured(self.load("calls", *words), seconds)
        listening = self.load("subscribers", "subscribers", self.server.http, count, stdin=subprocess.PIPE)
        up(listening)
        row = self.measured(self.load("calls-heard", *words), seconds, lambda: listening)
        self.rows["subscribers"] = [without, row]
        for name, one in (("subscribers: none", without), (f"subscribers: {count}", row)):
            self.media(name, one, calls)
            setup = one["told"][0]["setup_ms"]
            print(f"    {setup['count']} calls, {rate}/s: answered in {setup['p50']} ms, 99 % {setup['p99']} ms, most {setup['max']} ms")
        told, most = row["told"][1], without["told"][0]["setup_ms"]["p99"] + self.limits["SETUP_MS"]
        each = told["events"] / count
        late = told["late_ms"]
        print(
            f"    each of {count} got {each:.0f} events in {told['reads'] / count:.0f} lots and lost {told['lost'] / count:.1f}; "
            f"{late['p50']} ms after them, 99 % {late['p99']} ms"
        )
        self.held("subscribers: answer to an INVITE", row["told"][0]["setup_ms"]["p99"], round(most, 2))
        if told["gone"] or told["wrong"] or told["lost"]:
            self.problems.append(f"subscribers: {told['gone']} are gone, {told['lost']} events lost, {told['wrong']} numbers are wrong")


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
        if left is None or any(left.values()):
            bench.problems.append(f"left at the end: {left}")
    result = {"machine": machine(), "rows": bench.rows, "problems": bench.problems, "slow": bench.slow}
    Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    verdict(bench.problems, bench.slow)


if __name__ == "__main__":
    ending(main)

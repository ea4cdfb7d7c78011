"""See scripts/survive.sh."""

import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from load import Load
from soak import user_of
from machine import HERE, House, Server, arguments, conclude, wait_for

PLANS = HERE / "survive"
# The exit code if the generator was late: figures of sound mean nothing.
VOID = 4
# Share of the time by which the generator may be later than a thread that only sleeps, percent.
LATE_PCT = 0.1
# A call has to be up for this long before its sound is judged, s.
JUDGED_S = 5
# Between two deaths, s: all sound is back, and all media is written.
BETWEEN_S = (6.5, 8)
# A gap belongs to the death from this long before its start on, s: clocks of processes are read at different times.
EARLY_S = 0.5
# The gap that 99 of 100 ears may hear.
GAP_MS = 600
# The keeper takes this long to notice that a server hangs, ms.
HANG_MS = 7_500
# After a longer gap the sound is not back.
SILENT_MS = 4_000
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGSEGV": signal.SIGSEGV, "SIGABRT": signal.SIGABRT, "SIGSTOP": signal.SIGSTOP}
# Of twenty deaths; fewer are chosen from these.
DEATHS = ["SIGKILL"] * 8 + ["SIGSEGV"] * 2 + ["SIGABRT"] * 2 + ["SIGSTOP"] * 2 + ["restoring"] * 2


class Kept(Server):
    """A server with a keeper: `child` is the keeper, `pid` the server."""

    def __init__(self, house, config, **words):
        super().__init__(house, config, flags=["--keep"], **words)
        self.lives = 1
        self.now()

    def now(self):
        """Reads the server's process."""
        self.pid = int(re.findall(r"the server is process (\d+)", self.said())[-1])
        return self.pid

    def comes_back(self):
        """Waits for the next server; returns when it was ready."""
        ready = lambda: self.said().count("READY role=b2bua") > self.lives or not self.is_alive()
        wait_for(ready, "the next server", 30, 0.005)
        if not self.is_alive():
            sys.exit(f"the keeper has ended:\n{self.said()[-3000:]}")
        at = time.time()
        self.lives += 1
        self.now()
        return at

    def dies(self, kind, chance):
        """Kills the server; returns when, and what was seen."""
        up = self.holdings()["calls"]
        at, pid = time.time(), self.pid
        os.kill(pid, SIGNALS.get(kind, signal.SIGKILL))
        if kind == "SIGSEGV":
            # The first one only takes away the handler of Rust's library: a real fault happens again.
            time.sleep(0.001)
            os.kill(pid, signal.SIGSEGV)
        if kind == "restoring":
            wait_for(lambda: self.now() != pid, "the next process", 10, 0.001)
            time.sleep(chance.uniform(0.02, 0.2))
            if self.said().count("READY role=b2bua") > self.lives:
                self.lives += 1
            os.kill(self.pid, signal.SIGKILL)
        back = self.comes_back()
        before = json.loads(self.get("/survive"))["before"] or {}
        ended = Counter(it["why"] for it in before.get("ended", ()))
        row = {"kind": kind, "at": at, "up": up, "went_on": before.get("went_on"), "ended": dict(ended)}
        return row | {"away_ms": before.get("away_ms"), "ready_ms": round((back - at) * 1000)}


class Ears:
    """The gaps and failed calls of the loads, by death."""

    def __init__(self, deaths):
        self.deaths = deaths

    def death_at(self, at):
        """The last death before this time."""
        return next((row for row in reversed(self.deaths) if row["at"] - EARLY_S <= at), None)

    def takes(self, name, began, told, problems):
        """What a load has heard; what has nothing to do with a death is a problem."""
        for it in told["failed_calls"]["calls"]:
            row = self.death_at(began + it["at_s"] + it["lasted_s"])
            words = f"{name}: {it.get('kind') or it['side']} {it['number']}: `{it['step']}`: {it['why']}"
            if row:
                row.setdefault("failed", []).append(words)
            else:
                problems.append(words)
        longest = {}
        for gap in told["gaps"]["heard"]:
            row = self.death_at(began + gap["at_s"])
            key = (id(row), gap["side"], gap["number"])
            longest[key] = max(longest.get(key, 0), gap["ms"])
        for row in self.deaths:
            for side in ("caller", "callee"):
                gaps = row.setdefault(f"{side}_gaps", [])
                gaps += [ms for (of, which, _), ms in longest.items() if of == id(row) and which == side]
        before = [ms for (of, *_), ms in longest.items() if of == id(None)]
        if before:
            print(f"{name}: {len(before)} gaps before the first death, the longest {max(before)} ms")
        return max(0.0, told["generator_late_pct"] - told["sleeper_late_pct"])


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else None


def gaps_of(values):
    return "/".join(str(percentile(values, it)) for it in (50, 99, 100)) if values else "-"


def table(deaths):
    print(f"{'':>3} {'death':<10} {'up':>5} {'went on':>7} {'lost':>5}  {'caller p50/p99/max':<20} {'callee p50/p99/max':<20} {'away':>6} {'ready':>6} ms")
    for n, row in enumerate(deaths):
        lost = len(row.get("failed", ())) + row["silent"]
        print(f"{n + 1:>3} {row['kind']:<10} {row['up']:>5} {row['went_on'] or 0:>7} {lost:>5}  {gaps_of(row['caller_gaps']):<20} "
              f"{gaps_of(row['callee_gaps']):<20} {row['away_ms'] or 0:>6} {row['ready_ms']:>6}")


def judge(deaths):
    """As text, what was not to happen."""
    problems = []
    for n, row in enumerate(deaths):
        name, gaps = f"death {n + 1} ({row['kind']})", row["caller_gaps"] + row["callee_gaps"]
        hang = HANG_MS if row["kind"] == "SIGSTOP" else 0
        row["silent"] = sum(ms > SILENT_MS + hang for ms in gaps)
        failed = Counter(re.sub(r"\d+", "N", words) for words in row.get("failed", ()))
        problems += [f"{name}: lost {count}: {words}" for words, count in failed.most_common(8)]
        if row["silent"]:
            problems.append(f"{name}: {row['silent']} ears heard nothing any more")
        if row["ended"]:
            problems.append(f"{name}: the server says that it lost {row['ended']}")
        if not hang and (p99 := percentile(gaps, 99) or 0) > GAP_MS:
            problems.append(f"{name}: the gap is {p99} ms in the 99th percentile")
    return problems


def records_wrong(records, begun):
    """As text, where records differ from the calls that there were."""
    problems, seen = [], Counter((it["call_id"], it["leg_id"]) for it in records) if records and "leg_id" in records[0] else Counter()
    twice = [key for key, count in seen.items() if count > 1]
    if twice:
        problems.append(f"{len(twice)} records are there twice: {twice[:3]}")
    for kind, (inbound, outbound) in begun.items():
        ways = Counter(it["direction"] for it in records if user_of(it["callee"]) == kind)
        if (ways["inbound"], ways["outbound"]) != (inbound, outbound):
            problems.append(f"{kind}: {ways['inbound']} and {ways['outbound']} records of {inbound} and {outbound} legs")
    ends = Counter((it["direction"], it["disposition"]) for it in records)
    return problems, dict(ends)


def main():
    options = arguments(calls=50, deaths=1, seed=0, rate=25, short=False, kinds="", logs="", json="target/survive.json")
    if options.short:
        options.calls, options.deaths = 100, 3
    seed = options.seed or random.SystemRandom().getrandbits(32)
    chance, problems, deaths = random.Random(seed), [], []
    kinds = options.kinds.split(",") if options.kinds else chance.sample(DEATHS, min(options.deaths, len(DEATHS)))
    print(f"seed {seed}: {options.calls} calls, deaths by {', '.join(kinds)}", flush=True)
    with House() as house:
        if options.logs:
            house.callback(shutil.copytree, house.path, options.logs, dirs_exist_ok=True)
        memory = Path(house.enter_context(tempfile.TemporaryDirectory(prefix="b2b-survive-", dir="/dev/shm"))) / "calls"
        callees = Load(house, "callees", plan=PLANS / "callees.toml")
        callees_began = time.time()
        server = Kept(house, PLANS / "b2bua.toml", memory=memory, size_mb=64, callees=callees.address).rests()
        words = {"server": server.address, "rate": options.rate, "calls": options.calls, "bridged": options.calls}
        callers = Load(house, "callers", plan=PLANS / "callers.toml", **words)
        callers_began = time.time()
        wait_for(lambda: server.holdings()["calls"] >= options.calls or not callers.is_alive(), "the calls",
                 options.calls / options.rate + 30, 0.1)
        time.sleep(JUDGED_S)
        for kind in kinds:
            deaths.append(server.dies(kind, chance))
            print(f"  {deaths[-1]}", flush=True)
            time.sleep(chance.uniform(*BETWEEN_S))
        up = server.holdings()["calls"]
        told = {"callers": callers.told(60, signal.SIGINT)}
        told["callees"] = callees.told(60, signal.SIGINT)
        ears, late = Ears(deaths), {}
        for name, began in (("callers", callers_began), ("callees", callees_began)):
            late[name] = ears.takes(name, began, told[name], problems)
        held = ("calls", "legs", "media_endpoints")
        quiet = (lambda: not any(map(server.holdings().get, held))) if options.short else (lambda: server.is_quiet(0))
        wait_for(quiet, f"nothing to be held: {server.holdings()}", 100, 0.5)
        survive = json.loads(server.get("/survive"))
        if survive["covered"] or survive["not_covered"]:
            problems.append(f"in memory at the end: {survive}")
        problems += server.never() + server.stop()
        log = server.said()
        records = server.cdrs()
    wrong, ends = records_wrong(records, {"bridged": (options.calls, options.calls)})
    problems += judge(deaths) + wrong
    table(deaths)
    answered = told["callers"]["callers"]["answered"]
    done = told["callers"]["callers"]["done"]
    print(f"{answered} answered, {done} done, {up} up after the last death; {len(records)} records: {ends}")
    print(f"generator late {late}; machine late {told['callers']['sleeper_late_pct']:.2f} % of the time, {told['callers']['sleeper_longest_ms']} ms at once")
    is_void = max(late.values()) > LATE_PCT
    if is_void:
        print(f"VOID: the generator was late for {max(late.values()):.2f} % of the time more than a thread that only sleeps")
        for words in problems:
            print(f"NOT HELD: {words}")
        sys.exit(VOID)
    conclude(options.json, problems, seed=seed, deaths=deaths)


if __name__ == "__main__":
    main()

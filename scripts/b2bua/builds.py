"""See scripts/compare-builds.sh."""

import json
import os
import statistics
import sys
import time
from pathlib import Path

from machine import AT, HERE, House, Process, Server, arguments, wait_for
from bench import FLOOR, MUX, caller, delays, load, loaded

WARM_UP = 500
# The data of a call is packed 32 s after its last event.
QUIET = 40


# What `,HOW` adds to the configuration, and after which line.
HOW = {
    "": ("[log]\n", ""),
    "off": ("[log]\n", "call_journals = false\n"),
    "forgets": ("rtp_timeout_s = 0\n", "\n[ended_calls]\ncalls = 0\n"),
    "survives": ("rtp_timeout_s = 0\n", f'\n[survive]\nfile = "/dev/shm/b2b-builds-{os.getpid()}"\n'),
    "stores": ("rtp_timeout_s = 0\n", '\n[ended_calls]\nstore = "sqlite:ended.sqlite"\n'),
}


class Build:
    """A `b2b`, with its name in the table and its differences in configuration."""

    def __init__(self, words):
        name, _, path = words.partition("=")
        self.binary, _, how = path.partition(",")
        if not name or not Path(self.binary).is_file() or how not in HOW:
            sys.exit(f"{words!r}: NAME=BINARY, or one of NAME=BINARY,{{{','.join(filter(None, HOW))}}}")
        self.name, self.how = name, HOW[how]
        self.seen = []

    def serves(self, house, callee):
        config = house.path / f"{self.name}.template.toml"
        behind, what = self.how
        before, found, after = (HERE / "bench/b2bua.toml").read_text().partition(behind)
        config.write_text(before + found + what + after)
        return Server(house, config, self.name, binary=self.binary, callee=callee.address, threads=2)


def calls(build, options):
    """CPU time of a call in ms, measured with a separate server."""
    with House() as house:
        callee = load(house, "callee", "callee", MUX)
        server = build.serves(house, callee)
        loaded(house, server, WARM_UP, options.rate)
        cost = loaded(house, server, options.calls, options.rate)["cpu_ms_per_call"]
        callee.ended(options.calls + WARM_UP)
        server.stop()
        return cost


def floor(options):
    """The same for a loop that forwards each datagram to the other side."""
    with House() as house:
        callee = load(house, "callee", "callee", MUX)
        bare = Process(house, "floor", [FLOOR, at := f"{AT}:5058", callee.address], 0).ready("listening")
        bare.address = at
        loaded(house, bare, WARM_UP, options.rate)
        return loaded(house, bare, options.calls, options.rate)["cpu_ms_per_call"]


def held(build, options):
    """Resident KB per active call, with `--held` of them."""
    count = options.held
    ramp = min(200.0, count / 5)
    with House() as house:
        callee = load(house, "callee", "callee", MUX)
        server = build.serves(house, callee)
        loaded(house, server, 400, 200)
        before, sockets = server.rss(), server.sockets()
        holder = caller(house, server, count, ramp, MUX, count / ramp + QUIET + 20)
        wait_for(lambda: server.sockets() - sockets >= count * 2, f"{count} calls", count / ramp * 2 + 20, 0.5)
        time.sleep(QUIET)
        each = (server.rss() - before) / 1024 / count
        holder.finish(count / ramp * 3 + QUIET + 80, count)
        return each


def added(build, options):
    """What it adds to a 200 to INVITE in the 99th percentile, ms, at 200 calls/s."""
    with House() as house:
        callee = load(house, "callee", "callee", MUX)
        server = build.serves(house, callee)
        found = delays(house, server, options.calls)
        server.stop()
        return found["200"]["p99_ms"] if found else sys.exit("no capture: dumpcap has no rights here")


def main():
    options = arguments(rate=500, calls=4000, runs=10, held=0, latency=False, json="target/compare-builds.json")
    builds = [Build(words) for words in options.words]
    if not builds:
        sys.exit("which builds? NAME=BINARY...")
    floors = []
    what, unit = (
        (held, "KB a held call") if options.held
        else (added, "ms added to a 200, p99, at 200/s") if options.latency
        else (calls, f"ms of CPU a call at {options.rate}/s"))
    for run in range(options.runs):
        # A different one is first each time, so periodic disturbances of the machine affect all.
        order = builds[run % len(builds):] + builds[: run % len(builds)]
        for build in order:
            build.seen.append(what(build, options))
        if what is calls and FLOOR.exists():
            floors.append(floor(options))
        last = "  ".join(f"{build.name} {build.seen[-1]:.4f}" for build in builds)
        print(f"  {run + 1:>3}: {last}" + (f"  floor {floors[-1]:.4f}" if floors else ""), flush=True)
    print(f"{unit}, {options.runs} runs interleaved:")
    found = {}
    for build in builds:
        ratios = [seen / first for seen, first in zip(build.seen, builds[0].seen)]
        found[build.name] = {"seen": build.seen, "median": statistics.median(build.seen), "ratio": statistics.median(ratios)}
        spread = f"{min(build.seen):.4f} to {max(build.seen):.4f}"
        print(f"  {build.name:16} {found[build.name]['median']:.4f} ({spread}), {found[build.name]['ratio']:.3f} times "
              f"{builds[0].name} ({min(ratios):.3f} to {max(ratios):.3f})")
    if floors:
        found["floor"] = {"seen": floors, "median": statistics.median(floors)}
        print(f"  {'floor':16} {found['floor']['median']:.4f} ({min(floors):.4f} to {max(floors):.4f})")
    Path(f"/dev/shm/b2b-builds-{os.getpid()}").unlink(missing_ok=True)
    out = Path(options.json)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"unit": unit, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()

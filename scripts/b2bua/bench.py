"""See scripts/bench-b2bua.sh."""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import registrations
from capture import Capture
from load import Load
from machine import ONLY_SLOW, ROOT, CallsFailed, House, ending, machine, median, percentile, verdict, wait_for

ROUTE = '[[route]]\ncalled = "bench"\nto = "sip:bench@{}"\n'
PORTS = 'ports = "10000-64999"\nthreads = 2\nrtp_timeout_s = 0'
MUX, SOCKETS = "a=rtcp-mux", "a=sendrecv"
NUMBERS = itertools.count()
PROBLEMS, SLOW = [], []
# Calls before the first that count.
WARM_UP = 1_000
CURVE = [(10, MUX), (100, MUX), (1000, MUX), (1000, SOCKETS), (10_000, MUX)]


def load(house, name, who, rtcp, *more):
    """A load by the scenario of a caller or callee: its messages say all that is in the capture and the descriptions."""
    return Load(house, name, "--scenario", ROOT / f"tests/sipp/load/{who}.xml", "--scenario-key", f"rtcp={rtcp}", *more)


def caller(house, watched, calls, rate, rtcp=MUX, hold_s=0):
    """A caller at work: so many calls at this rate."""
    more = ("--rate", str(rate), "--calls", str(calls), "--hold-s", str(hold_s))
    return load(house, f"caller-{next(NUMBERS)}", "caller", rtcp, "--target", f"sip:bench@{watched.address}", *more)


def loaded(house, watched, calls, rate, rtcp=MUX):
    """CPU ms a call of the watched process, and calls a second, with so many calls at this rate."""
    before = watched.cpu()
    told = caller(house, watched, calls, rate, rtcp).finish(calls / rate * 3 + 30, calls)
    return (watched.cpu() - before) * 1e3 / calls, calls / told["took_s"]


def call_cost(options):
    """Interleaved runs of the server and of the floor."""
    with House() as house:
        callee, floor_callee = (load(house, name, "callee", MUX) for name in ("callee", "floor-callee"))
        server = house.server(ROUTE.format(callee.address), media=PORTS, limits="calls = 12000")
        floor = house.floor(floor_callee.address.rpartition(":")[2])
        loaded(house, server, WARM_UP, options.rate)
        loaded(house, floor, WARM_UP, options.rate)
        runs, floors, threads = [], [], server.cpu_by_thread()
        for _ in range(options.runs):
            floors.append(floor_cost(house, floor, options))
            cost, achieved = loaded(house, server, options.calls, options.rate)
            runs.append(cost)
            print(f"  floor {floors[-1]:.4f}, b2b {cost:.4f} ms a call, {achieved:.0f} calls/s", flush=True)
        total = options.calls * options.runs
        now = server.cpu_by_thread().items()
        by_thread = {name: round((spent - threads.get(name, 0)) * 1e3 / total, 4) for name, spent in now}
        callee.end(total + WARM_UP)
        left = server.stop()
        check(left is not None and not any(left.values()), f"left after the calls: {left}")
        records = len(server.cdrs())
        check(records == 2 * (total + WARM_UP), f"{records} records of {total + WARM_UP} calls")
        found = {"ms_per_call": round(median(runs), 4), "floor_ms_per_call": round(median(floors), 4)}
        found["ms_per_call_runs"] = [round(run, 4) for run in runs]
        found["ms_per_call_by_thread"] = {k: v for k, v in sorted(by_thread.items()) if v > 0.0001}
        return found | {"calls_per_s": options.rate, "calls": total}


def floor_cost(house, floor, options):
    """The floor loses what its buffer has no room for; where that is the end of a call, it is not the server's."""
    for _ in range(3):
        try:
            return loaded(house, floor, options.calls, options.rate)[0]
        except CallsFailed:
            print("  the floor lost a call: the machine is too busy for this rate", flush=True)
    sys.exit(ONLY_SLOW)


def latency(options):
    with House() as house:
        callee = load(house, "callee", "callee", MUX)
        server = house.server(ROUTE.format(callee.address), media=PORTS, limits="calls = 12000")
        loaded(house, server, 400, 200)
        capture = Capture(house, server.port)
        if not capture.works:
            print("  latency: no capture (dumpcap has no rights here)")
            return {}
        loaded(house, server, options.latency_calls, 200)
        found = {}
        for message, took in capture.finish().items():
            check(len(took) >= options.latency_calls * 0.99, f"only {len(took)} {message} were matched")
            times = {"p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99), "max_ms": max(took)}
            found[message] = {name: round(ms, 3) for name, ms in times.items()} | {"count": len(took)}
        return found


def slab():
    """Bytes that the kernel holds for sockets and what belongs to them."""
    wanted = ("UDP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "eventpoll_pwq")
    try:
        slabs = [line.split() for line in Path("/proc/slabinfo").read_text().splitlines()[2:]]
    except OSError:
        return None
    return sum(int(active) * int(size) for name, active, _, size, *_ in slabs if name in wanted or name.startswith("kmalloc"))


def held(options, count, rtcp):
    """With `count` calls held: memory of each, and what another call costs."""
    ramp = min(200.0, max(10.0, count / 5))
    hold = count / ramp + 6 + options.curve_calls / 100 * 2 + 12
    each = 2 if rtcp == MUX else 4
    with House() as house:
        callee = load(house, "callee", "callee", rtcp)
        media = PORTS.replace("threads = 2", f"threads = {each}")
        server = house.server(ROUTE.format(callee.address), media=media, limits="calls = 12000")
        loaded(house, server, 400, 200, rtcp)
        time.sleep(1)
        before, kernel, sockets, spent = server.rss(), slab(), server.sockets(), server.cpu()
        holder = caller(house, server, count, ramp, rtcp, hold)
        wait_for(lambda: server.sockets() - sockets >= count * each, f"{count} calls to be up", count / ramp * 2 + 20, 0.5)
        time.sleep(1)
        setup = (server.cpu() - spent) * 1e3 / count
        rss, kernel_now, idle = server.rss(), slab(), server.cpu()
        time.sleep(3)
        idle = (server.cpu() - idle) / 3
        began, cpu = time.monotonic(), server.cpu()
        loaded(house, server, options.curve_calls, 100, rtcp)
        cost = (server.cpu() - cpu - idle * (time.monotonic() - began)) * 1e3 / options.curve_calls
        holder.finish(hold * 2 + 60, count)
        callee.end(400 + count + options.curve_calls)
        wait_for(lambda: server.sockets() <= sockets + 128, "the sockets to be closed", 40)
        left = server.stop()
        check(left is not None and not any(left.values()), f"left after {count} held calls: {left}")
        kernel_each = None if kernel is None else round((kernel_now - kernel) / 1024 / count, 2)
        found = {"held": count, "rtcp": "mux" if rtcp == MUX else "sockets", "ms_per_call": round(cost, 4)}
        found |= {"setup_ms_per_call": round(setup, 4), "idle_percent": round(idle * 100, 3), "rss_mb": round(rss / 2**20, 1)}
        return found | {"rss_kb_per_call": round((rss - before) / 1024 / count, 2), "kernel_kb_per_call": kernel_each}


def relay(options):
    """scripts/bench-relay.sh, at the end of everything else."""
    out = Path(options.json).with_suffix(".relay.json").resolve()
    subprocess.run(["scripts/bench-relay.sh", *["quick"][: options.quick], str(out)], cwd=ROOT, check=False)
    return json.loads(out.read_text()) if out.exists() else {}


def check(holds, words, problems=PROBLEMS):
    if not holds:
        problems.append(words)


def rows(found):
    """What, figure, goal, whether it holds; none: not measured."""
    cost, times = found.get("call", {}), found.get("latency", {})
    phones, muxed = found.get("registrations", {}), [row for row in found.get("held", []) if row["rtcp"] == "mux"]
    largest = max(muxed, key=lambda row: row["held"], default={})
    wide = float(os.environ.get("B2B_BENCH_WIDE", "1"))
    # A machine that stands still for 50 ms once makes a hundredth of a thousand calls late.
    late = float(os.environ.get("B2B_BENCH_WIDE_LATENCY", wide))
    worst = max((row["p99_ms"] for row in times.values()), default=None)
    listed = (
        ("CPU per call, INVITE to BYE, no media, ms", cost.get("ms_per_call"), 0.4, wide),
        ("setup latency added, p99 of INVITE, 180, 200 at 200 calls/s, ms", worst, 2.0, late),
        ("resident memory per held call, KB", largest.get("rss_kb_per_call"), 25.0, wide),
        ("CPU per authenticated refresh, ms", phones.get("ms_per_refresh"), 0.1, wide),
        ("calls held at once", largest.get("held"), None, None),
        ("registrations held", phones.get("held"), None, None),
    )
    for what, figure, goal, most in listed:
        if figure is not None:
            yield what, figure, goal, goal is None or figure <= goal * most


def main():
    words = argparse.ArgumentParser()
    words.add_argument("parts", nargs="*", default=["call", "latency", "held", "registrations", "relay"])
    words.add_argument("--quick", action="store_true")
    words.add_argument("--json", default="target/bench-b2bua.json")
    for flag, usual in (("--rate", 500), ("--calls", None), ("--runs", None)):
        words.add_argument(flag, type=int, default=usual)
    options = words.parse_args()
    usual = (1000, 1, 300, 2000) if options.quick else (4000, 5, 1000, 100_000)
    options.latency_calls, runs, options.curve_calls, phones = usual
    options.calls, options.runs = options.calls or usual[0], options.runs or runs
    found = {"machine": machine()}
    steps = {
        "call": lambda: call_cost(options),
        "latency": lambda: latency(options),
        "held": lambda: [held(options, *row) for row in ([(100, MUX)] if options.quick else CURVE)],
        "registrations": lambda: registrations.measure(phones, check),
        "relay": lambda: relay(options),
    }
    for part in options.parts:
        print(f"{part}:", flush=True)
        found[part] = steps[part]()
        print("  " + json.dumps(found[part]), flush=True)
    found["machine"]["load_at_end"] = round(os.getloadavg()[0], 2)
    Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    for what, figure, goal, holds in rows(found):
        print(f"{what:68} {figure:>10} {f'goal {goal}' if goal else '':10} {'' if holds else 'NOT HELD'}")
        check(holds, what, SLOW if what.endswith("ms") else PROBLEMS)
    for row in found.get("held", []):
        held_so = f"  with {row['held']:>5} held (RTCP: {row['rtcp']}): {row['ms_per_call']:.4f} ms a call, "
        print(held_so + f"{row['rss_kb_per_call']} KB each, kernel {row['kernel_kb_per_call']} KB, idle {row['idle_percent']} %")
    print(f"written: {options.json}")
    verdict(PROBLEMS, SLOW)


if __name__ == "__main__":
    ending(main)

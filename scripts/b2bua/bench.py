"""See scripts/bench-b2bua.sh."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import registrations
from capture import Capture
from machine import ONLY_SLOW, ROOT, CallsFailed, House, ending, machine, median, percentile, verdict, wait_for

ROUTE = '[[route]]\ncalled = "bench"\nto = "sip:bench@127.0.0.1:{}"\n'
PORTS = 'ports = "10000-64999"\nthreads = 2\nrtp_timeout_s = 0'


def loaded(house, watched, calls, rate, rtcp="a=rtcp-mux"):
    """CPU ms a call of the watched process, with so many calls at this rate."""
    before, began = watched.cpu(), time.monotonic()
    caller = house.caller("load", "caller.xml", watched.address, "bench", calls, rate, rtcp=rtcp)
    house.finish(caller, "load", calls / rate * 3 + 30)
    spent = watched.cpu() - before
    return spent * 1e3 / calls, calls / (time.monotonic() - began)


def call_cost(options):
    """Interleaved runs of the server and of the floor."""
    with House() as house:
        callee = house.callee("callee", "callee.xml")
        floor_callee = house.callee("floor-callee", "callee.xml")
        server = house.server(ROUTE.format(callee.port), media=PORTS, limits="calls = 12000")
        floor = house.floor(floor_callee.port)
        for warm in (server, floor):
            loaded(house, warm, WARM_UP, options.rate)
        runs = {"server": [], "floor": []}
        threads = server.cpu_by_thread()
        for _ in range(options.runs):
            runs["floor"].append(floor_cost(house, floor, options))
            cost, achieved = loaded(house, server, options.calls, options.rate)
            runs["server"].append(cost)
            print(f"  floor {runs['floor'][-1]:.4f}, b2b {cost:.4f} ms a call, {achieved:.0f} calls/s", flush=True)
        total = options.calls * options.runs
        by_thread = {
            name: round((spent - threads.get(name, 0)) * 1e3 / total, 4)
            for name, spent in server.cpu_by_thread().items()
        }
        left = server.stop()
        check(left is not None and not any(left.values()), f"left after the calls: {left}")
        records = len(server.cdrs())
        expected = 2 * (total + WARM_UP)
        check(records == expected, f"{records} records of {expected}")
        return {
            "ms_per_call": round(median(runs["server"]), 4),
            "ms_per_call_runs": [round(run, 4) for run in runs["server"]],
            "floor_ms_per_call": round(median(runs["floor"]), 4),
            "ms_per_call_by_thread": {k: v for k, v in sorted(by_thread.items()) if v > 0.0001},
            "calls_per_s": options.rate,
            "calls": total,
        }


def floor_cost(house, floor, options):
    """The floor repeats nothing: where a buffer overflows a call may hang, and SIPp with it."""
    for _ in range(3):
        try:
            return loaded(house, floor, options.calls, options.rate)[0]
        except CallsFailed:
            print("  the floor lost a call: again", flush=True)
    print("the floor loses calls: the machine is too busy for this rate", flush=True)
    sys.exit(ONLY_SLOW)


def latency(options):
    with House() as house:
        callee = house.callee("callee", "callee.xml")
        server = house.server(ROUTE.format(callee.port), media=PORTS, limits="calls = 12000")
        loaded(house, server, 400, 200)
        capture = Capture(house, server.port)
        if not capture.works:
            print("  latency: no capture (dumpcap has no rights here)")
            return {}
        loaded(house, server, options.latency_calls, 200)
        found = {}
        for message, took in capture.finish().items():
            check(len(took) >= options.latency_calls * 0.99, f"only {len(took)} {message} were matched")
            found[message] = {
                "p50_ms": round(percentile(took, 0.5), 3),
                "p99_ms": round(percentile(took, 0.99), 3),
                "max_ms": round(max(took), 3),
                "count": len(took),
            }
        return found


def slab():
    """Bytes that the kernel holds for sockets and what belongs to them."""
    wanted = ("UDP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "eventpoll_pwq", "kmalloc")
    try:
        lines = Path("/proc/slabinfo").read_text().splitlines()[2:]
    except OSError:
        return None
    total = 0
    for name, active, _, size, *_ in (line.split() for line in lines):
        if name in wanted or name.startswith("kmalloc"):
            total += int(active) * int(size)
    return total


def held(options, count, rtcp):
    """With `count` calls held: memory of each, and what another call costs."""
    ramp = min(200.0, max(10.0, count / 5))
    load_calls, load_rate = options.curve_calls, 100
    hold = count / ramp + 6 + load_calls / load_rate * 2 + 12
    with House() as house:
        callee = house.callee("callee", "callee.xml", rtcp=rtcp)
        threads = 2 if rtcp == "a=rtcp-mux" else 4
        media = PORTS.replace("threads = 2", f"threads = {threads}")
        server = house.server(ROUTE.format(callee.port), media=media, limits="calls = 12000")
        loaded(house, server, 400, 200, rtcp)
        time.sleep(1)
        before, kernel, sockets = server.rss(), slab(), server.sockets()
        spent = server.cpu()
        caller = house.caller(
            "held", "caller.xml", server.address, "bench", count, ramp, hold_ms=int(hold * 1000), rtcp=rtcp
        )
        each = 2 if rtcp == "a=rtcp-mux" else 4
        wait_for(lambda: server.sockets() - sockets >= count * each, f"{count} calls to be up", count / ramp * 2 + 20, 0.5)
        time.sleep(1)
        setup = (server.cpu() - spent) * 1e3 / count
        rss, kernel_now = server.rss(), slab()
        idle = server.cpu()
        time.sleep(3)
        idle = (server.cpu() - idle) / 3
        began, cpu = time.monotonic(), server.cpu()
        loaded(house, server, load_calls, load_rate, rtcp)
        cost = (server.cpu() - cpu - idle * (time.monotonic() - began)) * 1e3 / load_calls
        # Every held call ends by BYE and its 200, or SIPp says that one failed.
        house.finish(caller, "held", hold * 2 + 60)
        wait_for(lambda: server.sockets() <= sockets + 128, "the sockets to be closed", 40)
        left = server.stop()
        check(left is not None and not any(left.values()), f"left after {count} held calls: {left}")
        return {
            "held": count,
            "rtcp": "mux" if each == 2 else "sockets",
            "ms_per_call": round(cost, 4),
            "setup_ms_per_call": round(setup, 4),
            "idle_percent": round(idle * 100, 3),
            "rss_kb_per_call": round((rss - before) / 1024 / count, 2),
            "rss_mb": round(rss / 2**20, 1),
            "kernel_kb_per_call": None if kernel is None else round((kernel_now - kernel) / 1024 / count, 2),
        }


def relay(options):
    """scripts/bench-relay.sh, at the end of everything else."""
    out = Path(options.json).with_suffix(".relay.json").resolve()
    command = ["scripts/bench-relay.sh", *(["quick"] if options.quick else []), str(out)]
    subprocess.run(command, cwd=ROOT, check=False)
    return json.loads(out.read_text()) if out.exists() else {}


# Calls before the first that count.
WARM_UP = 1_000
PROBLEMS, SLOW = [], []


def check(holds, words, problems=PROBLEMS):
    if not holds:
        problems.append(words)


def rows(found):
    """The issue's table: what, figure, goal, whether it holds; none: not measured."""
    cost, times = found.get("call", {}), found.get("latency", {})
    curve, phones = found.get("held", []), found.get("registrations", {})
    largest = max((row for row in curve if row["rtcp"] == "mux"), key=lambda row: row["held"], default={})
    wide = float(os.environ.get("B2B_BENCH_WIDE", "1"))
    # A machine that stands still for 50 ms once makes a hundredth of a thousand calls late.
    late = float(os.environ.get("B2B_BENCH_WIDE_LATENCY", wide))
    worst = max((row["p99_ms"] for row in times.values()), default=None)
    listed = [
        ("CPU per call, INVITE to BYE, no media, ms", cost.get("ms_per_call"), 0.4, wide),
        ("setup latency added, p99 of INVITE, 180, 200 at 200 calls/s, ms", worst, 2.0, late),
        ("resident memory per held call, KB", largest.get("rss_kb_per_call"), 25.0, wide),
        ("CPU per authenticated refresh, ms", phones.get("ms_per_refresh"), 0.1, wide),
    ]
    for what, figure, goal, most in listed:
        if figure is not None:
            yield what, figure, goal, figure <= goal * most
    if largest:
        yield "calls held at once", largest["held"], None, True
    if phones:
        yield "registrations held", phones["held"], None, True


def main():
    words = argparse.ArgumentParser()
    words.add_argument("parts", nargs="*", default=["call", "latency", "held", "registrations", "relay"])
    words.add_argument("--quick", action="store_true")
    words.add_argument("--json", default="target/bench-b2bua.json")
    words.add_argument("--rate", type=int, default=500)
    words.add_argument("--calls", type=int)
    words.add_argument("--runs", type=int)
    options = words.parse_args()
    options.calls = options.calls or (1000 if options.quick else 4000)
    options.runs = options.runs or (1 if options.quick else 5)
    options.latency_calls = 1000 if options.quick else 4000
    options.curve_calls = 300 if options.quick else 1000
    phones = 2_000 if options.quick else 100_000
    found = {"machine": machine()}
    steps = {
        "call": lambda: call_cost(options),
        "latency": lambda: latency(options),
        "held": lambda: [
            held(options, count, rtcp)
            for count, rtcp in ([(100, "a=rtcp-mux")] if options.quick else CURVE)
        ],
        "registrations": lambda: registrations.measure(phones, check),
        "relay": lambda: relay(options),
    }
    for part in options.parts:
        print(f"{part}:", flush=True)
        found[part] = steps[part]()
        print("  " + json.dumps(found[part]), flush=True)
    found["machine"]["load_at_end"] = round(os.getloadavg()[0], 2)
    Path(options.json).write_text(json.dumps(found, indent=1) + "\n")
    print()
    for what, figure, goal, holds in rows(found):
        limit = "" if goal is None else f"goal {goal}"
        print(f"{what:68} {figure:>10} {limit:10} {'' if holds else 'NOT HELD'}")
        check(holds, what, SLOW if what.endswith("ms") else PROBLEMS)
    for row in found.get("held", []):
        print(
            f"  with {row['held']:>5} held (RTCP: {row['rtcp']}): {row['ms_per_call']:.4f} ms a call, "
            f"{row['rss_kb_per_call']} KB each, kernel {row['kernel_kb_per_call']} KB, idle {row['idle_percent']} %"
        )
    print(f"written: {options.json}")
    verdict(PROBLEMS, SLOW)


CURVE = [(10, "a=rtcp-mux"), (100, "a=rtcp-mux"), (1000, "a=rtcp-mux"), (1000, "a=sendrecv"), (10_000, "a=rtcp-mux")]

if __name__ == "__main__":
    ending(main)

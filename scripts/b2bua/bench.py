"""See scripts/bench-b2bua.sh."""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from capture import Capture
from load import Load
from machine import (
    AT, BUILT, HERE, ONLY_SLOW, PORTS, ROOT, CallsFailed, House, Process, Server, arguments, conclude, median, wait_for)

FLOOR = Path(os.environ.get("B2B_FLOOR", BUILT / "examples/b2bua_floor"))
MUX, SOCKETS = "a=rtcp-mux", "a=sendrecv"
NUMBERS = itertools.count()
PROBLEMS, SLOW, TABLE = [], [], []
# The factor by which a figure may exceed its goal. One stall of 50 ms delays a hundredth of a thousand calls.
WIDE = float(os.environ.get("B2B_BENCH_WIDE", "1"))
WIDE_LATENCY = float(os.environ.get("B2B_BENCH_WIDE_LATENCY", WIDE))
# Warm-up calls.
WARM_UP = 1_000
# REGISTERs, not counting those that answer a challenge.
REGISTERED_PER_S = 1000
REFRESHED = 'b2b_registrar_total{result="refreshed"}'
CURVE = [(10, MUX), (100, MUX), (1000, MUX), (1000, SOCKETS), (10_000, MUX)]


def load(house, name, who, rtcp, *more):
    """A load that runs the scenario of a caller or callee, whose messages are fully defined for the capture and the
    descriptions."""
    scenario = ROOT / f"tests/sipp/load/{who}.xml"
    return Load(house, name, "--scenario", scenario, "--scenario-key", f"rtcp={rtcp}", *more)


def caller(house, watched, calls, rate, rtcp=MUX, hold_s=0):
    """A running caller: this many calls at this rate."""
    more = ["--rate", rate, "--calls", calls, "--hold-s", hold_s, "--watch-pid", watched.pid]
    return load(house, f"caller-{next(NUMBERS)}", "caller", rtcp, "--target", f"sip:bench@{watched.address}", *more)


def loaded(house, watched, calls, rate, rtcp=MUX):
    """The load's measurements of the watched process, with this many calls at this rate."""
    told = caller(house, watched, calls, rate, rtcp).finish(calls / rate * 3 + 30, calls)
    return told["watched"] | {"calls_per_s": calls / told["took_s"]}


def serving(house, callee, threads=2):
    return Server(house, HERE / "bench/b2bua.toml", callee=callee.address, threads=threads)


def call_cost(options):
    """Interleaved runs of the server and of the floor."""
    with House() as house:
        callee, floor_callee = (load(house, name, "callee", MUX) for name in ("callee", "floor-callee"))
        server, floor_at = serving(house, callee), f"{AT}:{next(PORTS)}"
        floor = Process(house, "floor", [FLOOR, floor_at, floor_callee.address], 0).ready("listening")
        floor.address = floor_at
        loaded(house, server, WARM_UP, options.rate)
        loaded(house, floor, WARM_UP, options.rate)
        runs, floors = [], []
        for _ in range(options.runs):
            floors.append(floor_cost(house, floor, options))
            runs.append(loaded(house, server, options.calls, options.rate))
            costs = f"floor {floors[-1]:.4f}, b2b {runs[-1]['cpu_ms_per_call']:.4f} ms a call"
            print(f"  {costs}, {runs[-1]['calls_per_s']:.0f} calls/s", flush=True)
        total = options.calls * options.runs
        callee.ended(total + WARM_UP)
        PROBLEMS.extend(server.stop())
        records = len(server.cdrs())
        check(records == 2 * (total + WARM_UP), f"{records} records of {total + WARM_UP} calls")
        costs = [run["cpu_ms_per_call"] for run in runs]
        by_thread = {it["name"]: round(it["cpu_s"] * 1e3 / options.calls, 4) for it in runs[-1]["threads"] if it["cpu_s"]}
        judged("CPU per call, INVITE to BYE, no media, ms", median(costs), 0.4)
        found = {"ms_per_call": median(costs), "floor_ms_per_call": median(floors), "ms_per_call_runs": costs}
        return found | {"ms_per_call_by_thread": by_thread, "calls_per_s": options.rate, "calls": total}


def floor_cost(house, floor, options):
    """The floor loses what exceeds its buffer; a call that ends for that reason is not the server's fault."""
    for _ in range(3):
        try:
            return loaded(house, floor, options.calls, options.rate)["cpu_ms_per_call"]
        except CallsFailed:
            print("  the floor lost a call: the machine is too busy for this rate", flush=True)
    sys.exit(ONLY_SLOW)


def delays(house, server, calls):
    """By message, what the server adds to it at 200 calls/s; none: no capture."""
    loaded(house, server, 400, 200)
    capture = Capture(house, int(server.address.rpartition(":")[2]))
    if not capture.is_alive():
        print("  latency: no capture (dumpcap has no rights here)")
        return {}
    loaded(house, server, calls, 200)
    found = {}
    for message, took in capture.finish().items():
        check(len(took) >= calls * 0.99, f"only {len(took)} {message} were matched")
        percentile = lambda share: round(sorted(took)[min(len(took) - 1, int(len(took) * share))], 3)
        times = {"p50_ms": percentile(0.5), "p99_ms": percentile(0.99), "max_ms": percentile(1)}
        found[message] = times | {"count": len(took)}
    return found


def latency(options):
    with House() as house:
        callee = load(house, "callee", "callee", MUX)
        found = delays(house, serving(house, callee), options.latency_calls)
        if not found:
            return found
        worst = max(row["p99_ms"] for row in found.values())
        judged("setup latency added, p99 of INVITE, 180, 200 at 200 calls/s, ms", worst, 2.0, WIDE_LATENCY)
        return found


def slab():
    """Bytes that the kernel holds for sockets and their data."""
    wanted = ("UDP", "sock_inode_cache", "filp", "dentry", "eventpoll_epi", "eventpoll_pwq")
    try:
        slabs = [line.split() for line in Path("/proc/slabinfo").read_text().splitlines()[2:]]
    except OSError:
        return None
    return sum(int(active) * int(size) for name, active, _, size, *_ in slabs if name in wanted or name.startswith("kmalloc"))


def held(options, count, rtcp):
    """With `count` calls held: memory of each, and the cost of another call."""
    ramp = min(200.0, max(10.0, count / 5))
    hold = count / ramp + 6 + options.curve_calls / 100 * 2 + 12
    each = 2 if rtcp == MUX else 4
    with House() as house:
        callee = load(house, "callee", "callee", rtcp)
        server = serving(house, callee, threads=each)
        loaded(house, server, 400, 200, rtcp)
        time.sleep(1)
        before, kernel, sockets, spent = server.rss(), slab(), server.sockets(), server.cpu()
        holder = caller(house, server, count, ramp, rtcp, hold)
        are_up = lambda: server.sockets() - sockets >= count * each
        wait_for(are_up, f"{count} calls to be up", count / ramp * 2 + 20, 0.5)
        time.sleep(1)
        setup, rss = (server.cpu() - spent) * 1e3 / count, server.rss()
        kernel_each = None if kernel is None else round((slab() - kernel) / 1024 / count, 2)
        idle = server.cpu()
        time.sleep(3)
        idle = (server.cpu() - idle) / 3
        others = loaded(house, server, options.curve_calls, 100, rtcp)
        cost = (others["cpu_s"] - idle * others["watched_s"]) * 1e3 / options.curve_calls
        holder.finish(hold * 2 + 60, count)
        callee.ended(400 + count + options.curve_calls)
        wait_for(lambda: server.sockets() <= sockets + 128, "the sockets to be closed", 40)
        PROBLEMS.extend(f"after {count} held calls: {words}" for words in server.stop())
        each, idle = round((rss - before) / 1024 / count, 2), round(idle * 100, 3)
        if options.quick or count == 10_000:
            judged("resident memory per held call, KB", each, 25.0, problems=PROBLEMS)
            judged("calls held at once", count)
        kind = "mux" if rtcp == MUX else "sockets"
        held_so = f"  with {count:>5} held (RTCP: {kind}): {cost:.4f} ms a call, {each} KB each"
        TABLE.append(f"{held_so}, kernel {kernel_each} KB, idle {idle} %")
        found = {"held": count, "rtcp": kind, "ms_per_call": round(cost, 4), "setup_ms_per_call": round(setup, 4)}
        found |= {"idle_percent": idle, "rss_mb": round(rss / 2**20, 1), "rss_kb_per_call": each}
        return found | {"kernel_kb_per_call": kernel_each}


def besides(server):
    """Original requests without a refresh yet."""
    told = server.metrics()
    return told["b2b_sip_requests_received_total"] - told["b2b_sip_absorbed_total"] - told[REFRESHED]


def registrations(count):
    """A load registers `count` users, and waits for their refreshes; the server keeps them in SQLite."""
    # Refreshes come at 0.45 to 0.5 of this, one by one in the order of registration: by then all have come.
    expires = max(8, round(count / REGISTERED_PER_S * 2.4))
    with House() as house:
        users = "".join(f'[[user]]\nname = "u{n}"\npassword = "secret-{n}"\n' for n in range(count))
        server = Server(house, HERE / "bench/registrar.toml", bindings=count + 10, users=users)
        (house.path / "users.csv").write_text("user,password\n" + "".join(f"u{n},secret-{n}\n" for n in range(count)))
        rss, cpu, begun = server.rss(), server.cpu(), time.monotonic()
        plan = {"plan": HERE / "bench/phones.toml", "server": server.address, "rate": REGISTERED_PER_S, "expires": expires}
        phones = Load(house, "phones", patience=count / REGISTERED_PER_S * 2 + 40, **plan)
        registering, took = (server.cpu() - cpu) * 1e3 / count, time.monotonic() - begun
        grown, others = (server.rss() - rss) / 1024 / count, besides(server)
        refreshed = lambda: server.metrics()[REFRESHED]
        wait_for(lambda: refreshed() > count / 10, "refreshes", expires * 2, 0.2)
        before, cpu, begun = refreshed(), server.cpu(), time.monotonic()
        wait_for(lambda: refreshed() - before >= min(count * 0.6, 30_000), "refreshes", expires * 2, 0.2)
        spent, seconds, done = server.cpu() - cpu, time.monotonic() - begun, refreshed() - before
        # A challenged or postponed refresh is one more request; some are on their way to the disk.
        wait_for(lambda: besides(server) - others <= count / 1000 + 3, "refreshes that are not challenged or put off", 10)
        told = phones.ended()["registrations"]
        check(told["registered"] == count, f"{told['registered']} of {count} users were registered at the end")
        server.stop()
        judged("CPU per authenticated refresh, ms", round(spent * 1e3 / done, 4), 0.1)
        judged("registrations held", told["registered"])
        return {
            "held": told["registered"],
            "ms_per_refresh": round(spent * 1e3 / done, 4),
            "ms_per_registration": round(registering, 4),
            "registrations_per_s": round(count / took),
            "rss_kb_per_binding": round(grown, 2),
            "failures": told["failures"],
            "refreshes_per_s": round(done / seconds),
        }


def relay(options):
    """Runs scripts/bench-relay.sh after everything else."""
    out = Path(options.json).with_suffix(".relay.json").resolve()
    subprocess.run(["scripts/bench-relay.sh", *["quick"][: options.quick], str(out)], cwd=ROOT, check=False)
    return json.loads(out.read_text()) if out.exists() else {}


def check(holds, words, problems=PROBLEMS):
    if not holds:
        problems.append(words)


def judged(what, figure, goal=None, wide=WIDE, problems=SLOW):
    """A line of the final table; the figure is compared with its goal, if there is one."""
    holds = goal is None or figure <= goal * wide
    TABLE.append(f"{what:68} {figure:>10} {f'goal {goal}' if goal else '':10} {'' if holds else 'NOT HELD'}")
    check(holds, what, problems)


def main():
    options = arguments(quick=False, json="target/bench-b2bua.json", rate=500, calls=0, runs=0)
    usual = (1000, 1, 300, 2000) if options.quick else (4000, 5, 1000, 100_000)
    options.latency_calls, runs, options.curve_calls, phones = usual
    options.calls, options.runs = options.calls or usual[0], options.runs or runs
    found, steps = {}, {
        "call": lambda: call_cost(options),
        "latency": lambda: latency(options),
        "held": lambda: [held(options, *row) for row in ([(100, MUX)] if options.quick else CURVE)],
        "registrations": lambda: registrations(phones),
        "relay": lambda: relay(options),
    }
    for part in options.words or steps:
        print(f"{part}:", flush=True)
        found[part] = steps[part]()
        print("  " + json.dumps(found[part]), flush=True)
    print("\n".join(TABLE))
    conclude(options.json, PROBLEMS, SLOW, **found)


if __name__ == "__main__":
    main()

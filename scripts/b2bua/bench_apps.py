"""See scripts/bench-apps.sh."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from string import Template

import app_house
from machine import PARTIES, CallsFailed, House, ending, machine, verdict, wait_for

TICKS = ['b2b_media_ticks_total{when="late"}', 'b2b_media_ticks_total{when="in_time"}']
PLANS = Path(__file__).with_name("bench_apps")
# Name, what it is, number, calls, percent that say something, codec, calls if quick.
CASES = [
    ("relay", "calls relayed, both ways", "relay", 200, 100, "pcmu", 30),
    ("prompt", "callers who hear a prompt, PCMU", "8000", 1000, 0, "pcmu", 100),
    ("prompt-opus", "callers who hear a prompt, Opus", "8000", 100, 0, "opus", 10),
    ("queue", "queued callers with music, PCMU", "8001", 300, 0, "pcmu", 50),
    ("room", "in one room at 16 kHz, 5 % speak, PCMU", "8100", 200, 5, "pcmu", 40),
    ("room8", "in one room at 8 kHz, 5 % speak, PCMU", "8108", 200, 5, "pcmu", 40),
    ("rooms", "in rooms of five at 16 kHz, 40 % speak, PCMU", "9{}", 500, 40, "pcmu", 50),
    ("rooms8", "in rooms of five at 8 kHz, 40 % speak, PCMU", "6{}", 500, 40, "pcmu", 50),
    ("recording", "calls relayed and recorded", "recorded", 200, 100, "pcmu", 30),
]


def config(callee):
    server, room = (Template((PLANS / name).read_text()) for name in ("b2bua.toml", "room.toml"))
    rooms = (room.substitute(name=f"{of}{n:03}", hz=hz) for of, hz in ((9, 16000), (6, 8000)) for n in range(100))
    return server.substitute(callee=callee) + "".join(rooms)


def is_over(load):
    """Never, or its calls failed."""
    if not load.is_alive():
        raise CallsFailed(f"calls did not stay up:\n{load.log.read_text()[-2000:]}")


def measured(house, server, case, options):
    name, what, number, calls, say, codec, few = case
    calls = few if options.quick else calls
    numbers = (number.format(f"{n // 5:03}") for n in range(calls))
    (house.path / f"{name}.csv").write_text("user,number\n" + "".join(f"caller,{number}\n" for number in numbers))
    load = app_house.load(house, name, PLANS / "held.toml", server=server.address, users=f"{name}.csv", calls=calls, say=say, codec=codec)
    wait_for(lambda: server.holdings()["calls"] == calls or is_over(load), f"{calls} calls", 60 + calls / 50, 0.2)
    time.sleep(options.settle)
    sleeps = ["taskset", "-c", "0", sys.executable, "-B", Path(__file__).with_name("idler.py")]
    idler = subprocess.Popen(sleeps, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    before, cpu, threads, load_cpu = server.metrics(), server.cpu(), server.cpu_by_thread(), load.cpu()
    began = time.monotonic()
    wait_for(lambda: time.monotonic() - began > options.seconds or is_over(load), "time", 60)
    used, load_used, took = server.cpu() - cpu, load.cpu() - load_cpu, time.monotonic() - began
    stalled = float(idler.communicate()[0])
    media = sum(t - threads.get(n, 0) for n, t in server.cpu_by_thread().items() if n.startswith("relay-"))
    after = server.metrics()
    code = load.end(signal.SIGINT, 90)
    # SIP's transactions stay for half a minute (RFC 3261 §17.2.2): they may.
    wait_for(lambda: not any(map(server.holdings().get, ("calls", "legs", "media_endpoints"))), "calls to end", 60, 0.2)
    late, ticks = (after[key] - before.get(key, 0) for key in TICKS)
    ticks += late
    return {
        **{"case": name, "what": what, "calls": calls},
        "cpu_percent": round(used / took * 100, 2),
        "cpu_percent_per_call": round(used / took * 100 / calls, 4),
        "media_thread_percent": round(media / took * 100, 2),
        "load_percent": round(load_used / took * 100, 1),
        "ticks_per_s": round(ticks / took),
        "late_percent": round(late / ticks * 100, 3) if ticks else None,
        "stalled_percent": stalled,
        "failed": code and f"{name}: exit code {code} of its load: {' '.join(load.log.read_text().split())[-800:]}",
    }


def main():
    words = argparse.ArgumentParser()
    words.add_argument("cases", nargs="*")
    words.add_argument("--json", default="target/bench-apps.json")
    options = words.parse_args()
    options.quick = "quick" in options.cases
    wanted = [case for case in options.cases if case != "quick"] or [case[0] for case in CASES]
    options.settle, options.seconds = (0.5, 1.5) if options.quick else (3, 15)
    limit = float(os.environ.get("B2B_BENCH_LATE", "0.1"))
    problems, slow, rows = [], [], []
    with House() as house:
        app_house.prompt(house.path / "prompts/long.wav", 440, 30 if options.quick else 120)
        callee = f"{PARTIES}:5070"
        app_house.load(house, "callee", PLANS / "callee.toml", callee=callee)
        media = 'ports = "10000-64999"\nthreads = 1\nrtp_timeout_s = 0'
        server = house.server(config(callee), media=media, limits="calls = 3000", http="on")
        for case in (case for case in CASES if case[0] in wanted):
            rows.append(row := measured(house, server, case, options))
            late = ""
            if row["late_percent"] is not None:
                late = f", {row['late_percent']:.3f} % of {row['ticks_per_s']} ticks/s late ({row['stalled_percent']:.3f} % by the machine)"
                if row["late_percent"] > limit + row["stalled_percent"]:
                    slow.append(f"{row['case']}{late}; {limit} more than the machine's are allowed")
            cpu = f"{row['cpu_percent']} % of a core, {row['cpu_percent_per_call']} % each"
            print(f"{row['calls']:>5} {row['what']}: {cpu}{late}; load {row['load_percent']} %", flush=True)
            problems += filter(None, [row["failed"]])
        left = server.stop()
        if left is None or any(left.values()):
            problems.append(f"left at the end: {left}")
    Path(options.json).write_text(json.dumps({"machine": machine(), "rows": rows, "problems": problems, "slow": slow}, indent=1) + "\n")
    verdict(problems, slow)


if __name__ == "__main__":
    ending(main)

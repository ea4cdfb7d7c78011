"""See scripts/bench-apps.sh."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import app_house
from machine import House, ending, machine, verdict, wait_for

ROOMS = 100
LATE = 'b2b_media_ticks_total{when="late"}'
IN_TIME = 'b2b_media_ticks_total{when="in_time"}'
CONFIG = """
[prompts]
folder = "prompts"

[recording]
folder = "recordings"

[[music]]
name = "default"
file = "long.wav"

[[user]]
name = "2001"
password = "nobody registers"

[[agent]]
name = "2001"

[[queue]]
name = "sales"
agents = ["2001"]
music = "default"
length = 1000
patience_s = 0
announce_s = 0

[[ivr]]
name = "main"

[[ivr.node]]
name = "hello"
kind = "play_prompt"
prompt = "long.wav"

[[conference]]
name = "hall"
most = 1000
announced = false

[[conference]]
name = "hall8"
most = 1000
announced = false
rate_hz = 8000

[[route]]
called = "8000"
app = "ivr/main"

[[route]]
called = "8001"
app = "queue/sales"

[[route]]
called = "8100"
app = "conference/hall"

[[route]]
called = "8108"
app = "conference/hall8"

[[route]]
called = "relay"
to = "sip:lab@127.0.0.1:{callee}"

[[route]]
called = "recorded"
to = "sip:lab@127.0.0.1:{callee}"
record = true
"""
# Name, what it is, number, calls, percent that say something, codec, calls if quick.
CASES = [
    ("relay", "calls relayed, both ways", "relay", 200, 100, "pcmu", 30),
    ("prompt", "callers who hear a prompt, PCMU", "8000", 1000, 0, "pcmu", 100),
    ("prompt-opus", "callers who hear a prompt, Opus", "8000", 100, 0, "opus", 10),
    ("queue", "queued callers with music, PCMU", "8001", 300, 0, "pcmu", 50),
    ("room", "in one room at 16 kHz, every 20th speaks, PCMU", "8100", 200, 5, "pcmu", 40),
    ("room8", "in one room at 8 kHz, every 20th speaks, PCMU", "8108", 200, 5, "pcmu", 40),
    ("rooms", "in rooms of five at 16 kHz, two speak in each, PCMU", "9{}", 500, 40, "pcmu", 50),
    ("rooms8", "in rooms of five at 8 kHz, two speak in each, PCMU", "6{}", 500, 40, "pcmu", 50),
    ("recording", "calls relayed and recorded", "recorded", 200, 100, "pcmu", 30),
]


def config(callee):
    rooms = ""
    for n in range(ROOMS):
        name = f"{n:03}"
        rooms += f'[[conference]]\nname = "wide{name}"\nannounced = false\n[[route]]\ncalled = "9{name}"\napp = "conference/wide{name}"\n'
        rooms += f'[[conference]]\nname = "narrow{name}"\nannounced = false\nrate_hz = 8000\n[[route]]\ncalled = "6{name}"\napp = "conference/narrow{name}"\n'
    return CONFIG.replace("{callee}", str(callee)) + rooms


def measured(house, server, case, options):
    name, what, number, calls, say, codec, few = case
    calls = few if options.quick else calls
    environment = {**os.environ, "APP_LOAD_CODEC": codec}
    words = ("held", number, str(calls), str(say))
    load = app_house.load(house, name, server, *words, env=environment, stdin=subprocess.PIPE)
    app_house.up(load)
    time.sleep(options.settle)
    idler = subprocess.Popen(
        ["taskset", "-c", "0", sys.executable, "-B", str(Path(__file__).with_name("idler.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    before, cpu, threads, load_cpu = server.metrics(), server.cpu(), server.cpu_by_thread(), load.cpu()
    began = time.monotonic()
    time.sleep(options.seconds)
    used, load_used, took = server.cpu() - cpu, load.cpu() - load_cpu, time.monotonic() - began
    stalled = float(idler.communicate()[0])
    media = sum(t - threads.get(n, 0) for n, t in server.cpu_by_thread().items() if n.startswith("relay-"))
    after = server.metrics()
    load.child.stdin.write(b"\n")
    load.child.stdin.flush()
    load.child.wait(90)
    told = app_house.counted(load)
    # SIP's transactions stay for half a minute (RFC 3261 §17.2.2): they may.
    wait_for(lambda: not any(map(server.holdings().get, ("calls", "legs", "media_endpoints"))), "calls to end", 60, 0.2)
    grown = {key: after[key] - before.get(key, 0) for key in after}
    ticks, late = grown[LATE] + grown[IN_TIME], grown[LATE]
    return {
        "case": name,
        "what": what,
        "calls": calls,
        "cpu_percent": round(used / took * 100, 2),
        "cpu_percent_per_call": round(used / took * 100 / calls, 4),
        "media_thread_percent": round(media / took * 100, 2),
        "load_percent": round(load_used / took * 100, 1),
        "ticks_per_s": round(ticks / took),
        "late_percent": round(late / ticks * 100, 3) if ticks else None,
        "stalled_percent": stalled,
        "told": told,
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
        callee = house.callee("callee", "callee.xml", "-rtp_echo", rtcp="a=sendrecv")
        server = house.server(
            config(callee.port),
            media='ports = "10000-64999"\nthreads = 1\nrtp_timeout_s = 0',
            limits="calls = 3000",
            http="on",
        )
        for case in CASES:
            if case[0] not in wanted:
                continue
            row = measured(house, server, case, options)
            rows.append(row)
            late = "" if row["late_percent"] is None else f", {row['late_percent']:.3f} % of {row['ticks_per_s']} ticks/s late ({row['stalled_percent']:.3f} % by the machine)"
            print(
                f"{row['calls']:>5} {row['what']}: {row['cpu_percent']} % of a core, "
                f"{row['cpu_percent_per_call']} % each{late}; load {row['load_percent']} %",
                flush=True,
            )
            if row["late_percent"] is not None and row["late_percent"] > limit + row["stalled_percent"]:
                slow.append(f"{row['case']}: {row['late_percent']} % of the ticks are late, {limit} and the machine's {row['stalled_percent']} are allowed")
            if row["told"]["over_before"]:
                problems.append(f"{row['case']}: {row['told']['over_before']} calls ended by themselves")
        left = server.stop()
        if left is None or any(left.values()):
            problems.append(f"left at the end: {left}")
    Path(options.json).write_text(json.dumps({"machine": machine(), "rows": rows, "problems": problems, "slow": slow}, indent=1) + "\n")
    verdict(problems, slow)


if __name__ == "__main__":
    ending(main)

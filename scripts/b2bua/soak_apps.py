"""See scripts/soak-apps.sh."""

import argparse
import json
import random
import signal
import sys
import threading
import time

import app_house
from machine import House, conclude, ending, free_port, machine, median, wait_for
from call_kinds import user_of
from soak import slope

USERS = ["1001", "2001", "2002", "2003", "2004", "2005"]
# It is killed again and again.
MORTAL = "2005"
CONFIG = """
[prompts]
folder = "prompts"

[recording]
folder = "recordings"

[[music]]
name = "default"
tone = "350+440"

[[queue]]
name = "sales"
agents = ["2001", "2002", "2003", "2004", "2005"]
welcome = "welcome.wav"
music = "default"
position = "position.wav"
wait = "position.wav"
announce_s = 3
ring_s = 4
wrap_up_s = 1
rest_s = 1
misses = 0
length = 20
patience_s = 15
timeout_to = "conference/open"
full_to = "ivr/main"
leave = { 9 = "ivr/main" }

[[ivr]]
name = "main"

[[ivr.node]]
name = "hello"
kind = "play_prompt"
prompt = "welcome.wav"
next = "menu"

[[ivr.node]]
name = "menu"
kind = "menu"
prompt = "menu.wav"
choices = { 1 = "sales", 2 = "room", 3 = "number", "*" = "menu" }
first_s = 2
tries = 2
no_input = "bye"
invalid = "bye"

[[ivr.node]]
name = "number"
kind = "collect_input"
prompt = "position.wav"
variable = "number"
min = 3
max = 6
first_s = 2
no_input = "bye"
invalid = "bye"
next = "said"

[[ivr.node]]
name = "said"
kind = "play_prompt"
prompt = ["position.wav", "digits:${number}"]
next = "bye"

[[ivr.node]]
name = "sales"
kind = "queue"
to = "sales"

[[ivr.node]]
name = "room"
kind = "conference"
to = "open"

[[ivr.node]]
name = "bye"
kind = "play_prompt"
prompt = "tone:440:500"

[[conference]]
name = "open"
recordings = "rooms"
then = "ivr/main"

[[conference]]
name = "closed"
pin = "4711"
moderator_pin = "8150"
needs_moderator = true

[[park]]
name = "lot"
slots = "701-708"
timeout_s = 5
ring_s = 5
# An agent who parks somebody would be called by the lot, of which its queue knows nothing.
back_to = "user/1001"

[[route]]
called = "8000"
app = "ivr/main"

[[route]]
called = "8001"
app = "queue/sales"

[[route]]
called = "8100"
app = "conference/open"

[[route]]
called = "8101"
app = "conference/closed"

[[route]]
called = '70\\d'
app = "park/lot"

[[route]]
called = '1\\d{3}'
to = "user/$0"
record = true
timeout_s = 8
"""


def config():
    users = "".join(f'[[user]]\nname = "{name}"\npassword = "b2b-load-{name}"\n' for name in USERS)
    agents = "".join(f'[[agent]]\nname = "{name}"\n' for name in USERS if name != "1001")
    return CONFIG + users + agents


def mortal(house, server, over, lives):
    """An agent that is killed, and comes back at the same address."""
    port = free_port()
    while not over.is_set():
        agent = app_house.load(house, f"{MORTAL}-{lives[0]}", server, "agent", MORTAL, f"127.0.0.1:{port}")
        lives[0] += 1
        over.wait(random.uniform(4, 20))
        agent.end(signal.SIGKILL)
        agent.log.unlink()
        house.processes.remove(agent)
        over.wait(random.uniform(0, 3))


def consistent(records, told, folder):
    """In words, where records, files and the load differ."""
    problems = []
    inbound = [it for it in records if it["direction"] == "inbound"]
    expected = {number: dict(counts) for number, counts in told["callers"].items()}
    dialled = sum(agent["dialled"] for agent in told["agents"].values())
    if dialled:
        expected["*46"] = {"placed": dialled}
    for number, counts in expected.items():
        own = [it for it in inbound if user_of(it["callee"]) == number]
        placed = counts["placed"] - counts.get("unsent", 0)
        if len(own) != placed:
            problems.append(f"{number}: {len(own)} inbound records of {placed} calls")
        answered = sum(it["disposition"] == "ANSWERED" for it in own)
        if "answered" in counts and not counts["answered"] <= answered <= counts["answered"] + counts["given_up"]:
            problems.append(f"{number}: {answered} records are answered, {counts['answered']} calls were")
        for what in ("unsent", "stuck"):
            if counts.get(what):
                problems.append(f"{number}: {counts[what]} calls {what}")
    strangers = {user_of(it["callee"]) for it in inbound} - set(expected)
    if strangers:
        problems.append(f"inbound records of {sorted(strangers)}, whom nobody called")
    for name, agent in told["agents"].items():
        legs = [it for it in records if it["direction"] == "outbound" and user_of(it["callee"]) == name]
        if len(legs) != agent["offered"]:
            problems.append(f"{name}: {len(legs)} outbound records, {agent['offered']} calls came")
        if agent["stuck"]:
            problems.append(f"{name}: {agent['stuck']} calls hung")
        if name != "1001" and agent["twice"]:
            problems.append(f"{name}: was called {agent['twice']} times while it had a call")
    named = {it["variables"]["recording"] for it in records if "recording" in it.get("variables", {})}
    files = {str(path.relative_to(folder.parent)) for path in folder.rglob("*.wav")}
    open_ones = list(folder.rglob(".*.part"))
    if open_ones:
        problems.append(f"{len(open_ones)} recordings are not finished")
    if len(named) > len(files):
        problems.append(f"{len(named)} recordings are named in records, {len(files)} are there")
    return problems, len(files)


def main():
    words = argparse.ArgumentParser()
    words.add_argument("minutes", type=float, nargs="?", default=30)
    words.add_argument("--rate", type=float, default=3)
    words.add_argument("--json", default="target/soak-apps.json")
    words.add_argument("--bytes-per-call", type=int, default=200)
    words.add_argument("--noise-kb", type=int, default=2048)
    options = words.parse_args()
    seconds = round(options.minutes * 60)
    problems, series = [], []
    with House() as house:
        (house.path / "rooms").mkdir()
        for name, length in (("welcome", 1.0), ("menu", 2.0), ("position", 0.3)):
            app_house.prompt(house.path / f"prompts/{name}.wav", 500, length)
        for digit in range(10):
            app_house.prompt(house.path / f"prompts/digits/{digit}.wav", 300 + 50 * digit, 0.2)
        server = house.server(
            config(),
            media='ports = "10000-64999"\nthreads = 2\nrtp_timeout_s = 5',
            limits="calls = 1000",
            server='drain_s = 5\nstore = "memory"',
            trusted='"127.0.0.2"',
            http="on",
        )
        baseline = server.descriptors()
        callers = app_house.load(house, "mix", server, "mix", seconds, options.rate)
        app_house.up(callers)
        began, cpu, load_cpu = time.monotonic(), server.cpu(), callers.cpu()
        over, lives = threading.Event(), [0]
        killer = threading.Thread(target=mortal, args=(house, server, over, lives), daemon=True)
        killer.start()
        most, said = 0, began
        while callers.is_alive() and server.is_alive():
            time.sleep(1)
            now = time.monotonic()
            if now - began > seconds + 300:
                problems.append("the callers did not end")
                break
            series.append((now - began, server.rss()))
            used = server.cpu() - cpu
            if callers.is_alive():
                load_used = callers.cpu() - load_cpu
            if now - said > 60:
                said = now
                calls = sum(v for k, v in server.metrics().items() if k.startswith("b2b_calls{"))
                most = max(most, calls)
                print(
                    f"{(now - began) / 60:.0f} min: {calls:.0f} calls now, {series[-1][1] // 1024} KB, server "
                    f"{used / (now - began) * 100:.1f} %, load {load_used / (now - began) * 100:.1f} % of a core",
                    flush=True,
                )
        took = time.monotonic() - began
        over.set()
        killer.join()
        if not server.is_alive():
            sys.exit(f"the server has ended:\n{server.log.read_text()[-3000:]}")
        told = app_house.counted(callers)
        wait_for(lambda: server.is_quiet(0), "nothing to be held", 100, 0.5)
        held, metrics = server.holdings(), server.metrics()
        problems += server.not_let_go(baseline)
        for name in ("b2b_handler_panics_total", "b2b_illegal_events_total", 'b2b_records_total{result="lost"}'):
            if metrics.get(name):
                problems.append(f"{name} is {metrics[name]:.0f}")
        # What is kept of ended calls, and of sounds, is filled first.
        late = [it for it in series if it[0] > min(took / 2, 1500)]
        quarter = max(1, len(late) // 4)
        grown = median([y for _, y in late[-quarter:]]) - median([y for _, y in late[:quarter]])
        between = (late[-1][0] - late[0][0]) * 0.75
        allowed = options.noise_kb * 1024 + options.bytes_per_call * between * options.rate
        if grown > allowed:
            problems.append(f"memory grew by {grown / 1024:.0f} KB in {between:.0f} s, {allowed / 1024:.0f} are allowed")
        left = server.stop()
        if left is None or any(left.values()):
            problems.append(f"left at the end: {left}")
        records = server.cdrs()
        wrong, recordings = consistent(records, told, house.path / "recordings")
        problems += wrong
        for line in server.log.read_text().splitlines():
            if " ERROR " in line or "panicked" in line:
                problems.append(f"the server's log: {line[:300]}")
                break
        result = {
            "machine": machine(),
            "minutes": options.minutes,
            "told": told,
            "records": len(records),
            "recordings": recordings,
            "agents_killed": lives[0],
            "calls_at_once": most,
            "cpu_percent": round(used / took * 100, 1),
            "load_cpu_percent": round(load_used / took * 100, 1),
            "ticks": {k: v for k, v in metrics.items() if k.startswith("b2b_media_ticks")},
            "rss_kb_first_last": [series[0][1] // 1024, series[-1][1] // 1024],
            "rss_kb_per_hour": round(slope(late) * 3600 / 1024),
            "grown_kb": grown // 1024,
            "allowed_kb": int(allowed / 1024),
            "holdings": held,
            "left": left,
            "problems": problems,
            "rss_kb_series": [[round(t, 1), y // 1024] for t, y in series],
        }
    shown = {key: value for key, value in result.items() if key != "rss_kb_series"}
    conclude(options.json, result, json.dumps(shown, indent=1))


if __name__ == "__main__":
    ending(main)

"""See scripts/soak-apps.sh."""

import argparse
import json
import random
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import app_house
from call_kinds import user_of
from machine import PARTIES, House, close, conclude, ending, machine, wait_for
from soak import memory

PLANS = Path(__file__).with_name("soak_apps")
# Opus costs twenty times as much: a call in ten.
CODECS = {"pcma": 0.3, "pcmu": 0.3, "g722": 0.3, "opus": 0.1}
# Who stays; 2004 comes and goes, 2005 is killed again and again.
AGENTS = {"1001": "pcma", "2001": "pcma", "2002": "opus", "2003": "pcma"}
GOES = {"2004": signal.SIGTERM, "2005": signal.SIGKILL}
# By then an agent's call is over for its queue, too, s.
NOTICED = 0.5
NEVER = ["b2b_handler_panics_total", "b2b_illegal_events_total", 'b2b_records_total{result="lost"}']


class Loads:
    """Loads under way, and what they have told at their end."""

    def __init__(self, house, server, problems):
        self.house, self.server, self.problems, self.told, self.killed = house, server, problems, {}, 0

    def start(self, name, plan, **filled):
        return app_house.load(self.house, name, PLANS / plan, server=self.server.address, **filled)

    def ended(self, process, how=signal.SIGTERM):
        """Ends it; a call that failed is a problem."""
        code = process.end(how, 60)
        self.house.processes.remove(process)
        log, report = process.log, process.log.with_suffix("") / "load.json"
        self.killed += how == signal.SIGKILL
        if report.exists():
            self.told[log.stem] = json.loads(report.read_text())
        if code and how != signal.SIGKILL:
            self.problems.append(f"{log.stem}: exit code {code}: {' '.join(log.read_text().split())[-800:]}")

    def comes_and_goes(self, user, over):
        """An agent who is ended again and again, and comes back at the same address."""
        lives = 0
        while not over.is_set():
            agent = self.start(f"{user}-{lives}", "agents.toml", user=user, codec="pcma", at=f"{PARTIES}:{user}")
            lives += 1
            over.wait(random.uniform(4, 20))
            self.ended(agent, GOES[user])
            over.wait(random.uniform(0, 3))

    def wrong(self, records):
        """In words, where records, recordings and the loads differ."""
        folder = self.house.path / "recordings"
        problems, placed, answered, offered = [], Counter(), Counter(), Counter()
        for name, one in self.told.items():
            for number, side in one.get("kinds", {}).items():
                placed[number] += side["begun"]
                answered[number] += side["answered"]
            offered[name.split("-")[0]] += one.get("callees", {}).get("begun", 0)
        found = {"inbound": defaultdict(list), "outbound": defaultdict(list)}
        for it in records:
            number = user_of(it["callee"])
            found[it["direction"]]["701 to 708" if "701" <= number <= "708" else number].append(it)
        inbound, outbound = found.values()
        for number in sorted({*placed, *inbound}):
            own = inbound[number]
            if len(own) != placed[number]:
                problems.append(f"{number}: {len(own)} inbound records of {placed[number]} calls")
            up = [it["billmsec"] for it in own if it["disposition"] == "ANSWERED"]
            # An answer may cross with the caller's giving up.
            if not sum(ms > 1000 for ms in up) <= answered[number] <= len(up):
                problems.append(f"{number}: {len(up)} records are answered, {answered[number]} calls were")
        for name in sorted({*AGENTS, *GOES, *outbound}):
            # An agent who goes refuses calls by 480; who is killed tells nothing.
            came = sum(it["sip_status"] != 480 or name not in GOES for it in outbound[name])
            if GOES.get(name) != signal.SIGKILL and came != offered[name]:
                problems.append(f"{name}: {came} outbound records, {offered[name]} calls came")
            times = sorted((datetime.fromisoformat(it["start"]).timestamp(), it["duration_ms"] / 1000) for it in outbound[name])
            twice = sum(start + took - NOTICED > after for (start, took), (after, _) in zip(times, times[1:]))
            if name != "1001" and twice:
                problems.append(f"{name}: was called {twice} times while it had a call")
        named = {it.get("variables", {}).get("recording") for it in records} - {None}
        files, open_ones = list(folder.rglob("*.wav")), list(folder.rglob(".*.part"))
        if open_ones or len(named) > len(files):
            problems.append(f"{len(open_ones)} recordings are not finished; {len(named)} are named in records, {len(files)} are there")
        self.counts = {"placed": placed, "answered": answered, "offered": offered, "recordings": len(files), "records": len(records)}
        return problems


def main():
    words = argparse.ArgumentParser()
    words.add_argument("minutes", type=float, nargs="?", default=30)
    words.add_argument("--json", default="target/soak-apps.json")
    for name, usual in (("--rate", 3.0), ("--bytes-per-call", 200), ("--noise-kb", 2048)):
        words.add_argument(name, type=type(usual), default=usual)
    options = words.parse_args()
    seconds = round(options.minutes * 60)
    problems, series = [], []
    with House() as house:
        (house.path / "rooms").mkdir()
        for name, length in {"welcome": 1.0, "menu": 2.0, "position": 0.3, **{f"digits/{n}": 0.2 for n in range(10)}}.items():
            app_house.prompt(house.path / f"prompts/{name}.wav", 500, length)
        (house.path / "slots.csv").write_text("\n".join(["user,number", *(f"caller,70{n}" for n in range(1, 9))]))
        for user in (*AGENTS, *GOES):
            (house.path / f"{user}.csv").write_text(f"user,password\n{user},secret-{user}\n")
        keys = {"server": 'drain_s = 5\nstore = "memory"', "limits": "calls = 1000", "http": "on", "trusted": '"127.0.0.2"'}
        media = 'ports = "10000-64999"\nthreads = 2\nrtp_timeout_s = 5'
        server = house.server((PLANS / "b2bua.toml").read_text(), media=media, **keys)
        baseline, loads, over = server.descriptors(), Loads(house, server, problems), threading.Event()
        others = [loads.start(user, "agents.toml", user=user, codec=codec, at="127.0.0.1:0") for user, codec in AGENTS.items()]
        others.append(loads.start("codes", "codes.toml"))
        going = [threading.Thread(target=loads.comes_and_goes, args=(user, over), daemon=True) for user in GOES]
        for thread in going:
            thread.start()
        callers = [loads.start(codec, "callers.toml", codec=codec, rate=options.rate * share) for codec, share in CODECS.items()]
        began, cpu, now = time.monotonic(), server.cpu(), 0
        while now < seconds and server.is_alive():
            time.sleep(1)
            now = time.monotonic() - began
            series.append((now, server.rss()))
            percent = [round(used / now * 100, 1) for used in (server.cpu() - cpu, sum(load.cpu() for load in callers if load.is_alive()))]
            if len(series) % 60 == 30:
                calls = server.holdings()["calls"]
                print(f"{now / 60:.1f} min: {calls} calls, {series[-1][1] // 1024} KB, CPU of server and callers: {percent} %", flush=True)
        if not server.is_alive():
            sys.exit(f"the server has ended:\n{server.log.read_text()[-3000:]}")
        # A second signal would end one at once.
        for load in callers:
            load.child.send_signal(signal.SIGINT)
        for load in callers:
            load.child.wait(60)
            loads.ended(load)
        over.set()
        for thread in going:
            thread.join()
        for load in others:
            loads.ended(load)
        wait_for(lambda: server.is_quiet(0), "nothing to be held", 100, 0.5)
        metrics = server.metrics()
        problems += server.not_let_go(baseline)
        problems += [f"{name} is {metrics[name]:.0f}" for name in NEVER if metrics.get(name)]
        # What is kept of ended calls, and of sounds, is filled first.
        figures = memory(series, min(series[-1][0] / 2, 1500), options, problems)
        close(loads, server, problems)
        log = server.log.read_text().splitlines()
        problems += [f"the server's log: {line[:300]}" for line in log if " ERROR " in line or "panicked" in line][:1]
        result = {
            "machine": machine(),
            "minutes": options.minutes,
            **loads.counts,
            "agents_killed": loads.killed,
            "cpu_percent_of_server_and_callers": percent,
            "ticks": {k: v for k, v in metrics.items() if k.startswith("b2b_media_ticks")},
            "problems": problems,
            **figures,
        }
    shown = {key: value for key, value in result.items() if key != "rss_kb_series"}
    conclude(options.json, result, json.dumps(shown, indent=1))


if __name__ == "__main__":
    ending(main)

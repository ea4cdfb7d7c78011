"""See scripts/soak-apps.sh."""

import json
import random
import signal
import sys
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from load import Load, prompt
from machine import HERE, PARTIES, House, Server, arguments, conclude, wait_for
from soak import allowed_kb, memory, user_of

PLANS = HERE / "soak_apps"
# Opus costs twenty times as much: one call in ten.
CODECS = {"pcma": 0.3, "pcmu": 0.3, "g722": 0.3, "opus": 0.1}
# Agents who stay; 2004 comes and goes, 2005 is killed repeatedly.
AGENTS = {"1001": "pcma", "2001": "pcma", "2002": "opus", "2003": "pcma"}
GOES = {"2004": signal.SIGTERM, "2005": signal.SIGKILL}
# After this time an agent's call is over for its queue, too, s.
NOTICED = 0.5


class Loads:
    """Running loads, and their output at their end."""

    def __init__(self, house, server, problems):
        self.house, self.server, self.problems, self.told, self.killed = house, server, problems, {}, 0

    def start(self, name, plan, *flags, **words):
        return Load(self.house, name, *flags, plan=PLANS / plan, server=self.server.address, **words)

    def agent(self, user, codec="pcma", at="127.0.0.1:0", life=""):
        return self.start(user + life, "agents.toml", user=user, codec=codec, at=at)

    def ended(self, load, how=signal.SIGINT, patience=60):
        """Ends it; a call that failed is a problem."""
        self.killed += how == signal.SIGKILL
        if how == signal.SIGKILL:
            load.end(how)
        else:
            self.told[load.name] = load.told(patience, how)
            if code := load.child.returncode:
                self.problems.append(f"{load.name}: exit code {code}: {' '.join(load.said().split())[-800:]}")

    def comes_and_goes(self, user, over):
        """An agent who is killed repeatedly and comes back at the same address."""
        lives = 0
        while not over.is_set():
            agent = self.agent(user, at=f"{PARTIES}:{user}", life=f"-{lives}")
            lives += 1
            over.wait(random.uniform(4, 20))
            self.ended(agent, GOES[user])
            over.wait(random.uniform(0, 3))

    def wrong(self, records):
        """As text, where records, recordings and the loads differ."""
        problems, placed, answered, offered = [], Counter(), Counter(), Counter()
        for name, one in self.told.items():
            for number, side in one["kinds"].items():
                placed[number] += side["begun"]
                answered[number] += side["answered"]
            offered[name.split("-")[0]] += one["callees"]["begun"]
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
            # An answer may cross the caller's hang-up.
            if not sum(ms > 1000 for ms in up) <= answered[number] <= len(up):
                problems.append(f"{number}: {len(up)} records are answered, {answered[number]} calls were")
        for name in sorted({*AGENTS, *GOES, *outbound}):
            # An agent who leaves refuses calls with 480; a killed one sends nothing.
            came = sum(it["sip_status"] != 480 or name not in GOES for it in outbound[name])
            if GOES.get(name) != signal.SIGKILL and came != offered[name]:
                problems.append(f"{name}: {came} outbound records, {offered[name]} calls came")
            times = sorted((datetime.fromisoformat(it["start"]).timestamp(), it["duration_ms"] / 1000) for it in outbound[name])
            twice = sum(start + took - NOTICED > after for (start, took), (after, _) in zip(times, times[1:]))
            if name != "1001" and twice:
                problems.append(f"{name}: was called {twice} times while it had a call")
        named = {it.get("variables", {}).get("recording") for it in records} - {None}
        folder = self.house.path / "recordings"
        files, open_ones = list(folder.rglob("*.wav")), list(folder.rglob(".*.part"))
        if open_ones or len(named) > len(files):
            problems.append(f"{len(open_ones)} recordings are not finished; {len(named)} are named in records, {len(files)} are there")
        counts = {"placed": placed, "answered": answered, "offered": offered, "agents_killed": self.killed}
        return problems, counts | {"recordings": len(files), "records": len(records)}


def main():
    options = arguments(rate=3.0, bytes_per_call=200, noise_kb=2048, json="target/soak-apps.json")
    minutes = float((options.words or [30])[0])
    problems = []
    with House() as house:
        (house.path / "rooms").mkdir()
        for name, length in {"welcome": 1.0, "menu": 2.0, "position": 0.3, **{f"digits/{key}": 0.2 for key in (*range(10), "star")}}.items():
            prompt(house.path / f"prompts/{name}.wav", length)
        (house.path / "slots.csv").write_text("\n".join(["user,number", *(f"caller,70{n}" for n in range(1, 9))]))
        for user in (*AGENTS, *GOES):
            (house.path / f"{user}.csv").write_text(f"user,password\n{user},secret-{user}\n")
        server = Server(house, PLANS / "b2bua.toml").rests()
        loads, over = Loads(house, server, problems), threading.Event()
        others = [loads.agent(user, codec) for user, codec in AGENTS.items()]
        others.append(loads.start("codes", "codes.toml"))
        house.callback(over.set)
        pool = ThreadPoolExecutor()
        going = [pool.submit(loads.comes_and_goes, user, over) for user in GOES]
        words = {"seconds": minutes * 60, "grown_kb": allowed_kb(options, minutes * 60 * options.rate * 3 / 8)}
        callers = []
        for codec, share in CODECS.items():
            words |= {"codec": codec, "rate": options.rate * share}
            callers.append(loads.start(codec, "callers.toml", "--watch-pid", server.pid, **words))
        for load in callers:
            loads.ended(load, None, minutes * 60 + 90)
        if not server.is_alive():
            sys.exit(f"the server has ended:\n{server.said()[-3000:]}")
        over.set()
        for agent in going:
            agent.result()
        for load in others:
            loads.ended(load)
        wait_for(lambda: server.is_quiet(0), "nothing to be held", 100, 0.5)
        metrics = server.metrics()
        problems += server.not_let_go() + server.never() + server.stop()
        bad = [line for line in server.said().splitlines() if " ERROR " in line or "panicked" in line]
        problems += [f"the server's log: {line[:300]}" for line in bad[:1]]
        wrong, figures = loads.wrong(server.cdrs())
    told = loads.told[callers[0].name]
    figures |= {"minutes": minutes, "cpu_percent": told["watched"]["cpu_pct"], **memory(told)}
    figures["ticks"] = {k: v for k, v in metrics.items() if k.startswith("b2b_media_ticks")}
    print(json.dumps({key: value for key, value in figures.items() if key != "rss_kb_series"}, indent=1))
    conclude(options.json, problems + wrong, **figures)


if __name__ == "__main__":
    main()

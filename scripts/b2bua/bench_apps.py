"""See scripts/bench-apps.sh."""

import os
import signal
import time
from string import Template

from load import Load, Measure, prompt
from machine import BINARY, HERE, PARTIES, House, Server, arguments, conclude, wait_for

PLANS = HERE / "bench_apps"
# Name, description, number, calls, percent that send audio, codec, calls if quick.
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
    # The callee has PCMU only.
    ("transcoded-opus", "calls between Opus and PCMU, both ways", "relay", 50, 100, "opus", 10),
    ("transcoded-g722", "calls between G.722 and PCMU, both ways", "relay", 200, 100, "g722", 30),
    ("voicemail", "callers who leave a message", "8200", 100, 100, "pcmu", 20),
]


def rooms():
    """Rooms with five callers, as configuration."""
    room = Template((PLANS / "room.toml").read_text())
    return "".join(room.substitute(name=f"{of}{n:03}", hz=hz) for of, hz in ((9, 16000), (6, 8000)) for n in range(100))


def measured(server, case, quick):
    """The figures of a case and of its finished load."""
    name, what, number, calls, say, codec, few = case
    calls, house = few if quick else calls, server.house
    numbers = (number.format(f"{n // 5:03}") for n in range(calls))
    (house.path / f"{name}.csv").write_text("user,number\n" + "".join(f"caller,{number}\n" for number in numbers))
    plan = {"plan": PLANS / "held.toml", "users": f"{name}.csv", "calls": calls, "say": say, "codec": codec}
    before = server.rss()
    load = Load(house, name, server=server.address, **plan)
    # A load whose calls do not stay up ends with an exit code.
    wait_for(lambda: server.holdings()["calls"] == calls or not load.is_alive(), f"{calls} calls", 60 + calls / 50, 0.2)
    time.sleep(0.5 if quick else 3)
    measure = Measure(server, [load])
    time.sleep(1.5 if quick else 15)
    row = {"case": name, "what": what, "calls": calls, "kb_each": round((server.rss() - before) / calls / 1024, 1)}
    row |= measure.row()
    load.end(signal.SIGINT, 90)
    # SIP transactions stay for half a minute (RFC 3261 §17.2.2), which is allowed.
    wait_for(lambda: not any(map(server.holdings().get, ("calls", "legs", "media_endpoints"))), "calls to end", 60, 0.2)
    return row, load


def main():
    options = arguments(json="target/bench-apps.json")
    quick = "quick" in options.words
    wanted = [word for word in options.words if word != "quick"] or [case[0] for case in CASES]
    limit = float(os.environ.get("B2B_BENCH_LATE", "0.1"))
    problems, slow, rows = [], [], []
    with House() as house:
        prompt(house.path / "prompts/long.wav", 30 if quick else 120)
        callee = f"{PARTIES}:5070"
        Load(house, "callee", plan=PLANS / "callee.toml", callee=callee)
        binary = os.environ.get("B2B_SERVER", BINARY)
        server = Server(house, PLANS / "b2bua.toml", binary=binary, callee=callee, rooms=rooms())
        for case in (case for case in CASES if case[0] in wanted):
            row, load = measured(server, case, quick)
            rows.append(row)
            late = ""
            if row["late_percent"] is not None:
                late = f", {row['late_percent']} % of {row['ticks_per_s']} ticks/s late ({row['stalled_percent']} % by the machine)"
                if row["late_percent"] > limit + row["stalled_percent"]:
                    slow.append(f"{row['case']}{late}; {limit} more than the machine's are allowed")
            cpu = f"{row['cpu_percent']} % of a core, {row['cpu_percent'] / row['calls']:.4f} % each"
            print(f"{row['calls']:>5} {row['what']}: {cpu}{late}; {row['kb_each']} KB each; load {row['load_percent']} %", flush=True)
            if load.child.returncode:
                problems.append(f"{load.name}: exit code {load.child.returncode} of its load: {load.said()[-800:]}")
        problems += server.stop()
    conclude(options.json, problems, slow, rows=rows)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Plants faults in a voice agent of ours (tests/agents/faulty_bot.py), and checks what `b2b sandbox` finds with the callers
of tests/agents/sandbox.toml: each fault once, then calls without a fault at 16, 8 and 24 kHz, then the same few calls with
the same seed again and again. Exits with 1 if more than one fault in thirty is missed, a call without a fault fails, or
the same calls do not have the same verdict each time. A void run is repeated, one with a fault twice; more than three
without a fault are too many.
usage: scripts/sandbox-faults.py [--b2b target/debug/b2b] [--calls 1000] [--same 100] [--only FAULT,...] [--seed 1]
Needs the Python package websockets. Two cores: half an hour."""

import argparse, itertools, json, pathlib, random, re, subprocess, sys, tempfile, tomllib, wave
from collections import Counter

ROOT = pathlib.Path(__file__).resolve().parent.parent
BOT, PLAN = ROOT / "tests/agents/faulty_bot.py", ROOT / "tests/agents/sandbox.toml"
SMALL = ("asks", "interrupts", "wants a person", "says nothing", "another", "person")  # of the same seed
RATES = (16_000, 8_000, 24_000)
FAILED = re.compile(r"^  (?P<call>[^`]+ \d+): (?P<why>.*)$", re.M)


def write(plan, path):
    """Writes a plan, whose values are in TOML as they are in JSON."""
    lines = []
    for name, tables in plan.items():
        for table in tables if isinstance(tables, list) else [tables]:
            lines.append(f"[[{name}]]" if isinstance(tables, list) else f"[{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    path.write_text("\n".join(lines) + "\n")


class Sandbox:
    def __init__(self, arguments, folder):
        self.arguments, self.folder, self.void = arguments, folder, Counter()
        random.seed(1)
        with wave.open(str(folder / "noise.wav"), "wb") as noise:
            noise.setparams((1, 2, 8_000, 0, "NONE", ""))
            noise.writeframes(b"".join(random.randint(-6_000, 6_000).to_bytes(2, "little", signed=True) for _ in range(16_000)))

    def run(self, fault="", rate=RATES[0], times=1, only=None):
        """Runs the plan; returns the exit code, the failed calls with their reasons, and the number of calls."""
        plan = tomllib.loads(PLAN.read_text())
        port = str(self.arguments.port)
        command = [sys.executable, str(BOT), "--port", port] + (["--fault", fault] if fault else [])
        plan["agent"] |= {"command": command, "url": f"ws://127.0.0.1:{port}/", "rate_hz": rate}
        plan["load"] |= {"at_once": self.arguments.at_once}
        for kind in ("caller", "callee"):
            plan[kind] = [it for it in plan[kind] if not only or it["name"] in only]
            for it in plan[kind]:
                if kind == "caller" or "calls" in it:
                    it["calls"] = it.get("calls", 1) * times
        calls = sum(it.get("calls", 0) for kind in ("caller", "callee") for it in plan[kind])
        path, report = self.folder / "plan.toml", self.folder / "report"
        write(plan, path)
        words = [self.arguments.b2b, "sandbox", path, "--report", report, "--seed", str(self.arguments.seed)]
        for attempt in itertools.count(1):
            ran = subprocess.run(words, capture_output=True, text=True)
            if ran.returncode not in (0, 1):
                sys.exit(f"{ran.stdout}{ran.stderr}")
            run = json.loads((report / "load.json").read_text())
            failed = FAILED.findall(ran.stdout)
            if run["verdict"]["result"] != "void":
                return ran.returncode, failed, calls
            self.void[fault] += 1
            print(f"void: stood still for {run['sleeper_longest_ms']} ms; {failed}", flush=True)
            if fault and attempt == 3:
                return ran.returncode, [], calls


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--b2b", default=str(ROOT / "target/debug/b2b"))
    arguments.add_argument("--calls", type=int, default=1000, help="calls without a fault")
    arguments.add_argument("--same", type=int, default=100, help="runs with the same seed")
    arguments.add_argument("--only", help="these faults; none: -")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--at-once", type=int, default=8)
    arguments.add_argument("--port", type=int, default=9000)
    arguments = arguments.parse_args()
    listed = subprocess.run([sys.executable, BOT, "--list"], capture_output=True, text=True, check=True).stdout
    faults = [line.split()[0] for line in listed.splitlines()]
    faults = [it for it in faults if not arguments.only or it in arguments.only.split(",")]
    with tempfile.TemporaryDirectory(prefix="sandbox-faults-") as folder:
        sandbox = Sandbox(arguments, pathlib.Path(folder))
        missed = []
        for fault in faults:
            _, failed, calls = sandbox.run(fault)
            missed += [] if failed else [fault]
            first = "%s: %s" % failed[0] if failed else "NOT FOUND"
            print(f"{fault:<16} {len(failed):>2} of {calls}  {first}", flush=True)
        clean, alarms, rates = 0, [], itertools.cycle(RATES)
        while clean < arguments.calls:
            rate = next(rates)
            _, failed, calls = sandbox.run(rate=rate, times=4)
            clean += calls
            alarms += [(rate, *it) for it in failed]
            print(f"without a fault: {len(alarms)} of {clean} calls failed {[(rate, *it) for it in failed] or ''}", flush=True)
        verdicts = Counter()
        for n in range(arguments.same):
            fault = ("", "lost-turn")[n % 2]
            code, failed, _ = sandbox.run(fault, only=SMALL)
            verdicts[fault, code, *sorted(call for call, _ in failed)] += 1
        print(f"the same seed: {arguments.same} runs, each second one with a fault: {dict(verdicts)}")
    print(f"{len(faults) - len(missed)} of {len(faults)} faults found, missed: {missed or 'none'}; "
          f"{len(alarms)} false alarms in {clean} calls; {sandbox.void.total()} void runs")
    bad = len(missed) * 30 > max(len(faults), 30) or alarms or len(verdicts) > 2 or sandbox.void[""] > 3
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()

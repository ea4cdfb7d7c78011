"""Running loads: `b2b --role load` (docs/load.md), with flags or a plan; and what a server uses meanwhile."""

import contextlib
import json
import math
import random
import re
import signal
import struct
import subprocess
import time
import wave
from itertools import count

from machine import BINARY, LAST_CORE, CallsFailed, Process, filled

# A second signal would cut it off: calls in progress, and the report, have this long.
PATIENCE = 90
NUMBERS = count()
TICKS = 'b2b_media_ticks_total{when="%s"}'


def prompt(path, seconds):
    """A tone as a prompt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    period = struct.pack("<8h", *(int(6000 * math.sin(n * math.tau / 8)) for n in range(8)))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(period * int(1000 * seconds))


class Load(Process):
    """Created when ready; it ends with its house, by `ended`, or for `finish` when its calls are over. `$name` in a
    plan is replaced by these values."""

    def __init__(self, house, name, *flags, plan=None, core=LAST_CORE, patience=60, binary=BINARY, **words):
        self.report = house.path / name
        command = [binary, "--role", "load", "--log-level", "warn", "--report", self.report, *flags]
        if plan:
            path = house.path / f"{name}.plan.toml"
            command += ["--plan", filled(plan, path, seed=random.getrandbits(32), **words)]
        super().__init__(house, name, command, core)
        self.ready("READY role=load", patience)
        self.address = re.search(r"READY role=load sip=(\S+)", self.said())[1]

    def told(self, patience=PATIENCE, how=None):
        """Sends this signal, waits for its end, and reads load.json."""
        if how:
            self.child.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(patience)
        self.end(signal.SIGKILL)
        if not (self.report / "load.json").exists():
            raise CallsFailed(f"the load `{self.name}` has written no load.json\n{self.said()[-2500:]}")
        return json.loads((self.report / "load.json").read_text())

    def finish(self, patience=PATIENCE, calls=None, how=None):
        """Like `told`, but every call has to be complete, and their number right if given."""
        told = self.told(patience, how)
        side = told["callers" if told["callers"]["begun"] else "callees"]
        if side["done"] != side["begun"] or calls not in (None, side["done"]):
            raise CallsFailed(f"load `{self.name}`: {side['done']} done of {side['begun']} begun\n{self.said()[-2500:]}")
        return told

    def ended(self, calls=None):
        """SIGINT: remaining calls hang up, no new one begins."""
        return self.finish(calls=calls, how=signal.SIGINT)


class Measure:
    """What a server and its loads use from now on until `row`, and how late the machine itself is: a load without calls
    sleeps on the server's core."""

    def __init__(self, server, loads):
        self.server, self.loads = server, loads
        self.idler = Load(server.house, f"idler-{next(NUMBERS)}", "--callee", "answer", core=0)
        self.before, self.began = self.now(), time.monotonic()

    def now(self):
        metrics = self.server.metrics()
        late, in_time = (metrics.get(TICKS % when, 0) for when in ("late", "in_time"))
        return self.server.cpu_by_thread(), sum(load.cpu() for load in self.loads), late, late + in_time

    def row(self):
        took = time.monotonic() - self.began
        threads, load, late, ticks = (now - before for now, before in zip(self.now(), self.before))
        percent = lambda seconds, digits=1: round(seconds / took * 100, digits)
        return {
            "cpu_percent": percent(threads.total(), 2),
            "load_percent": percent(load),
            "by_thread": {name: percent(used) for name, used in threads.most_common() if percent(used) > 0.5},
            "ticks_per_s": round(ticks / took),
            "late_percent": round(late / ticks * 100, 3) if ticks else None,
            "stalled_percent": round(self.idler.told(how=signal.SIGINT)["sleeper_late_pct"], 3),
        }

"""A load at work: `b2b --role load` (docs/load.md), by flags or a plan."""

import json
import re
import signal
import subprocess

from machine import BINARY, LAST_CORE, CallsFailed, wait_for

# A second signal would cut it off: so long calls under way have, and the report.
PATIENCE = 90


class Load:
    """It is ready once it is there; it ends with its house, by `end`, or when its calls are over, for `finish`."""

    def __init__(self, house, name, *flags, plan=None, core=LAST_CORE, patience=60):
        self.name, self.report = name, house.path / name
        command = [BINARY, "--role", "load", "--log-level", "warn", "--report", self.report]
        if "--sip-bind" not in flags and "sip_bind" not in (plan or ""):
            command += ["--sip-bind", "127.0.0.1:0"]
        if plan:
            (house.path / f"{name}.plan.toml").write_text(plan)
            command += ["--plan", house.path / f"{name}.plan.toml"]
        self.process = house.start(name, [*command, *flags], core)
        ready = lambda: re.search(r"READY role=load sip=(\S+)", self.process.log.read_text())
        wait_for(lambda: ready() or not self.process.is_alive(), f"the load {name}", patience)
        if not ready():
            raise CallsFailed(f"the load `{name}` did not start\n{self.said()}")
        self.address = ready()[1]

    def told(self, patience, how=None):
        """Waits for its end, after this signal, and reads load.json."""
        if how:
            self.process.child.send_signal(how)
        try:
            self.process.child.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.end(signal.SIGKILL)
        if not (self.report / "load.json").exists():
            raise CallsFailed(f"the load `{self.name}` has written no load.json\n{self.said()}")
        return json.loads((self.report / "load.json").read_text())

    def said(self):
        return self.process.log.read_text(errors="replace")[-2500:]

    def finish(self, patience, calls=None, side="callers", how=None):
        """As `told`: each call has to be done, and so many of them, if they are counted."""
        told = self.told(patience, how)
        done = told[side]["done"]
        if done != told[side]["begun"] or calls is not None and done != calls:
            raise CallsFailed(f"load `{self.name}`: {done} calls done of {told[side]['begun']} begun\n{self.said()}")
        return told

    def end(self, calls=None, side="callees", patience=PATIENCE):
        """SIGINT: calls that stay hang up, none begins."""
        return self.finish(patience, calls, side, signal.SIGINT)

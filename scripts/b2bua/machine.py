"""The server under test and the loads around it: started, watched, ended.

CPU time is that of the scheduler for every thread of a process (schedstat, ns).
The server has the first core, all loads share the last one.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from itertools import count
from pathlib import Path
from string import Template

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# Published figures come from the shipped profile; CI uses a quicker build.
BUILT = ROOT / "target" / os.environ.get("B2B_PROFILE", "release")
BINARY = Path(os.environ.get("B2B_BINARY", BUILT / "b2b"))
LAST_CORE = (os.cpu_count() or 1) - 1
# A server and its media have their own address, so that nothing else uses any of tens of thousands of ports.
AT = f"127.77.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
# So do parties whose port must stay free while they are gone.
PARTIES = AT.replace("127.77", "127.78")
PORTS = count(5060)
NEVER = (
    "b2b_handler_panics_total",
    "b2b_panics_total",
    "b2b_illegal_events_total",
    "b2b_impossible_total",
    'b2b_records_total{result="lost"}',
)
# The exit code if only limits of time or CPU were exceeded: nothing was lost, wrong or left over.
ONLY_SLOW = 3


class CallsFailed(SystemExit):
    """A call did not follow its plan or scenario; this text ends the run."""


def arguments(**usual):
    """The command line: words, and flags with their defaults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*")
    for name, value in usual.items():
        kind = {"action": "store_true"} if value is False else {"type": type(value), "default": value}
        parser.add_argument("--" + name.replace("_", "-"), **kind)
    return parser.parse_intermixed_args()


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def filled(plan, path, **words):
    """Writes a plan or configuration there, replacing its `$name` by these values."""
    path.write_text(Template(plan.read_text()).substitute(words))
    return path


class Process:
    """A process of a house."""

    def __init__(self, house, name, command, core, **more):
        self.house, self.name, self.log = house, name, house.path / f"{name}.log"
        words = ["taskset", "-c", str(core), *map(str, command)]
        more.setdefault("stdin", subprocess.DEVNULL)
        # Its cost is read from /proc under this pid: taskset becomes the program.
        self.child = subprocess.Popen(
            words, stdout=self.log.open("w"), stderr=subprocess.STDOUT, cwd=house.path, **more)
        self.pid = self.child.pid
        house.callback(self.end, signal.SIGKILL)

    def ready(self, words="READY", patience=60):
        """Waits until it prints this."""
        wait_for(lambda: words in self.said() or not self.is_alive(), self.name, patience)
        if words not in self.said():
            raise CallsFailed(f"{self.name} did not start:\n{self.said()[-3000:]}")
        return self

    def said(self):
        return self.log.read_text(errors="replace")

    def of_threads(self, tell, names=""):
        """The result of `tell` for the folder in /proc of each thread whose name begins like this, by name."""
        found = Counter()
        for task in Path(f"/proc/{self.pid}").glob("task/*"):
            with contextlib.suppress(OSError):
                if re.match(names, name := (task / "comm").read_text().strip()):
                    found[name] += tell(task)
        return found

    def cpu_by_thread(self):
        """Seconds on a core so far, by thread name."""
        return self.of_threads(lambda task: int((task / "schedstat").read_text().split()[0]) / 1e9)

    def cpu(self):
        return self.cpu_by_thread().total()

    def waited(self):
        """Seconds that its media threads were ready to run and waited for a core."""
        return self.of_threads(lambda task: int((task / "schedstat").read_text().split()[1]) / 1e9, "media").total()

    def rss(self):
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    def is_alive(self):
        return self.child.poll() is None

    def end(self, how=signal.SIGTERM, patience=10):
        if self.is_alive():
            self.child.send_signal(how)
            try:
                self.child.wait(patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
        return self.child.wait()


class House(contextlib.ExitStack):
    """A folder, and every process started in it; all end with it."""

    def __init__(self):
        super().__init__()
        # SIGTERM ends the house like an exception: nothing is left running.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.path = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="b2b-load-")))


class Server(Process):
    """A server with this configuration, in which `$at` and `$http` are its addresses and `$media` that of its media."""

    def __init__(self, house, config, name="server", core=0, binary=BINARY, flags=(), **words):
        self.address, self.http = (f"{AT}:{next(PORTS)}" for _ in range(2))
        self.records = house.path / "cdr.jsonl"
        words |= {"at": self.address, "http": self.http, "media": AT}
        config = filled(config, house.path / f"{name}.toml", **words)
        super().__init__(house, name, [binary, "--role", "b2bua", *flags, "--config", config], core)
        self.ready()

    def rests(self):
        """Records what it holds without calls: media threads have some endpoints bound ahead."""
        wait_for(lambda: self.sockets() > 60, "the media threads", 60)
        self.at_rest = self.descriptors()
        return self

    def descriptors(self):
        """For the process, and for each media thread, which has its own table."""
        own = self.of_threads(lambda task: len(os.listdir(task / "fd")), "relay-")
        own["process"] = len(os.listdir(f"/proc/{self.pid}/fd"))
        return own

    def sockets(self):
        """Descriptors of the media threads."""
        own = self.descriptors()
        return own.total() - own["process"]

    def holdings(self):
        """What the server reports to hold for calls; all of it is 0 without any."""
        held = re.compile(r'b2b_held\{what="([^"]+)"\}')
        return {held.match(name)[1]: int(value) for name, value in self.metrics().items() if held.match(name)}

    def not_let_go(self):
        """Leftovers as text, including more descriptors than without calls. Media threads keep up to 64 endpoints bound
        ahead."""
        words = [f"{name} is {value}, not 0" for name, value in self.holdings().items() if value]
        for name, n in self.descriptors().items():
            if n > self.at_rest[name] + 2:
                words.append(f"{name} had {self.at_rest[name]} descriptors and has {n}")
        return words

    def is_quiet(self, legs):
        """Whether this many legs have their records, and nothing is held for any call."""
        with contextlib.suppress(OSError):
            return self.records.read_bytes().count(b"\n") >= legs and not self.not_let_go()
        return False

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as answer:
            return answer.read().decode()

    def metrics(self):
        """Every sample of /metrics: name with labels → value."""
        samples = (line.rpartition(" ") for line in self.get("/metrics").splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples if name}

    def never(self):
        """Impossible events that happened, as text."""
        metrics = self.metrics()
        return [f"{name} is {metrics[name]:.0f}" for name in NEVER if metrics.get(name)]

    def stop(self):
        """Sends SIGTERM; returns faults in what the server reports as left of its calls, as text."""
        self.end(signal.SIGTERM, 60)
        last = re.search(r"left: (.*)", self.said())
        self.left = {name: int(n) for n, name in re.findall(r"(\d+) ([a-z ]+)", last[1])} if last else None
        return [] if last and not any(self.left.values()) else [f"left at the end: {self.left}"]

    def cdrs(self):
        """Every record; a line that is not JSON is an error."""
        return [json.loads(line) for line in self.records.read_text().splitlines()] if self.records.exists() else []


def conclude(path, problems, slow=(), **found):
    """Writes the results, prints exceeded limits, and exits: 0, 1 for a problem, ONLY_SLOW if the machine may be the
    cause."""
    result = {"machine": machine(), **found, "problems": problems, "slow": list(slow)}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(result, indent=1) + "\n")
    for words in [*problems, *slow]:
        print(f"NOT HELD: {words}")
    print(f"written: {path}")
    sys.exit(1 if problems else ONLY_SLOW if slow else 0)


def wait_for(is_so, what, patience=20.0, pause=0.05):
    end = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > end:
            sys.exit(f"waited {patience:.0f} s in vain for {what}")
        time.sleep(pause)


def machine():
    """The conditions on which figures depend."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    version = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    found = {"cpu": cpu[1] if cpu else "unknown", "cores": os.cpu_count(), "kernel": os.uname().release}
    return found | {"load": round(os.getloadavg()[0], 2), "commit": version.stdout.strip()}

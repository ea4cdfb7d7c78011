"""The server under test and the loads around it: started, watched, ended.

CPU time is what the scheduler counted for every thread of a process (schedstat, ns).
The server has the first core, all load the last one.
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
# Figures come from what is shipped; CI has a quicker build.
BUILT = ROOT / "target" / os.environ.get("B2B_PROFILE", "dist")
BINARY = Path(os.environ.get("B2B_BINARY", BUILT / "b2b"))
LAST_CORE = (os.cpu_count() or 1) - 1
# A server and its media have an address of their own: tens of thousands of ports are nobody else's there.
AT = f"127.77.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
# So have parties whose port has to be theirs while they are gone, too.
PARTIES = AT.replace("127.77", "127.78")
PORTS = count(5060)
NEVER = (
    "b2b_handler_panics_total",
    "b2b_panics_total",
    "b2b_illegal_events_total",
    "b2b_impossible_total",
    'b2b_records_total{result="lost"}',
)
# The exit code where only figures of time or CPU were over their limits: nothing was lost, wrong or left.
ONLY_SLOW = 3


class CallsFailed(SystemExit):
    """A call did not go as its plan or scenario says; these words are the end of the run."""


def arguments(**usual):
    """The command line: words, and flags with what they are without."""
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
    """Writes a plan or configuration there, with these words for its `$name`."""
    path.write_text(Template(plan.read_text()).substitute(words))
    return path


class Process:
    """A process of a house."""

    def __init__(self, house, name, command, core, **more):
        self.house, self.name, self.log = house, name, house.path / f"{name}.log"
        words = ["taskset", "-c", str(core), *map(str, command)]
        more.setdefault("stdin", subprocess.DEVNULL)
        # What it costs is read from /proc under this pid: taskset becomes the program.
        self.child = subprocess.Popen(
            words, stdout=self.log.open("w"), stderr=subprocess.STDOUT, cwd=house.path, **more)
        self.pid = self.child.pid
        house.callback(self.end, signal.SIGKILL)

    def ready(self, words="READY", patience=60):
        """Waits until it says so."""
        wait_for(lambda: words in self.said() or not self.is_alive(), self.name, patience)
        if words not in self.said():
            raise CallsFailed(f"{self.name} did not start:\n{self.said()[-3000:]}")
        return self

    def said(self):
        return self.log.read_text(errors="replace")

    def of_threads(self, tell, names=""):
        """What `tell` says of the folder of each thread in /proc whose name begins so, by name."""
        found = Counter()
        for task in Path(f"/proc/{self.pid}").glob("task/*"):
            with contextlib.suppress(OSError):
                if re.match(names, name := (task / "comm").read_text().strip()):
                    found[name] += tell(task)
        return found

    def cpu_by_thread(self):
        """Seconds on a core so far, by name of the thread."""
        return self.of_threads(lambda task: int((task / "schedstat").read_text().split()[0]) / 1e9)

    def cpu(self):
        return self.cpu_by_thread().total()

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
    """A folder, and every process that was started in it; all end with it."""

    def __init__(self):
        super().__init__()
        # SIGTERM ends the house as an exception does: nothing is left running.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.path = Path(self.enter_context(tempfile.TemporaryDirectory(prefix="b2b-load-")))


class Server(Process):
    """A server by this configuration, in which `$at` and `$http` are its addresses and `$media` that of its media."""

    def __init__(self, house, config, name="server", core=0, binary=BINARY, **words):
        self.address, self.http = (f"{AT}:{next(PORTS)}" for _ in range(2))
        self.records = house.path / "cdr.jsonl"
        words |= {"at": self.address, "http": self.http, "media": AT}
        config = filled(config, house.path / f"{name}.toml", **words)
        super().__init__(house, name, [binary, "--role", "b2bua", "--config", config], core)
        self.ready()

    def rests(self):
        """Remembers what it has without calls: media threads have some endpoints bound ahead."""
        wait_for(lambda: self.sockets() > 60, "the media threads", 60)
        self.at_rest = self.descriptors()
        return self

    def descriptors(self):
        """Of the process, and of each media thread, which has a table of its own."""
        own = self.of_threads(lambda task: len(os.listdir(task / "fd")), "relay-")
        own["process"] = len(os.listdir(f"/proc/{self.pid}/fd"))
        return own

    def sockets(self):
        """Descriptors of the media threads."""
        own = self.descriptors()
        return own.total() - own["process"]

    def holdings(self):
        """What the server says that it holds for calls; all of it is 0 without any."""
        held = re.compile(r'b2b_held\{what="([^"]+)"\}')
        return {held.match(name)[1]: int(value) for name, value in self.metrics().items() if held.match(name)}

    def not_let_go(self):
        """What is held now that should not be, in words; more descriptors than without calls, too. Media threads keep up
        to 64 endpoints bound ahead."""
        words = [f"{name} is {value}, not 0" for name, value in self.holdings().items() if value]
        for name, n in self.descriptors().items():
            if n > self.at_rest[name] + 2:
                words.append(f"{name} had {self.at_rest[name]} descriptors and has {n}")
        return words

    def is_quiet(self, legs):
        """Whether so many legs have their records, and nothing is held of any call."""
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
        """What must never happen and did, in words."""
        metrics = self.metrics()
        return [f"{name} is {metrics[name]:.0f}" for name in NEVER if metrics.get(name)]

    def stop(self):
        """SIGTERM; what is wrong with what the server says is left of its calls, in words."""
        self.end(signal.SIGTERM, 60)
        last = re.search(r"left: (.*)", self.said())
        self.left = {name: int(n) for n, name in re.findall(r"(\d+) ([a-z ]+)", last[1])} if last else None
        return [] if last and not any(self.left.values()) else [f"left at the end: {self.left}"]

    def cdrs(self):
        """Every record; a line that is no JSON is an error."""
        return [json.loads(line) for line in self.records.read_text().splitlines()] if self.records.exists() else []


def conclude(path, problems, slow=(), **found):
    """Writes what was found, says what was not held, and exits: 0, 1 for a problem, ONLY_SLOW where the machine may be
    the cause."""
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
    """What figures depend on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    version = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    found = {"cpu": cpu[1] if cpu else "unknown", "cores": os.cpu_count(), "kernel": os.uname().release}
    return found | {"load": round(os.getloadavg()[0], 2), "commit": version.stdout.strip()}

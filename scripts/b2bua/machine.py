"""The server under test and the loads around it: started, watched, ended.

CPU time is what the scheduler counted for every thread of a process (schedstat, ns).
The server has the first core, all load the last one.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Figures come from what is shipped; CI has a quicker build.
BUILT = ROOT / "target" / os.environ.get("B2B_PROFILE", "dist")
BINARY = Path(os.environ.get("B2B_BINARY", BUILT / "b2b"))
FLOOR = Path(os.environ.get("B2B_FLOOR", BUILT / "examples/b2bua_floor"))
LAST_CORE = (os.cpu_count() or 1) - 1
# Media has an address of its own: tens of thousands of ports are nobody else's there.
MEDIA = f"127.77.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
# So have parties whose port has to be theirs while they are gone, too.
PARTIES = MEDIA.replace("127.77", "127.78")


def free_port():
    """A port that is free for UDP and TCP, below those that the system gives away; so are
    the seven behind it."""
    for port in range(7000 + os.getpid() % 250 * 8, 16000, 8):
        with contextlib.suppress(OSError), socket.socket() as tcp:
            tcp.bind(("127.0.0.1", port))
            if port not in _given and all(_is_free(one) for one in range(port, port + 8)):
                _given.add(port)
                return port
    sys.exit("no free port")


_given = set()


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


class Process:
    """A process that is ended with this object."""

    def __init__(self, command, core, log, **more):
        self.log = Path(log)
        words = ["taskset", "-c", str(core), *map(str, command)]
        more.setdefault("stdin", subprocess.DEVNULL)
        # What it costs is read from /proc under this pid: taskset becomes the program.
        self.child = subprocess.Popen(words, stdout=self.log.open("w"), stderr=subprocess.STDOUT, **more)
        self.pid = self.child.pid

    def cpu_by_thread(self):
        """Seconds on a core so far, by name of the thread."""
        found = {}
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                name = (task / "comm").read_text().strip()
                spent = int((task / "schedstat").read_text().split()[0]) / 1e9
                found[name] = found.get(name, 0) + spent
        return found

    def cpu(self):
        return sum(self.cpu_by_thread().values())

    def status(self, field):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        return 0

    def rss(self):
        """Resident memory in bytes."""
        return self.status("VmRSS") * 1024

    def descriptors(self):
        """Of the process, and of each thread with a table of its own."""
        own = {}
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                name = (task / "comm").read_text().strip()
                if name.startswith("relay-") or task.name == str(self.pid):
                    own[name if name.startswith("relay-") else "process"] = len(os.listdir(task / "fd"))
        return own

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


class House:
    """A folder, and every process that was started in it; all end with it."""

    def __init__(self):
        # SIGTERM ends the house as an exception does: nothing is left running.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.folder = tempfile.TemporaryDirectory(prefix="b2b-load-")
        self.path = Path(self.folder.name)
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.end(signal.SIGKILL)
        self.folder.cleanup()

    def start(self, name, command, core, **more):
        process = Process(command, core, self.path / f"{name}.log", cwd=self.path, **more)
        self.processes.append(process)
        return process

    def floor(self, callee_port):
        port = free_port()
        floor = self.start("floor", [FLOOR, f"127.0.0.1:{port}", f"127.0.0.1:{callee_port}"], 0)
        wait_for(lambda: "listening" in floor.log.read_text(), "the floor")
        floor.address = f"127.0.0.1:{port}"
        return floor

    def server(self, lines, name="server", **keys):
        """A server that trusts this machine, with these lines in its configuration."""
        return Server(self, name, lines, **keys)


class CallsFailed(Exception):
    """A call did not go as its plan or scenario says."""


class Server(Process):
    def __init__(self, house, name, lines, media="", limits="", server="", http="off", core=0, trusted='"127.0.0.0/8"'):
        self.house = house
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.records = house.path / f"{name}.cdr.jsonl"
        self.http = None if http == "off" else f"127.0.0.1:{free_port()}"
        config = house.path / f"{name}.toml"
        config.write_text(
            f'[server]\nlisten = ["udp:{self.address}", "tcp:{self.address}"]\ntrusted = [{trusted}]\n'
            f'domains = ["b2b.example"]\ncdr = "{self.records}"\n{server or f"store = {chr(34)}memory{chr(34)}"}\n'
            f'[http]\nlisten = "{self.http or "off"}"\ntoken = "off"\n'
            f'[media]\nbind = "{MEDIA}"\n{media}\n[limits]\nsource_messages_per_s = 1000000\ncalls_per_s = 100000\n'
            f"{limits}\n[log]\nlevel = \"info\"\n{lines}\n"
        )
        self.config = config
        command = [BINARY, "--role", "b2bua", "--config", config]
        super().__init__(command, core, house.path / f"{name}.log", cwd=house.path)
        house.processes.append(self)
        wait_for(lambda: "READY role=b2bua" in self.log.read_text() or not self.is_alive(), "the server", 60)
        if not self.is_alive():
            sys.exit(f"the server did not start:\n{self.log.read_text()}")
        wait_for(lambda: self.sockets() > 60, "the media threads", 60)
        self.at_rest = self.sockets()

    def holdings(self):
        """What the server says that it holds for calls; all of it is 0 without any."""
        try:
            metrics = self.metrics()
        except OSError:
            return {}  # without its HTTP interface it says so only when it stops
        held = re.compile(r'b2b_held\{what="([^"]+)"\}')
        return {held.match(name)[1]: int(value) for name, value in metrics.items() if held.match(name)}

    def is_quiet(self, legs):
        """Whether so many legs have their records, and nothing is held of any call; media
        has some endpoints bound ahead."""
        with contextlib.suppress(OSError):
            written = self.records.read_bytes().count(b"\n")
            return written >= legs and self.sockets() <= self.at_rest + 2 and not any(self.holdings().values())
        return False

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.http}{path}", timeout=10) as answer:
            return answer.read().decode()

    def metrics(self):
        """Every sample of /metrics: name with labels → value."""
        found = {}
        for line in self.get("/metrics").splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def sockets(self):
        """Descriptors of the media threads."""
        return sum(count for name, count in self.descriptors().items() if name != "process")

    def not_let_go(self, baseline):
        """What is held now that should not be, in words; more descriptors than at `baseline`,
        too. Media threads keep up to 64 endpoints bound ahead."""
        words = [f"{name} is {value}, not 0" for name, value in self.holdings().items() if value]
        for name, count in self.descriptors().items():
            if count > baseline.get(name, 0) + 2:
                words.append(f"{name} had {baseline.get(name)} descriptors and has {count}")
        return words

    def stop(self):
        """SIGTERM; what the server says is left of its calls, as numbers."""
        self.end(signal.SIGTERM, 60)
        last = re.search(r"left: (.*)", self.log.read_text())
        return {name: int(n) for n, name in re.findall(r"(\d+) ([a-z ]+)", last[1])} if last else None

    def cdrs(self):
        """Every record; a line that is no JSON is an error."""
        if not self.records.exists():
            return []
        return [json.loads(line) for line in self.records.read_text().splitlines()]


def ending(main):
    """Runs it; calls that failed are words and an exit code."""
    try:
        main()
    except CallsFailed as failed:
        sys.exit(str(failed))


def close(calls, server, problems):
    """Stops the server; what it says is left, and its records. Problems are added."""
    left = server.stop()
    if left is None or any(left.values()):
        problems.append(f"left at the end: {left}")
    records = server.cdrs()
    problems += calls.wrong(records)
    return left, records


def conclude(path, result, shown):
    """Writes the result, shows what is to be shown and every problem; exit code 1 if there is one."""
    Path(path).write_text(json.dumps(result) + "\n")
    print(shown)
    for problem in result["problems"]:
        print(f"NOT HELD: {problem}")
    print(f"written: {path}")
    sys.exit(1 if result["problems"] else 0)


# The exit code where only figures of time or CPU were over their limits: nothing was lost, wrong or left.
ONLY_SLOW = 3


def verdict(problems, slow):
    """Says what was not held, and exits: 0, 1 for a problem, ONLY_SLOW where the machine may be the cause."""
    for words in problems + slow:
        print(f"NOT HELD: {words}")
    sys.exit(1 if problems else ONLY_SLOW if slow else 0)


def wait_for(is_so, what, patience=20.0, pause=0.05):
    end = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > end:
            sys.exit(f"waited {patience:.0f} s in vain for {what}")
        time.sleep(pause)


def _is_free(port):
    with socket.socket(type=socket.SOCK_DGRAM) as udp:
        try:
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def machine():
    """What figures depend on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    version = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    return {
        "cpu": cpu[1] if cpu else "unknown",
        "cores": os.cpu_count(),
        "kernel": os.uname().release,
        "load": round(os.getloadavg()[0], 2),
        "commit": version.stdout.strip(),
    }

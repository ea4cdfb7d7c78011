"""The calls of scripts/survive.sh: a server with a keeper, loads that call and answer, and a voice agent."""

import json
import os
import re
import signal
import subprocess
import sys
import time

from load import Load, prompt
from machine import AT, BINARY, HERE, LAST_CORE, PARTIES, PORTS, Process, Server, wait_for

PLANS = HERE / "survive"
# Of 1,000 calls. `rings` are those that ring at a time; `leads`, which are transferred, are among them.
MIX = {
    "bridged": 130, "elsewhere": 20, "srtp": 100, "transcoded": 50, "recorded": 40, "held": 20, "parked": 20, "menu": 80, "queue": 100,
    "room": 60, "voicemail": 40, "agent": 50, "tcp": 80, "tls": 60, "rings": 150,
}
STAYING = ("bridged", "recorded", "held", "parked", "menu", "queue", "room", "voicemail")
TALKERS = {
    "elsewhere": {}, "srtp": {"srtp": "required"}, "transcoded": {"codec": "g722"}, "agent": {"ears": "echo"},
    "tcp": {"transport": "tcp"}, "tls": {"transport": "tls", "more": 'ca_file = "server.pem"'},
}
# What a call of these kinds has beside its inbound leg.
OUTBOUND = ("bridged", "elsewhere", "srtp", "transcoded", "recorded", "held", "tcp", "tls")
# A call of `changing.toml` lasts for about so long, s: it rings for most of it.
CHANGES_S = 14
# Over TCP and TLS a call's signalling ends with its connection; its sound goes on.
CONNECTED = ("tcp", "tls")


def mix_of(calls, only):
    """How many calls of each kind."""
    chosen = {kind: share for kind, share in MIX.items() if not only or kind in only}
    counts = {kind: max(1, round(calls * share / sum(chosen.values()))) for kind, share in chosen.items()}
    # Six in each room.
    if "room" in counts:
        counts["room"] = max(6, counts["room"] // 6 * 6)
    return counts


class Kept(Server):
    """A server with a keeper: `child` is the keeper, `pid` the server."""

    def __init__(self, house, config, **words):
        super().__init__(house, config, flags=["--keep"], binary=os.environ.get("B2B_SERVER", BINARY), **words)
        self.lives = 1
        # They die with it.
        self.others = []
        self.now()

    def now(self):
        """Reads which process the server is."""
        self.pid = int(re.findall(r"the server is process (\d+)", self.said())[-1])
        return self.pid

    def has_been_ready(self):
        return self.said().count("READY role=b2bua")

    def is_away(self, pid):
        """Waits for the process after this one; returns when it was seen."""
        wait_for(lambda: self.now() != pid or not self.is_alive(), "the next process", 30, 0.002)
        return time.time()

    def comes_back(self):
        """Waits until the next server is ready; returns when that was seen."""
        wait_for(lambda: self.has_been_ready() > self.lives or not self.is_alive(), "the next server", 30, 0.005)
        if not self.is_alive():
            sys.exit(f"the keeper has ended:\n{self.said()[-3000:]}")
        self.lives = self.has_been_ready()
        self.now()
        return time.time()

    def ask(self, path):
        return json.loads(self.get(path))

    def standing(self):
        """Where calls of applications stand, as the server tells it: the queue's order, rooms, parking slots, menus."""
        queue = [it["call"] for it in self.ask("/queues/sales")["callers"]]
        rooms = {room["name"]: room for room in self.ask("/rooms")["rooms"]}
        calls, after = {}, 0
        while after is not None:
            page = self.ask(f"/calls?limit=1000&after={after}")
            calls |= {it["call"]: it for it in page["calls"]}
            after = page.get("next")
        wanted = ("parked", "ivr_node", "conference", "queue")
        variables = lambda it: {name: it["variables"][name] for name in wanted if name in it.get("variables", {})}
        places = {call: variables(it) for call, it in calls.items()}
        return {"queue": queue, "rooms": rooms, "places": {call: place for call, place in places.items() if place}}


class Calls:
    """Everything that is started for a run."""

    def __init__(self, house, memory, counts, rate, seconds):
        self.house, self.counts, self.rate, self.loads, self.began = house, counts, rate, {}, {}
        prompt(house.path / "prompts/music.wav", 30)
        self.tls = f"{AT}:{next(PORTS)}"
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                 "/CN=b2b.example", "-addext", f"subjectAltName=IP:{AT}", "-addext", "basicConstraints=CA:FALSE", "-keyout",
                 "server.key", "-out", "server.pem"]
        subprocess.run(words, cwd=house.path, check=True, capture_output=True)
        agent = f"{PARTIES}:5080"
        Process(house, "agent", [sys.executable, "-B", PLANS / "echo_agent.py", agent], LAST_CORE).ready("UP")
        callees = self.start("callees", "callees.toml", srtp="off", ears="mark").address
        secure = self.start("secure", "callees.toml", srtp="required", ears="mark").address
        # A load has one thread for media.
        ringing = self.start("ringing", "callees.toml", srtp="off", ears="none").address
        names = [f"room{n}" for n in range(counts.get("room", 0) // 6)]
        rooms = "".join((PLANS / "room.toml").read_text().replace("$name", name) for name in names)
        (house.path / "rooms.csv").write_text("user,number\n" + "".join(f"caller,{name}\n" for name in names or ["none"]))
        # For deaths by `panic`.
        os.environ["B2B_PANIC"] = "calls"
        self.server = Kept(house, PLANS / "b2bua.toml", memory=memory, callees=callees, secure=secure, ringing=ringing, agent=agent, rooms=rooms,
                           tls=self.tls)
        self.server.rests()
        if "elsewhere" in counts:
            self.server.others.append(self.elsewhere(memory.with_name("elsewhere"), callees))
        self.seconds = seconds

    def elsewhere(self, memory, callees):
        """A server whose media a media server carries, which does not die."""
        carrier = f"{PARTIES}:{next(PORTS)}"
        Process(self.house, "media", [BINARY, "--role", "media", "--listen", carrier], 0).ready()
        server = Kept(self.house, PLANS / "elsewhere.toml", name="elsewhere-server", memory=memory, callees=callees, carrier=carrier)
        server.records = self.house.path / "cdr-elsewhere.jsonl"
        return server

    def start(self, name, plan, **words):
        if hasattr(self, "server"):
            words = {"server": self.server.address} | words
        # The server leaves half of its core to others, and the last one is too small for 1,000 calls.
        core = f"0,{LAST_CORE}" if name in (*TALKERS, "secure") else LAST_CORE
        self.loads[name] = Load(self.house, name, plan=PLANS / plan, core=core, **words)
        self.began[name] = time.time()
        return self.loads[name]

    def listens(self, hz):
        """Steps of a caller who has to hear this all the time, until after the last death."""
        pairs = int(self.seconds / 6)
        return ", ".join(['"wait 6"', f'"hears {hz} within 15 s"'] * max(pairs, 1))

    def begin(self):
        """Starts all calls, and waits until those that stay are up."""
        counts = self.counts
        hears = {f"hears_{hz}": self.listens(hz) for hz in (440, 600, 1000)}
        staying = {kind: counts.get(kind, 0) for kind in STAYING}
        if any(staying.values()):
            self.start("staying", "callers.toml", rate=self.rate, **staying, **hears)
        for kind, words in TALKERS.items():
            if kind in counts:
                usual = {"codec": "pcma", "srtp": "off", "transport": "udp", "ears": "mark", "more": ""}
                rate = max(1, self.rate * counts[kind] / sum(counts.values()))
                self.start(kind, "talkers.toml", number=kind, calls=counts[kind], rate=rate, **usual | words | (
                    {"server": self.tls} if kind == "tls" else {"server": self.server.others[0].address} if kind == "elsewhere" else {}))
        total = self.staying()
        wait_for(lambda: sum(it.holdings()["calls"] for it in [self.server, *self.server.others]) >= total, f"{total} calls", total / self.rate * 2 + 30, 0.2)
        if rings := counts.get("rings"):
            self.start("changing", "changing.toml", rate=rings / CHANGES_S)

    def staying(self):
        return sum(count for kind, count in self.counts.items() if kind != "rings")

    def end(self):
        """Ends all loads; returns what each has told."""
        callees = ("callees", "secure", "ringing")
        callers = [name for name in self.loads if name not in callees]
        for name in callers:
            self.loads[name].child.send_signal(signal.SIGINT)
        told = {name: self.loads[name].told() for name in callers}
        return told | {name: self.loads[name].told(how=signal.SIGINT) for name in callees}

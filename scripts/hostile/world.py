"""The addresses of a run, and the server's configuration. Each run has its own /24 of loopback.

.1 the server   .2 its media   .20-.51 honest phones   .71 a gateway beside malicious ones
.80 the honest carrier   .82 a trunk of five calls a second   .83 a trunk of 16 channels   .90 who never asked for media   .91 a machine of nobody
.100-.149 attackers, one address an attack   .150-.199 their victims' phones
"""

import collections
import json
import os
import time
from pathlib import Path

DOMAIN = "b2b.example"
# Numbers that may be called at the honest carrier. A call to any other number is toll fraud.
PAID = "+4930"
# No caller has a route to it.
DEAR = "+9005551234"
# The emergency number, which every user may call.
HELP = "112"
FIRST_PORT = 20000
# In a network namespace: the server, its neighbours, a host of `server.inside`.
LAN, IPV6, NEIGHBOURS, INSIDE = "10.99.0", "fd99::1", ("fd99::2", "fd99::66"), "10.99.7.9"


class World:
    """The data shared by every process of a run."""

    def __init__(self, known):
        self.__dict__.update(known)
        self.known = known
        self.folder = Path(known["folder"])
        # From a log, by owner.
        self.read_so_far = {}

    @staticmethod
    def new(folder, http_port, calls, quick, base, lan):
        net = LAN if lan else f"127.{88 + os.getpid() // 250 % 100}.{os.getpid() % 250 + 1}"
        return World({
            "net": net, "folder": str(folder), "http": f"127.0.0.1:{http_port}", "calls": calls, "quick": quick,
            "base": base, "lan": lan, "together": False, "token": "", "reader": "", # The user whom key 7 of the menu calls.
            "gift": "3000",
        })

    @staticmethod
    def read(path):
        return World(json.loads(Path(path).read_text()))

    def write(self):
        path = self.folder / "world.json"
        path.write_text(json.dumps(self.known))
        return path

    def at(self, last):
        return f"{self.net}.{last}"

    @property
    def server(self):
        return (self.at(1), 5060)

    @property
    def ports(self):
        """Of the server's RTP: a call takes two pairs, which stay unused for half a minute after it."""
        return range(FIRST_PORT, FIRST_PORT + max(2000, 50 * self.calls), 2)

    @property
    def media(self):
        return self.at(2)

    # ---- logs of the parties

    def note(self, who, **what):
        """A line of a party's log."""
        with (self.folder / f"{who}.jsonl").open("a") as diary:
            diary.write(json.dumps({"at": time.monotonic(), **what}) + "\n")

    def notes(self, who):
        path = self.folder / f"{who}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def carrier_saw(self, word, who="carrier", method=None):
        """Recent requests to the carrier (or the neighbour) that contain this word."""
        return [it for it in self.recent(who) if word in it["text"] and method in (None, it["method"])]

    def recent(self, who):
        """The end of a log, which grows for an hour: each line is read once."""
        at, lines = self.read_so_far.setdefault(who, [0, collections.deque(maxlen=5000)])
        path = self.folder / f"{who}.jsonl"
        if path.exists():
            with path.open("rb") as diary:
                diary.seek(at)
                new, whole, _ = diary.read().rpartition(b"\n")
            lines.extend(map(json.loads, new.splitlines()))
            self.read_so_far[who][0] = at + len(new) + len(whole)
        return lines


def password(name):
    return f"right-horse-{name}"


def user(name, kind):
    return f'[[user]]\nname = "{name}"\npassword = "{password(name)}"\nclass = "{kind}"\n'


def configuration(world, attacks, changes):
    """The server's configuration. `changes`: lines for sections, by their name; those that the commit before issue 15
    does not know are left out."""
    sections = {
        "server": [
            f'listen = ["udp:{world.at(1)}:5060", "tcp:{world.at(1)}:5060"]', f'domains = ["{DOMAIN}"]',
            f'realm = "{DOMAIN}"', 'store = "memory"', 'cdr = "cdr.jsonl"', "drain_s = 2",
        ],
        "http": [f'listen = "{world.http}"'],
        "media": [f'bind = "{world.media}"', f'ports = "{world.ports[0]}-{world.ports[-1] + 1}"', "threads = 1", "rtp_timeout_s = 20"],
        # More than honest calls and attackers make together, and less than a flood by one user.
        "limits": [f"calls_per_s = {80 + world.calls // 2}"],
        "registrar": [f"max_bindings = {4 * world.calls + 2000}"],
        # An hour's trace is 12 GB, and writing that much waits for the disk.
        "log": ['level = "info"', *([] if world.together and not world.quick else ['sip_trace = "trace.txt"'])],
    }
    if world.lan:
        # RTP is at the listener of each leg.
        sections["server"][0] = f'listen = ["udp:{world.at(1)}:5060", "tcp:{world.at(1)}:5060", "udp:[{IPV6}]:5060"]'
        del sections["media"][0]
    if world.token:
        sections["http"].append(f'token = "{world.token}"')
    for section, lines in changes.items():
        sections.setdefault(section, []).extend(lines)
    text = "".join(f"[{name}]\n" + "\n".join(lines) + "\n\n" for name, lines in sections.items())
    if world.reader:
        text += f'[[http.tokens]]\nname = "reader"\ntoken = "{world.reader}"\nscopes = ["read"]\n'
    for attack in attacks:
        # 0 to 4 attack, 5 to 9 are attacked.
        text += "".join(user(attack.number(n), "restricted" if n < 5 else "internal") for n in range(10))
    for n in range(max(1, world.calls)):
        text += user(str(3000 + n), "office") + user(str(4000 + n), "office")
    text += "".join(PARTY[attack.file].format(at=attack.source(world), n=f"{attack.place:02d}")
                    for attack in attacks if attack.file in PARTY)
    for name, (last, more) in GATEWAYS.items():
        text += (GATEWAY + more).format(name=name, at=world.at(last)) + "\n"
    return text + PARTIES.format(gift=world.gift, tones=", ".join(['"tone:440:5000"'] * 24))


# What an attack in such a file uses.
PARTY = {
    "gateway": r"""
[[gateway]]
name = "evil-{n}"
hosts = ["{at}:5060"]
sources = ["{at}"]
username = "account"
password = "correct horse"
options_s = 0
[[route]]
called = '5{n}\d*'
to = "gateway/evil-{n}"
""",
    "voiceagent": r"""
[[voice_agent]]
name = "liar-{n}"
url = "ws://{at}:8001/"
[[route]]
called = '84{n}'
app = "voice_agent/liar-{n}"
""",
    "webserver": r"""
[[ivr]]
name = "web-{n}"
[[ivr.node]]
name = "ask"
kind = "http"
url = "http://{at}:8000/next"
timeout_s = 3
[[route]]
called = '80{n}'
app = "ivr/web-{n}"
""",
}
# Gateways of everybody: the end of the address, and further lines. Emergency calls go to the carrier's host, too.
GATEWAYS = {
    "carrier": (80, 'sources = ["{at}"]'), "neighbour": (71, 'sources = ["{at}"]'), "services": (80, "channels = 10"),
    "slow": (82, "calls_per_s = 5"), "small": (83, "channels = 16"),
}
GATEWAY = """
[[gateway]]
name = "{name}"
hosts = ["{at}:5060"]
options_s = 0
"""
PARTIES = r"""
[[conference]]
name = "closed"
pin = "4711"

[[ivr]]
name = "menu"
[[ivr.node]]
name = "menu"
kind = "menu"
prompt = "tone:440:3000"
choices = {{ 7 = "gift", 1 = "menu" }}
first_s = 5
tries = 3
[[ivr.node]]
name = "gift"
kind = "transfer"
to = "user/{gift}"

[[ivr]]
name = "long"
[[ivr.node]]
name = "say"
kind = "play_prompt"
prompt = [{tones}]

[[route]]
name = "paid"
called = '\+4930\d+'
class = "office"
to = "gateway/carrier"

[[route]]
name = "marked"
called = '4\d\d[02468]'
to = "user/$0"
mode = "translating"
headers = [{{ pass = "X-B2B-Mark" }}]

[[route]]
name = "phones"
called = '[134]\d{{3}}'
to = "user/$0"

[[route]]
name = "slow"
called = '86\d+'
to = "gateway/slow"

[[route]]
name = "small"
called = '87\d+'
to = "gateway/small"

[[route]]
name = "menu"
called = '81\d\d'
app = "ivr/menu"

[[route]]
name = "long"
called = '8200'
app = "ivr/long"

[[route]]
name = "room"
called = '8300'
app = "conference/closed"
"""

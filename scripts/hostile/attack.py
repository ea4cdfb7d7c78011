"""The definition of an attack, and how one runs: alone, reporting whether it has won, or repeatedly until it is
stopped."""

import argparse
import contextlib
import dataclasses
import json
import os
import random
import sys
import time
import traceback

import sip
import sound
import world as worlds

FILES = ("strangers", "insider", "gateway", "webserver", "voiceagent", "rtp")
ALL = {}
# In the combined run an attack rests for this multiple of its duration.
REST = 2


@dataclasses.dataclass
class Attack:
    """One attack. `work(self, world)` gives (won, what it gained)."""

    name: str
    finding: str
    title: str
    work: object
    # Metrics of which one has to increase when the attack is refused: beginnings of names with labels.
    counters: tuple = ()
    # Lines for sections of the configuration: those known to both versions, and those of the new one only.
    lines: dict = dataclasses.field(default_factory=dict)
    new_lines: dict = dataclasses.field(default_factory=dict)
    # It needs a server without a token, or one of its own: it cannot run together with others.
    alone: bool = False
    # It needs other addresses than loopback: a network namespace of its own.
    lan: bool = False
    # The commit before issue 15 also withstood it.
    held: bool = False
    # It wins if the server does not answer in time: not judged on a machine that had no time for the server.
    timed: bool = False
    place: int = 0
    # The attacker's class.
    file: str = ""

    def number(self, n):
        """Its users: 0 to 4 attack, 5 to 9 are attacked."""
        return f"1{self.place:02d}{n}"

    def source(self, world):
        return world.at(100 + self.place)

    def other(self, world):
        """The addresses of its victims."""
        return world.at(150 + self.place)

    def attacker(self, world, n=0, ip=None, **more):
        return self._phone(world, n, ip or self.source(world), more)

    def victim(self, world, n=5, ip=None, **more):
        return self._phone(world, n, ip or self.other(world), more)

    def _phone(self, world, n, ip, more):
        name = self.number(n)
        server = (worlds.IPV6, 5060) if ":" in ip else world.server
        return sip.Phone(server, ip, name, worlds.password(name), worlds.DOMAIN, **more)

    def who(self, n=0):
        """A separate mark for audio."""
        return 0xA0000000 + self.place * 16 + n

    def changes(self, base):
        """Lines by section."""
        found = {section: list(lines) for section, lines in self.lines.items()}
        if not base:
            for section, lines in self.new_lines.items():
                found.setdefault(section, []).extend(lines)
        return found


def attack(name, finding, title, **more):
    """Registers the function below as an attack."""

    def known(work):
        ALL[name] = Attack(name, finding, title, work, place=len(ALL), file=work.__module__, **more)
        return work

    return known


def load():
    """Every attack, by name."""
    for file in FILES:
        __import__(file)
    return ALL


@contextlib.contextmanager
def ears(*places):
    """RTP at these (ip, mark)."""
    opened = [sound.Sound(ip, who) for ip, who in places]
    try:
        yield opened
    finally:
        for one in opened:
            one.close()


def talk(first, call, second, other):
    """Both parties send their marks to the server's media addresses."""
    first.talk(call.media())
    second.talk(other.media())


def main():
    """`python3 attack.py WORLD.json NAME SECONDS`: prints a line of JSON. SECONDS 0: once."""
    words = argparse.ArgumentParser()
    words.add_argument("world")
    words.add_argument("name")
    words.add_argument("seconds", type=float)
    options = words.parse_args()
    world = worlds.World.read(options.world)
    one = load()[options.name]
    # A machine too small for everything is not the server's fault.
    os.nice(10)
    begun = time.monotonic()
    end = begun + options.seconds
    told = {"attack": one.name, "times": 0, "wins": 0, "won_at_s": [], "got": "", "errors": 0, "error": ""}
    if options.seconds:
        time.sleep(random.uniform(0, options.seconds / 20))
    while True:
        round_begun = time.monotonic()
        try:
            won, got = one.work(one, world)
            if won:
                told["wins"] += 1
                told["won_at_s"] = [*told["won_at_s"], round(round_begun - begun)][-20:]
            if won or not told["wins"]:
                told["got"] = got
        except Exception as error:
            told["errors"] += 1
            told["error"] = f"{type(error).__name__}: {error}"
            traceback.print_exc(file=sys.stderr)
        told["times"] += 1
        now = time.monotonic()
        if now >= end:
            break
        # All attackers together would leave the server nothing of a small machine; in reality they have another one.
        time.sleep(min(end - now, max(0.5, REST * (now - round_begun))))
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    # One module, whichever module imports it.
    sys.modules["attack"] = sys.modules["__main__"]
    main()

"""Honest calls during the attacks: loads of `b2b --role load` call, talk, hang up, and call again, and each party
judges the other's audio by its mark.

Every third caller is behind NAT (its SDP has an address of its own network), every tenth calls the carrier, which
echoes
its audio; all others call each other's phones. All use their passwords. `Subject` passes the server and carries the
dialled number: a phone that is called without it, or with the number of others, is not called by an honest party.
"""

import signal
from collections import Counter, defaultdict
from pathlib import Path
from string import Template

import world as worlds
from load import Load

PLANS = Path(__file__).with_name("honest_plans")
# How long a call lasts, s.
MEAN = 6
# A load that is asked to end waits up to 35 s for its calls, and unregisters its users.
PATIENCE = 60


class Honest:
    """All honest calls of a run."""

    def __init__(self, house, world, server, binary, core):
        self.house, self.world, self.loads = house, world, {}
        self.usual = {"binary": binary, "core": core, "patience": 120, "domain": worlds.DOMAIN}
        callers, phones = defaultdict(list), [(str(4000 + n), "") for n in range(world.calls)]
        for n, (phone, _) in enumerate(phones):
            nat, paid = n % 3 == 0, n % 10 == 9
            callers[("paid" if paid else "calls") + ("-nat" if nat else "")].append(
                (str(3000 + n), f"{worlds.PAID}{n:04d}" if paid else phone))
        # Phones register before the first call to them.
        phone = Template((PLANS / "phone.toml").read_text())
        kinds = "".join(phone.substitute(tens=tens) for tens in sorted({name[:3] for name, _ in phones}))
        self._load("phones", "phones.toml", 36, phones, kinds=kinds, pid=server.pid)
        for port, (name, users) in enumerate(callers.items(), 5060):
            nat = 'rtp_advertise = "10.1.0.5"' if "nat" in name else ""
            words = {"rate": len(users) / MEAN, "ears": "echo" if "paid" in name else "mark", "nat": nat, "port": port}
            self._load(name, "callers.toml", 20, users, **words)

    def _load(self, name, plan, first, users, **words):
        lines = [f"{user},{worlds.password(user)},{number}\n" for user, number in users]
        (self.house.path / f"{name}.csv").write_text("user,password,number\n" + "".join(lines))
        words["addresses"] = ", ".join(f'"{self.world.at(first + n)}"' for n in range(16))
        words |= {"first": self.world.at(first), "server": self.world.server[0], "users": f"{name}.csv"}
        self.loads[name] = Load(self.house, name, plan=PLANS / plan, **self.usual, **words)

    def is_alive(self):
        return all(load.is_alive() for load in self.loads.values())

    def end(self):
        """Ends callers first: phones answer until nobody calls any more. Returns the outcome of all calls."""
        order = [*list(self.loads)[1:], "phones"]
        return told({name: self.loads[name].told(PATIENCE, signal.SIGINT) for name in order})


def told(runs):
    """Figures of all loads together; `failed` has those of each kind by reason, `late` the exceeded limits."""
    phones, callers = runs["phones"]["callees"], {name: run["callers"] for name, run in runs.items() if name != "phones"}
    sides, failed = {"phones": phones, **callers}, defaultdict(Counter)
    for name, side in sides.items():
        for it in side["failures"]:
            failed[kind_of(it["step"], it["why"])][f"{name}, {it['step']}: {it['why']}"] += it["calls"]
        failed["stuck"][name] += side["begun"] - side["done"] - side["failed"]
        # A party that was not heard in time may have heard another one meanwhile.
        failed["overheard"][f"{name}, other marks"] = sum(
            it["foreign_mark"] is not None and kind_of(it["step"], it["why"]) != "overheard"
            for it in runs[name]["failed_calls"]["calls"])
    people = [it for name, it in callers.items() if "paid" not in name]
    # Parties that call phones, phones, and each that hears itself at the carrier: any excess audio came from elsewhere.
    ways = [(people, [phones]), ([phones], people), *(([it], [it]) for it in callers.values() if it not in people)]
    for said, heard in ways:
        more = sum(it["packets"]["received"] for it in heard) - sum(it["packets"]["sent"] for it in said)
        failed["overheard"]["packets more than were said"] += max(0, more)
    if "strange_calls" not in failed:
        failed["strange_calls"]["more than honest ones"] = max(0, phones["begun"] - sum(it["begun"] for it in people))
    ears = [side["ears"] for side in sides.values() if side["ears"]["judged"]]
    return {
        "calls": sum(it["done"] + it["failed"] for it in callers.values()),
        "failed": {kind: dict(+whose) for kind, whose in failed.items() if +whose},
        "late": [f"{name}, {why}" for name, run in runs.items() for why in run["verdict"]["why"]],
        "parties": sum(side["done"] for side in sides.values()), "judged": sum(it["judged"] for it in ears),
        "said": sum(side["packets"]["sent"] for side in sides.values()),
        "heard": sum(side["packets"]["received"] for side in sides.values()),
        "gap_ms": max((it["longest_gaps"]["max_ms"] for it in ears), default=0),
        "way_p99_ms": max((it["mouth_to_ear"]["p99_ms"] for it in ears), default=0),
        "way_ms": max((it["mouth_to_ear"]["max_ms"] for it in ears), default=0),
        "mos": min((side["mos"]["min"] for side in sides.values() if side["mos"]["min"]), default=0),
        "setup_p99_ms": max(run["setup"]["p99_ms"] for run in runs.values()),
        "sleeper_ms": max(run["sleeper_longest_ms"] for run in runs.values()),
        "watched": runs["phones"]["watched"],
    }


def kind_of(step, why):
    """Of a failed call."""
    if step.startswith("expect header"):
        return "strange_calls"
    if step.startswith(("say mark", "hears mark")):
        if why in ("it heard nothing", "the far end did not hear it", "not in time"):
            return "unheard"
        return "overheard" if why.startswith("it heard") else "lost"
    return "lost"

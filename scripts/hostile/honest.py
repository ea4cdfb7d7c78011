"""Honest calls beside the attacks: loads of `b2b --role load` call, talk, hang up, and call again, and each party judges what
it hears of the other by its mark.

Every third caller is behind NAT (descriptions name an address of its own network), every tenth calls the carrier, which says
its sound back; all others call each other's phones. All give their passwords. `Subject` passes the server and says which
number was dialled: a phone that is called without it, or by the number of others, is called by nobody honest.
"""

import collections
import json

import world as worlds
from machine import wait_for

# Calls last 4 to 8 s: two to three until both hear each other, and so long.
STAY, MEAN = (2, 5), 6
# What any party may be at worst: the longest gap in what it hears, and how long that takes from mouth to ear, ms;
# and its MOS, which is lower where 5 % are missing.
GAP_MS, WAY_MS, MOS = 500, 500, 3.8
# A load that is asked to end waits for its calls for 35 s, and takes users back.
PATIENCE = 60

PLAN = """
[load]
sip_bind = "{first}:{port}"
addresses = [{addresses}]
domain = "{domain}"
codecs = ["pcmu"]
hold_s = "uniform {stay[0]} {stay[1]}"
{more}
"""
CALLER = """
[[stage]]
rate = {rate}
[caller]
users = "{name}.csv"
steps = ["header Subject: {{number}}", "dial {{number}}", "say mark", "hears mark within 5 s", "stay", "hang up"]
"""
PHONE = """
[[callee]]
name = "{tens}"
called = ["{tens}*"]
steps = ["expect header Subject: {tens}*", "ring", "answer", "say mark", "hears mark within 5 s", "hung up"]
{more}
"""
# Whoever is not to be called at all.
REST = '[[callee]]\nname = "rest"\nsteps = ["expect header Subject: none", "answer"]\n'


class Honest:
    """All honest calls of a run."""

    def __init__(self, house, world, binary, core):
        self.house, self.world, self.binary, self.core, self.loads = house, world, binary, core, {}
        self.callers = collections.defaultdict(list)
        for n in range(world.calls):
            nat, paid = n % 3 == 0, n % 10 == 9
            self.callers[("paid" if paid else "calls") + ("-nat" if nat else "")].append(
                (str(3000 + n), f"{worlds.PAID}{n:04d}" if paid else str(4000 + n)))

    def start(self):
        """Phones are registered before anybody calls them."""
        phones = [(str(4000 + n), "") for n in range(self.world.calls)]
        registrar = f'users = "phones.csv"\nregistrar = "sip:{self.world.server[0]}"\nexpires_s = 7200'
        tens = sorted({name[:3] for name, _ in phones})
        more = "".join(PHONE.format(tens=it, more=registrar if it == tens[0] else "") for it in tens)
        self._load("phones", 36, 5060, phones, "", more + REST)
        for port, (name, users) in enumerate(self.callers.items()):
            keys = f'target = "sip:{self.world.server[0]}"\n'
            keys += 'rtp_advertise = "10.1.0.5"\n' if "nat" in name else ""
            keys += 'ears = "echo"\n' if "paid" in name else ""
            self._load(name, 20, 5060 + port, users, keys, CALLER.format(name=name, rate=len(users) / MEAN))

    def _load(self, name, first, port, users, keys, tables):
        folder = self.house.path
        lines = [f"{user},{worlds.password(user)},{number}\n" for user, number in users]
        (folder / f"{name}.csv").write_text("user,password,number\n" + "".join(lines))
        plan = PLAN.format(first=self.world.at(first), port=port, domain=worlds.DOMAIN, stay=STAY, more=keys + tables,
                           addresses=", ".join(f'"{self.world.at(first + n)}"' for n in range(16)))
        (folder / f"{name}.toml").write_text(plan)
        command = [self.binary, "--role", "load", "--plan", folder / f"{name}.toml", "--report", folder / name]
        load = self.loads[name] = self.house.start(name, command, self.core)
        wait_for(lambda: "READY role=load" in load.log.read_text() or not load.is_alive(), name, 120)

    def is_alive(self):
        return all(load.is_alive() for load in self.loads.values())

    def words(self):
        return "\n".join(load.log.read_text()[-1000:] for load in self.loads.values())

    def end(self, patience=PATIENCE):
        """Callers first: phones answer until nobody calls any more. What became of all calls."""
        for name in [*self.callers, "phones"]:
            self.loads[name].end(patience=patience)
        runs = {}
        for name, load in self.loads.items():
            file = self.house.path / name / "load.json"
            if not file.exists():
                return {"problem": f"{name} has no report: {load.log.read_text()[-800:]}"}
            runs[name] = json.loads(file.read_text())
        return told(runs)


def told(runs):
    """Figures of all loads together; `failed` has those of each kind by reason."""
    phones, callers = runs["phones"]["callees"], {name: run["callers"] for name, run in runs.items() if name != "phones"}
    sides, failed = {"phones": phones, **callers}, collections.defaultdict(collections.Counter)
    for name, side in sides.items():
        for it in side["failures"]:
            failed[kind_of(it["step"], it["why"])][f"{name}, {it['step']}: {it['why']}"] += it["calls"]
        failed["stuck"][name] += side["begun"] - side["done"] - side["failed"]
        # One that was not heard in time may have heard another one meanwhile.
        failed["overheard"][f"{name}, other marks"] = sum(
            it["foreign_mark"] is not None and kind_of(it["step"], it["why"]) != "overheard"
            for it in runs[name]["failed_calls"]["calls"])
    people = [it for name, it in callers.items() if "paid" not in name]
    # Those who call phones, phones, and each who hears itself at the carrier: more than was said has come from elsewhere.
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
        "parties": sum(side["done"] for side in sides.values()), "judged": sum(it["judged"] for it in ears),
        "said": sum(side["packets"]["sent"] for side in sides.values()),
        "heard": sum(side["packets"]["received"] for side in sides.values()),
        "gap_ms": max((it["longest_gaps"]["max_ms"] for it in ears), default=0),
        "way_p99_ms": max((it["mouth_to_ear"]["p99_ms"] for it in ears), default=0),
        "way_ms": max((it["mouth_to_ear"]["max_ms"] for it in ears), default=0),
        "mos": min((side["mos"]["min"] for side in sides.values() if side["mos"]["min"]), default=0),
        "setup_p99_ms": max(run["setup"]["p99_ms"] for run in runs.values()),
        "sleeper_ms": max(run["sleeper_longest_ms"] for run in runs.values()),
    }


def kind_of(step, why):
    """Of a failed call."""
    if step.startswith("expect header"):
        return "strange_calls"
    if step == "say mark":
        return "unheard" if why in ("it heard nothing", "the far end did not hear it") else "overheard"
    return "unheard" if step.startswith("hears mark") and why == "not in time" else "lost"

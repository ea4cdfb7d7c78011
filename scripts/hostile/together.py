"""All attacks at once during honest calls, and the verdict."""

import contextlib
import subprocess
import time

import attack as attacks
import machine
import run as runs
import world as worlds
from honest import Honest

# Limits for every call: mouth-to-ear delay of its audio in ms, and its MOS, which is lower where 5 % are missing. The
# plans have the longest gap.
WAY_MS, MOS = 500, 3.8
# How much more a debug build of the server may have at the end than after the first minute, and additionally per
# minute.
MEMORY_KB, MEMORY_KB_MINUTE = 48_000, 200
# If a thread of the server waits for the machine for a higher percentage of the time than this, lateness and missing
# answers prove nothing about the server. Everything else does.
BUSY = 20
# The same applies if an idle program has overslept this much at once: half of the lateness limit.
STOPPED_MS = 250
# Time between two attackers' starts, s.
APART = 0.3
# Attacks end within this time after the end of the run.
PATIENCE = 90


def run(options):
    chosen = [one for one in attacks.ALL.values() if not (one.alone or one.lan) and (not options.only or one.name in options.only)]
    calls = options.calls or (40 if options.quick else 200)
    seconds = options.minutes * 60
    house, world, server = runs.house_with(options, chosen, calls, together=True)
    with house:
        honest = Honest(house, world, server, options.binary, runs.CORES)
        up = lambda: sum(it for name, it in server.counted().items() if name.startswith("b2b_calls{"))
        machine.wait_for(lambda: up() >= 0.8 * calls or not honest.is_alive(), "the calls", 60, 0.5)
        print(f"{calls} calls are up; {len(chosen)} attacks for {seconds:.0f} s", flush=True)
        before, begun = server.counted(), time.monotonic()
        working = {}
        for one in chosen:
            working[one.name] = runs.attacker(house, world, one, seconds)
            # So many programs that start at once leave no time to the calls that are judged.
            time.sleep(APART)
        while time.monotonic() < begun + seconds and server.is_alive() and honest.is_alive():
            time.sleep(1)
        end = time.monotonic() + PATIENCE
        for process in working.values():
            if server.is_alive():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.child.wait(max(0.1, end - time.monotonic()))
            process.end()
        took = time.monotonic() - begun
        path = options.json or "target/hostile.json"
        if options.keep:
            subprocess.run(["cp", "-r", house.path, options.keep], check=False)
        if not server.is_alive():
            found = {name: runs.told(process) for name, process in working.items()}
            machine.conclude(path, [f"the process ended: {server.said()[-1500:]}"], attacks=found)
        told = honest.end()
        after, left = server.counted(), held_after(server)
        problems, timed = judge(world, told, left, took) + server.never(), late(told)
        # Limits that apply only to a machine with enough time for everything.
        found = {}
        for one in chosen:
            it = runs.told(working[one.name]) or {"times": 0, "wins": 0, "got": "", "errors": 1, "error": "did not end"}
            it["counters"] = runs.risen(before, after, one.counters)
            found[one.name] = it
            if it["wins"]:
                (timed if one.timed else problems).append(f"{one.name} has won {it['wins']} of {it['times']} times: {it['got']}")
            elif it["errors"] >= max(1, it["times"]):
                timed.append(f"{one.name} never came to its point: {it['error']}")
            elif one.counters and not it["counters"]:
                problems.append(f"{one.name}: no counter says so ({', '.join(one.counters)})")
    abuse = {k: v - before.get(k, 0) for k, v in after.items() if "abuse" in k and v > before.get(k, 0)}
    show(found, told, abuse)
    # Whether the machine left the server enough time to be judged.
    had_time = told["watched"]["waited_pct"] <= BUSY and told["sleeper_ms"] < STOPPED_MS
    for it in [] if had_time else timed:
        print(f"not judged, on a machine that was so busy: {it}")
    machine.conclude(
        path, problems, timed if had_time else [], binary=str(options.binary), seconds=round(took), calls=calls,
        honest=told, attacks=found, left=left, abuse=abuse, timed=timed)


def held_after(server):
    """What is still held for any call, once that is nothing, or 80 s after the end."""
    end = time.monotonic() + 80
    while True:
        held = {name: it for name, it in server.holdings().items() if it and name != "sip_subscriptions"}
        if not held or time.monotonic() > end:
            return held
        time.sleep(0.5)


def late(honest):
    """What honest calls did not get, or not in time, as text."""
    words = list(honest["late"])
    words += [f"{honest['way_ms']:.0f} ms from mouth to ear, {WAY_MS} are allowed"] if honest["way_ms"] > WAY_MS else []
    words += [f"the worst call's MOS is {honest['mos']}, {MOS} is the least"] if honest["mos"] < MOS else []
    words += failed(honest, lost="calls were lost", unheard="were not heard", stuck="did not end")
    return [f"honest calls: {it}" for it in words]


def failed(honest, **kinds):
    """Those of these kinds, as text."""
    found = ((what, honest["failed"].get(kind)) for kind, what in kinds.items())
    return [f"{sum(whose.values())} {what}: {whose}" for what, whose in found if whose]


def judge(world, honest, left, took):
    """Failures for all other parties, however busy the machine was, as text."""
    problems = [f"honest calls: {it}" for it in failed(
        honest, overheard="times somebody else was heard", strange_calls="phones were called by nobody honest")]
    if not honest["calls"] or honest["judged"] < 0.8 * honest["parties"]:
        problems.append(f"only {honest['judged']} of {honest['parties']} parties were listened to")
    noted = world.notes("carrier")
    if foreign := sum(it["method"] == "RTP" for it in noted):
        problems.append(f"the carrier heard {foreign} packets of attackers")
    paid = tuple(f"sip:{number}" for number in (worlds.PAID, f"{worlds.HELP}@"))
    if bills := [it for it in noted if it["method"] == "INVITE" and not it["uri"].startswith(paid)]:
        problems.append(f"the carrier was called {len(bills)} times without a route: {bills[0]['uri']}")
    for who in ("neighbour", "elsewhere"):
        if seen := [it for it in world.notes(who) if it["method"]]:
            problems.append(f"{who} was sent {len(seen)} requests: {seen[0]['method']} {seen[0]['uri']}")
    if left:
        problems.append(f"still held: {left}")
    series = [it["memory_kb"] for it in honest["watched"]["over_time"] if it["at_s"] >= min(60, took / 2)]
    grown, allowed = series[-1] - series[0], MEMORY_KB + MEMORY_KB_MINUTE * took / 60
    if grown > allowed:
        problems.append(f"memory grew by {grown} KB, {allowed:.0f} are allowed")
    return problems


def show(found, honest, abuse):
    print(f"\n{'attack':18} {'times':>5} {'wins':>5}  {'counters':40} what it got")
    for name, it in found.items():
        counters = ", ".join(f"{k.removeprefix('b2b_')} +{v:.0f}" for k, v in list(it["counters"].items())[:2])
        print(f"{name:18} {it['times']:5} {it['wins']:5}  {counters[:40]:40} {it['got'] or it['error']}")
    watched = {key: it for key, it in honest["watched"].items() if key in ("cpu_pct", "waited_pct", "memory_kb")}
    print(f"\nhonest calls: {honest | {'watched': watched}}\nrefused: {abuse}")
    print(f"machine: a thread of the server waited for it {watched['waited_pct']:.0f} % of the time; "
          f"who only sleeps overslept {honest['sleeper_ms']} ms at most")

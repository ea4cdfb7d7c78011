"""All attacks at once beside honest calls, and the verdict."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import attack as attacks
import machine
import run as runs
import world as worlds
from honest import GAP_MS, MOS, WAY_MS, Honest

# What a debug build of the server may have more at the end than after the first minute, and beside that a minute.
MEMORY_KB, MEMORY_KB_MINUTE = 48_000, 200
# A thread of the server that waits for the machine for more of the time than this: what is late, or not answered in
# time, says nothing about the server. All else does.
BUSY = 0.2
# Nor does it where a program that only sleeps has overslept this much at once: half of what is late.
STOPPED_MS = 250
# Attacks end within so long after the time is over.
PATIENCE = 90


def run(options):
    chosen = [one for one in attacks.ALL.values() if not one.alone and (not options.only or one.name in options.only)]
    calls = options.calls or (40 if options.quick else 200)
    seconds = options.minutes * 60
    house, world, server = runs.house_with(options, chosen, calls, together=True)
    with house:
        honest = Honest(house, world, options.binary, runs.CORES)
        honest.start()
        machine.wait_for(lambda: up(server) >= 0.8 * calls or not honest.is_alive(), "the calls", 60, 0.5)
        if not honest.is_alive():
            sys.exit(f"no calls:\n{honest.words()}\n{server.log.read_text()[-2000:]}")
        print(f"{calls} calls are up; {len(chosen)} attacks for {seconds:.0f} s", flush=True)
        before, waited, begun = server.counted(), server.waited(), time.monotonic()
        taken = stolen()
        series = [(0.0, server.rss())]
        working = {one.name: runs.attacker(house, world, one, seconds) for one in chosen}
        said = begun
        while time.monotonic() < begun + seconds and server.is_alive() and honest.is_alive():
            time.sleep(1)
            series.append((time.monotonic() - begun, server.rss() if server.is_alive() else 0))
            if time.monotonic() > said + 60:
                said = time.monotonic()
                print(f"{(said - begun) / 60:.0f} min: {series[-1][1] // 1024} KB", flush=True)
        during = server.counted() if server.is_alive() else {}
        end = time.monotonic() + PATIENCE
        for process in working.values():
            if server.is_alive():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.child.wait(max(0.1, end - time.monotonic()))
            process.end()
        took = time.monotonic() - begun
        alive = server.is_alive()
        starved = max((it - waited.get(n, 0) for n, it in server.waited().items()), default=0) / took if alive else 0
        taken = stolen() - taken
        told = honest.end() if alive else honest.end(1)
        after = server.counted() if alive else {}
        quiet = alive and settles(server)
        left = server.holdings() if alive else {}
        problems = judge(world, server, alive, told, quiet, left, series, took)
        # What only a machine with time for all of it can be held to.
        timed = late(told)
        found = {}
        for one in chosen:
            it = runs.told(working[one.name]) or {"times": 0, "wins": 0, "got": "", "errors": 1, "error": "did not end"}
            it["counters"] = runs.risen(before, after or during, one.counters)
            found[one.name] = it
            if it["wins"]:
                (timed if one.timed else problems).append(f"{one.name} has won {it['wins']} of {it['times']} times: {it['got']}")
            elif it["errors"] >= max(1, it["times"]):
                timed.append(f"{one.name} never came to its point: {it['error']}")
            elif one.counters and not it["counters"]:
                problems.append(f"{one.name}: no counter says so ({', '.join(one.counters)})")
        result = {
            "machine": machine.machine(), "binary": str(options.binary), "seconds": round(took), "calls": calls,
            "honest": told, "attacks": found, "left": left, "problems": problems,
            "starved": round(starved, 2), "stolen_s": round(taken, 1), "timed": timed,
            "rss_kb": [series[0][1] // 1024, max(it for _, it in series) // 1024, series[-1][1] // 1024],
            "abuse": {k: v - before.get(k, 0) for k, v in after.items() if "abuse" in k and v > before.get(k, 0)},
        }
        path = Path(options.json or "target/hostile.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
        if options.keep:
            subprocess.run(["cp", "-r", house.path, options.keep], check=False)
        show(found, told, result)
        print(f"written: {path}")
        return 1 if problems else machine.ONLY_SLOW if timed and had_time(result) else 0


def had_time(result):
    """Whether the machine left the server the time to be judged by it."""
    return result["starved"] <= BUSY and result["honest"].get("sleeper_ms", 0) < STOPPED_MS


def stolen():
    """Seconds of CPU that the machine's host has given to others since the start (proc(5), steal)."""
    return int(Path("/proc/stat").read_text().split("\n", 1)[0].split()[8]) / os.sysconf("SC_CLK_TCK")


def up(server):
    """Calls that the server has now."""
    return sum(it for name, it in server.counted().items() if name.startswith("b2b_calls{"))


def settles(server):
    """Whether nothing is held any more of any call."""
    end = time.monotonic() + 80
    while time.monotonic() < end:
        held = {name: it for name, it in server.holdings().items() if it and name != "sip_subscriptions"}
        if not held:
            return True
        time.sleep(0.5)
    return False


def late(honest):
    """In words, what honest calls did not get, or not in time."""
    if "problem" in honest:
        return []
    limits = [("gap_ms", GAP_MS, "ms of sound were missing at once"), ("way_ms", WAY_MS, "ms from mouth to ear")]
    words = [f"{honest[name]:.0f} {what}, {most} are allowed" for name, most, what in limits if honest[name] > most]
    words += [f"the worst call's MOS is {honest['mos']}, {MOS} is the least"] if honest["mos"] < MOS else []
    words += failed(honest, lost="calls were lost", unheard="were not heard", stuck="did not end")
    return [f"honest calls: {it}" for it in words]


def failed(honest, **kinds):
    """Those of these kinds, in words."""
    found = ((what, honest["failed"].get(kind)) for kind, what in kinds.items())
    return [f"{sum(whose.values())} {what}: {whose}" for what, whose in found if whose]


def judge(world, server, alive, honest, quiet, left, series, took):
    """In words, what did not hold of everybody else, however busy the machine was."""
    problems = []
    if not alive:
        problems.append("the process ended: " + server.log.read_text(errors="replace")[-500:])
    if "problem" in honest:
        return [*problems, f"the honest calls: {honest['problem']}"]
    if not honest.get("calls"):
        problems.append("no honest call came to its end")
    if honest["judged"] < 0.8 * honest["parties"]:
        problems.append(f"only {honest['judged']} of {honest['parties']} parties were listened to")
    problems += [f"honest calls: {it}" for it in failed(
        honest, overheard="times somebody else was heard", strange_calls="phones were called by nobody honest")]
    noted = world.notes("carrier")
    foreign = sum(it["method"] == "RTP" for it in noted)
    if foreign:
        problems.append(f"the carrier heard {foreign} packets of attackers")
    bills = [it for it in noted if it["method"] == "INVITE" and not it["uri"].startswith(f"sip:{worlds.PAID}")]
    if bills:
        problems.append(f"the carrier was called {len(bills)} times without a route: {bills[0]['uri']}")
    for who in ("neighbour", "elsewhere"):
        seen = [it for it in world.notes(who) if it["method"]]
        if seen:
            problems.append(f"{who} was sent {len(seen)} requests: {seen[0]['method']} {seen[0]['uri']}")
    if alive and not quiet:
        problems.append(f"still held: { {k: v for k, v in left.items() if v} }")
    settled = [it for at, it in series if at >= min(60, took / 2)] or [series[-1][1]]
    allowed = (MEMORY_KB + MEMORY_KB_MINUTE * took / 60) * 1024
    if series[-1][1] - settled[0] > allowed:
        problems.append(f"memory grew by {(series[-1][1] - settled[0]) // 1024} KB, {allowed // 1024:.0f} are allowed")
    metrics = server.counted() if alive else {}
    for name in ("b2b_handler_panics_total", "b2b_panics_total", "b2b_illegal_events_total", 'b2b_records_total{result="lost"}'):
        if metrics.get(name):
            problems.append(f"{name} is {metrics[name]:.0f}")
    return problems


def show(found, honest, result):
    print(f"\n{'attack':18} {'times':>5} {'wins':>5}  {'counters':40} what it got")
    for name, it in found.items():
        counters = ", ".join(f"{k.removeprefix('b2b_')} +{v:.0f}" for k, v in list(it["counters"].items())[:2])
        print(f"{name:18} {it['times']:5} {it['wins']:5}  {counters[:40]:40} {it['got'] or it['error']}")
    print(f"\nhonest calls: {honest}\nmemory: {result['rss_kb']} KB at first, most, at last\nrefused: {result['abuse']}")
    busy = not had_time(result)
    print(f"machine: the server waited for it {result['starved']:.0%} of the time, its host took {result['stolen_s']} s of CPU; "
          f"who only sleeps overslept {honest.get('sleeper_ms')} ms at most")
    if busy:
        print("so what is only late is not judged")
    for it in result["timed"]:
        print(f"{'not judged' if busy else 'LATE'}: {it}")
    for it in result["problems"]:
        print(f"NOT HELD: {it}")
    bad = result["problems"] + ([] if busy else result["timed"])
    print("held" if not bad else f"{len(bad)} things did not hold")

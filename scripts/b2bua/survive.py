"""See scripts/survive.sh."""

import random
import re
import shutil
import sys
import tempfile
import time
import wave
from collections import Counter
from pathlib import Path

from machine import House, arguments, conclude, wait_for
from soak import user_of
from survive_deaths import DEATHS, dies
from survive_mix import CONNECTED, OUTBOUND, Calls, mix_of

# The exit code if the generator was late: figures of sound mean nothing.
VOID = 4
# Share of the time by which the generator may be later than a thread that only sleeps, percent.
LATE_PCT = 0.1
# A call has to be up for this long before its sound is judged, s.
JUDGED_S = 5
# Between two deaths, s: all sound is back, and all media is written.
BETWEEN_S = (6.5, 8)
# A gap belongs to the death from this long before its start on, s: clocks of processes are read at different times.
EARLY_S = 0.5
# The gap that 99 of 100 ears may hear.
GAP_MS = 600
# Agents are connected again one after the other, ms.
APART_MS = 10
SIDES = "caller", "callee", "agent"
# The keeper takes this long to notice that a server hangs, ms.
HANG_MS = 7_500
# After a longer gap the sound is not back; without limits of time, after one that lasts until the next death.
SILENT_MS, UNTIMED_MS = 4_000, 6_000
# A refusal that nobody acknowledges is kept for 64 T1 (RFC 3261 §17.2.1), s.
UNSETTLED_S = 35
# Without calls all of it is 0; transactions stay for half a minute (RFC 3261 §17.2.2), which --short does not wait for.
AT_ONCE = ("calls", "legs", "media_endpoints", "media_streams", "voice_sockets", "commands")


class Ears:
    """The gaps and failed calls of the loads, by death."""

    def __init__(self, deaths, is_timed=True):
        self.deaths, self.problems, self.is_timed, self.by_load = deaths, [], is_timed, {}
        for row in deaths:
            row |= {"failed": [], "refused": [], "gaps": {side: [] for side in SIDES}}

    def death_at(self, at):
        """The last death before this time."""
        return next((row for row in reversed(self.deaths) if row["at"] - EARLY_S <= at), None)

    def take(self, name, began, told):
        """What a load has heard; what has nothing to do with a death is a problem."""
        for it in told["failed_calls"]["calls"]:
            row = self.death_at(began + it["at_s"] + it["lasted_s"])
            words = f"{name}: {it.get('kind') or it['side']} {it['number']}: `{it['step']}`: {it['why']}"
            if name in CONNECTED and it["step"] in ("hang up", "say mark"):
                continue
            if row is None:
                self.problems.append(f"before the first death: {words}")
            else:
                never_answered = it["step"].startswith(("dial", "transfer")) and it["why"].startswith("refused")
                row["refused" if never_answered else "failed"].append(words)
        # An index that is used twice under one key, or a receiver that counts from another one.
        if refused := sum(told[side]["packets"]["unauthenticated"] for side in ("callers", "callees")):
            self.problems.append(f"{name}: {refused} SRTP packets were refused")
        longest = Counter()
        for gap in told["gaps"]["heard"]:
            row = self.death_at(began + gap["at_s"])
            side = "agent" if name == "agent" else gap["side"]
            key = (self.deaths.index(row) if row else None, side, gap["number"])
            longest[key] = max(longest[key], gap["ms"])
        for (death, side, _), ms in longest.items():
            if death is not None:
                self.deaths[death]["gaps"][side].append(ms)
                if self.deaths[death]["kind"] != "SIGSTOP":
                    self.by_load.setdefault(name, []).append(ms)

    def judge(self):
        """As text, what was not to happen."""
        for n, row in enumerate(self.deaths):
            name, of_agents = f"death {n + 1} ({row['kind']})", row["gaps"]["agent"]
            gaps = row["gaps"]["caller"] + row["gaps"]["callee"]
            hang = HANG_MS if row["kind"] == "SIGSTOP" else 0
            row["silent"] = sum(ms > (SILENT_MS if self.is_timed else UNTIMED_MS) + hang for ms in gaps + of_agents)
            failed = Counter(re.sub(r"\d+", "N", words) for words in row["failed"])
            self.problems += [f"{name}: {count} times {words}" for words, count in failed.most_common(12)]
            if row["silent"]:
                self.problems.append(f"{name}: {row['silent']} ears heard nothing any more")
            if row["ended"]:
                self.problems.append(f"{name}: the server says that it lost {row['ended']}")
            if row["moved"]:
                self.problems.append(f"{name}: {len(row['moved'])} are not as before: {'; '.join(row['moved'][:3])}")
            for whose, ms, limit in (("", gaps, GAP_MS), (" of agents' callers", of_agents, GAP_MS + APART_MS * len(of_agents))):
                if self.is_timed and not hang and (p99 := percentile(ms, 99) or 0) > limit:
                    self.problems.append(f"{name}: the gap{whose} is {p99} ms in the 99th percentile")
        return self.problems


def chosen(count, chance):
    """So many kinds of deaths; of twenty, each is there as often as in `DEATHS`."""
    kinds = DEATHS * (count // len(DEATHS))
    return chance.sample(kinds, len(kinds)) + chance.sample(DEATHS, count % len(DEATHS))


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * percent / 100))] if values else None


def gaps_of(values):
    return "/".join(str(percentile(values, it)) for it in (50, 99, 100)) if values else "-"


def table(deaths):
    print(f"{'':>3} {'death':<10} {'up':>5} {'went on':>7} {'lost':>5} {'silent':>6} {'refused':>7}  {'caller p50/p99/max':<20} "
          f"{'callee p50/p99/max':<20} {'agent p50/p99/max':<20} {'away':>6} {'restored in':>11} ms")
    for n, row in enumerate(deaths):
        gaps = [gaps_of(row["gaps"][side]) for side in SIDES]
        print(f"{n + 1:>3} {row['kind']:<10} {row['up']:>5} {row['went_on']:>7} {len(row['failed']):>5} {row['silent']:>6} "
              f"{len(row['refused']):>7}  {gaps[0]:<20} {gaps[1]:<20} {gaps[2]:<20} {row['away_ms']:>6} {row['restored_ms']:>11}")


def records_wrong(records, counts):
    """As text, where records differ from the calls that there were."""
    seen = Counter((it["call_id"], it["leg_id"], it["sip_call_id"]) for it in records)
    twice = [key for key, count in seen.items() if count > 1]
    problems = [f"{len(twice)} records are there twice: {twice[:3]}"] if twice else []
    ways = Counter((user_of(it["callee"]), it["direction"]) for it in records)
    rooms = sum(count for (number, way), count in ways.items() if number.startswith("room") and way == "inbound")
    for kind, count in counts.items():
        inbound = rooms if kind == "room" else ways[{"parked": "700"}.get(kind, kind), "inbound"]
        outbound = ways[kind, "outbound"]
        if inbound != count or outbound != (count if kind in OUTBOUND else 0):
            problems.append(f"{kind}: {inbound} inbound and {outbound} outbound records of {count} calls")
    return problems


def kept(folder, calls, seconds, what):
    """As text, whether these calls have their files, and each file most of its call."""
    lengths = []
    for path in folder.rglob("*.wav"):
        with wave.open(str(path)) as file:
            lengths.append(file.getnframes() / file.getframerate())
    short = [round(it, 1) for it in lengths if it < seconds]
    problems = [f"{what}: {len(lengths)} files of {calls} calls"] if len(lengths) != calls else []
    return problems + ([f"{what}: {len(short)} files are shorter than {seconds:.0f} s: {short[:4]}"] if short else [])


def empties(server):
    """Whether nothing is left in memory, once all records are written and all refusals are acknowledged."""
    end = time.monotonic() + UNSETTLED_S
    while any(server.ask("/survive")[it] for it in ("covered", "not_covered")):
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def main():
    options = arguments(calls=1000, deaths=20, seed=0, rate=25, short=False, untimed=False, only="", kinds="", logs="", json="target/survive.json")
    if options.short:
        options.calls, options.deaths, options.rate = 100, 3, 50
    seed = options.seed or random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)
    # The loads' seeds, too.
    random.seed(seed)
    kinds = options.kinds.split(",") if options.kinds else chosen(options.deaths, chance)
    if options.short and not options.kinds:
        # At most one that takes seconds.
        kinds = chance.sample(["SIGKILL", "restoring", chance.choice(DEATHS)], 3)
    counts, deaths = mix_of(options.calls, options.only.split(",") if options.only else None), []
    print(f"seed {seed}: {sum(counts.values())} calls: {counts}; deaths by {', '.join(kinds)}", flush=True)
    seconds = len(kinds) * BETWEEN_S[1] + kinds.count("SIGSTOP") * HANG_MS / 1000 + JUDGED_S
    with House() as house:
        if options.logs:
            house.callback(shutil.copytree, house.path, options.logs, dirs_exist_ok=True)
        memory = Path(house.enter_context(tempfile.TemporaryDirectory(prefix="b2b-survive-", dir="/dev/shm"))) / "calls"
        calls = Calls(house, memory, counts, options.rate, seconds)
        calls.begin()
        server, began = calls.server, time.time()
        time.sleep(JUDGED_S if options.short else JUDGED_S * 2)
        for kind in kinds:
            deaths.append(dies(server, kind, chance))
            print(f"  {deaths[-1]}"[:400], flush=True)
            time.sleep(chance.uniform(*BETWEEN_S))
        up, lasted = server.holdings()["calls"], time.time() - began
        told = calls.end()
        ears = Ears(deaths, not options.untimed)
        for name in told:
            ears.take(name, calls.began[name], told[name])
        late = {name: round(max(0.0, it["generator_late_pct"] - it["sleeper_late_pct"]), 3) for name, it in told.items()}
        quiet = lambda: server.is_quiet(0) if not options.short else not any(map(server.holdings().get, AT_ONCE))
        problems = ears.judge()
        end = time.monotonic() + 100
        while not quiet() and time.monotonic() < end:
            time.sleep(0.5)
        if not quiet():
            problems.append(f"after all calls: {server.not_let_go()}")
        servers = [server, *server.others]
        full = [it for it in servers if not empties(it)]
        problems += [f"in memory at the end: {it.ask('/survive')}" for it in full]
        problems += [words for it in servers for words in it.never() + it.stop()]
        records = [record for it in servers for record in it.cdrs()]
        for folder, kind in (("voicemail", "voicemail"), ("recordings", "recorded")):
            problems += kept(house.path / folder, counts.get(kind, 0), lasted - 3, folder)
        problems += records_wrong(records, {kind: count for kind, count in counts.items() if kind != "rings"})
    table(deaths)
    print("gaps by load, p50/p99/max ms:", ", ".join(f"{name} {gaps_of(values)}" for name, values in ears.by_load.items()))
    each = {name: (it["callers"]["answered"], it["callers"]["done"]) for name, it in told.items() if it["callers"]["begun"]}
    print(f"answered and done: {each}; {up} up after the last death; {len(records)} records")
    machine = max((it["sleeper_longest_ms"], it["sleeper_late_pct"]) for it in told.values())
    print(f"the generator was late for {max(late.values())} %; the machine for {machine[1]:.2f} % of the time, {machine[0]} ms at once")
    if max(late.values()) > LATE_PCT and not options.untimed:
        for words in problems:
            print(f"NOT HELD: {words}")
        print(f"VOID: the generator was late: {late}")
        sys.exit(VOID)
    conclude(options.json, problems, seed=seed, counts=counts, deaths=deaths)


if __name__ == "__main__":
    main()

"""See scripts/hold-b2bua.sh."""

import json
import signal
import subprocess
import tempfile
import time

from load import Load
from machine import (
    AT, BUILT, HERE, LAST_CORE, PARTIES, ROOT, House, Process, Server, arguments, conclude, wait_for)
from survive_deaths import killed
from survive_mix import Kept

RTP = f"{PARTIES}:7000"
RAMP = 100
# A call without a packet for this long is ended, so every call needs RTP.
TIMEOUT_S = 20
# Share of packets that may be lost. Lateness is not judged.
LOST = 1e-4
# Share that may be in flight at the end of a minute. More means that a stream has stopped, which leaves no gap.
IN_FLIGHT = 1e-2
# After a death with 10,000 calls: all have sound again, and all are taken up, within this time, ms.
SOUND_MS, SIGNALLING_MS = 3_000, 8_000


class Rtp(Process):
    """examples/rtp_load, with its commands."""

    def __init__(self, house, full):
        command = [BUILT / "examples/rtp_load", AT, RTP, full]
        super().__init__(house, "rtp", command, LAST_CORE, stdin=subprocess.PIPE)
        self.ready("ready")

    def tell(self, word, answer):
        """Sends a command; returns the line that answers it."""
        before = self.said().count(answer)
        self.child.stdin.write(f"{word}\n".encode())
        self.child.stdin.flush()
        wait_for(lambda: self.said().count(answer) > before, f"an answer to {word}")
        return self.said().splitlines()[-1]

    def report(self):
        return json.loads(self.tell("report", "streams"))


def side(house, who, *more):
    """A load whose session descriptions name the one socket."""
    host, _, port = RTP.partition(":")
    words = (ROOT / f"tests/sipp/load/{who}.xml").read_text()
    # A load gives a message three minutes where the scenario does not say otherwise.
    words = words.replace('<recv request="BYE"/>', '<recv request="BYE" timeout="86400000"/>')
    path = house.path / f"{who}.xml"
    path.write_text(words.replace("[media_ip]", host).replace("[media_port]", port))
    return Load(house, who, "--scenario", path, "--scenario-key", "rtcp=a=rtcp-mux", *more)


def serving(house, callee, options):
    config = (HERE / "bench/b2bua.toml").read_text()
    config = config.replace("rtp_timeout_s = 0", f"rtp_timeout_s = {TIMEOUT_S}").replace('listen = "off"', 'listen = "$http"\ntoken = "off"')
    if options.survives or options.dies:
        memory = house.enter_context(tempfile.TemporaryDirectory(prefix="b2b-hold-", dir="/dev/shm"))
        config += f'\n[survive]\nfile = "{memory}/calls"\nsize_mb = 512\n'
    path = house.path / "hold.template.toml"
    path.write_text(config)
    return (Kept if options.dies else Server)(house, path, callee=callee.address, threads=2).rests()


def dies(server, calls):
    """Kills the server; returns what the next one has taken, and what is not as it has to be, as text."""
    at, begun = killed(server, signal.SIGKILL)
    server.comes_back()
    before = lambda: server.ask("/survive")["before"]
    wait_for(lambda: before()["took"]["signalling_ms"] is not None, "all calls to be taken up", 60)
    took, away = before()["took"], (begun - at) * 1000
    sound = away + sum(took[f"{part}_ms"] for part in ("starting", "reading", "opening", "writing", "joining"))
    row = {"away_ms": round(away), "sound_ms": round(sound), "took": took, "went_on": before()["went_on"]}
    row["signalling_ms"] = round(sound + took["listening_ms"] + took["signalling_ms"])
    problems = [f"{row['went_on']} of {calls} calls went on"] if row["went_on"] != calls else []
    late = row["sound_ms"] > SOUND_MS or row["signalling_ms"] > SIGNALLING_MS
    return row, problems + ([f"calls were back late: {row}"] if late else [])


def share(count):
    return count["missing"] / max(count["received"], 1)


def main():
    options = arguments(calls=10_000, full=1_000, minutes=10, survives=False, dies=False, json="target/hold-b2bua.json")
    problems, minutes = [], []
    with House() as house:
        callee = side(house, "callee")
        server = serving(house, callee, options)
        rtp, before = Rtp(house, options.full), server.rss()
        hold = options.calls / RAMP + (100 if options.dies else 40) + options.minutes * 60
        caller = side(house, "caller", "--rate", RAMP, "--calls", options.calls, "--hold-s", hold,
                         "--target", f"sip:bench@{server.address}")
        are_up = lambda: server.holdings()["calls"] == options.calls or not caller.is_alive()
        wait_for(are_up, f"{options.calls} calls", options.calls / RAMP * 2 + 20, 0.5)
        time.sleep(5)
        print(f"{server.holdings()['calls']} calls are up; 50 packets a second both ways in {rtp.tell('full', ' calls')}", flush=True)
        time.sleep(10)
        rtp.report()
        for minute in range(options.minutes):
            cpu = server.cpu()
            time.sleep(60)
            row = {"minute": minute + 1, "calls": server.holdings()["calls"], "rss_mb": round(server.rss() / 2**20, 1)}
            row |= {"cpu_percent": round((server.cpu() - cpu) / 60 * 100, 1), **rtp.report()}
            minutes.append(row)
            lost = f"lost {share(row['full']) * 100:.4f} % and {share(row['slow']) * 100:.4f} %, {row['unread']} unread by the load"
            print(f"  {minute + 1:>3} min: {row['calls']} calls, {row['rss_mb']} MB, {row['cpu_percent']} % of a core, {lost}", flush=True)
            if row["calls"] != options.calls:
                problems.append(f"{row['calls']} calls are up in minute {minute + 1}")
            for kind in ("full", "slow"):
                count = row[kind]
                lost = count["missing"] - row["unread"] > count["received"] * LOST + 64
                if lost or count["misled"] or count["received"] < count["sent"] * (1 - IN_FLIGHT):
                    problems.append(f"minute {minute + 1}, {kind}: {count}, {row['unread']} unread")
        if options.dies:
            death, late = dies(server, options.calls)
            print(f"  after a kill: {death}", flush=True)
            problems += late
            # What came before is not of this report.
            time.sleep(10)
            rtp.report()
            time.sleep(10)
            after = rtp.report()
            print(f"  then: {after}", flush=True)
            if after["silent"]:
                problems.append(f"after a kill {after['silent']} parties hear nothing")
        problems += server.never()
        caller.finish(hold * 2, options.calls)
        callee.ended(options.calls)
        rtp.child.stdin.close()
        wait_for(lambda: server.is_quiet(options.calls * 2), f"all to be given back: {server.not_let_go()}", 60, 0.5)
        problems += server.stop()
        records = server.cdrs()
        short = sum(it["billmsec"] < options.minutes * 60_000 for it in records)
        if len(records) != options.calls * 2 or short:
            problems.append(f"{len(records)} records, {short} of calls that ended too early")
    each = round((minutes[-1]["rss_mb"] * 2**20 - before) / 1024 / options.calls, 1)
    print(f"{options.calls} calls for {options.minutes} minutes, {options.full} of them with full RTP: {each} KB each")
    conclude(options.json, problems, minutes=minutes, kb_each=each, death=death if options.dies else None)


if __name__ == "__main__":
    main()

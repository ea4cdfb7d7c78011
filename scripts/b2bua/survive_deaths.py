"""How the server of scripts/survive.sh dies."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from machine import LAST_CORE, wait_for

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGSEGV": signal.SIGSEGV, "SIGABRT": signal.SIGABRT, "SIGSTOP": signal.SIGSTOP}
# Of twenty deaths.
DEATHS = ["SIGKILL"] * 8 + ["panic"] * 4 + ["SIGSEGV"] * 2 + ["memory"] * 2 + ["SIGSTOP"] * 2 + ["restoring"] * 2
# A second death comes so long after the first one, s: before, while and after calls are restored.
AGAIN_S = (0.02, 0.2)
# What applications tell is as before within this time, s.
SETTLED_S = 10
# The limit of memory for the server and a process that takes all of it, and what the latter asks for.
LIMIT_MB, ASKED_MB = 64, 512
GROUPS = Path("/sys/fs/cgroup")
HUNGRY = f"""
import time
held = []
for _ in range({ASKED_MB}):
    held.append(bytearray(b"x") * 2**20)
time.sleep(60)
"""


class NotHere(Exception):
    """This machine or build does not let the server die like that."""


def out_of_memory(server):
    """The kernel ends the server: another process in its control group takes all memory, and the server is the first to go."""
    within = GROUPS / "memory" if (GROUPS / "memory").is_dir() else GROUPS
    group = within / f"b2b-survive-{os.getpid()}"
    limit = group / ("memory.limit_in_bytes" if within.name == "memory" else "memory.max")
    hungry = None
    try:
        group.mkdir(exist_ok=True)
        limit.write_text(str(LIMIT_MB << 20))
        pid = server.pid
        hungry = subprocess.Popen(["taskset", "-c", str(LAST_CORE), sys.executable, "-c", f"input()\n{HUNGRY}"], stdin=subprocess.PIPE)
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
        for process in (pid, hungry.pid):
            (group / "cgroup.procs").write_text(str(process))
        hungry.stdin.write(b"\n")
        at = time.time()
        hungry.stdin.close()
        return at, server.is_away(pid)
    except OSError as error:
        raise NotHere(f"no control group with a limit of memory: {error}") from error
    finally:
        if hungry:
            hungry.kill()
            hungry.wait()
        if group.exists():
            wait_for(lambda: removed(group), f"{group} to be empty")


def removed(group):
    try:
        group.rmdir()
    except OSError:
        return False
    return True


def panics(server):
    """The calls' thread panics, in a debug build (src/base/util/panics.rs), at a message that belongs to no call."""
    pid, (host, _, port) = server.pid, server.address.partition(":")
    words = f"INFO sip:x@{server.address} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{pid}\r\nMax-Forwards: 70\r\n"
    words += f"From: <sip:x@127.0.0.1>;tag=p\r\nTo: <sip:x@{host}>;tag=q\r\nCall-ID: {pid}\r\nCSeq: 1 INFO\r\n"
    words += "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\npanic"
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(words.encode(), (host, int(port)))
    at = time.time()
    wait = time.monotonic() + 1
    while server.now() == pid:
        if time.monotonic() > wait:
            raise NotHere("this build cannot be made to panic")
        time.sleep(0.002)
    return at, time.time()


def killed(server, how):
    at, pid = time.time(), server.pid
    os.kill(pid, how)
    # The first one only takes away the handler of Rust's library: a real fault happens again.
    while how == signal.SIGSEGV and server.now() == pid and time.time() - at < 1:
        time.sleep(0.002)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, how)
    return at, server.is_away(pid)


def dies(server, kind, chance):
    """Kills the server in this way; returns when, and what was seen."""
    standing, up = server.standing(), sum(it.holdings()["calls"] for it in [server, *server.others])
    for other in server.others:
        killed(other, signal.SIGKILL)
    try:
        how = {"memory": out_of_memory, "panic": panics}.get(kind)
        at, begun = how(server) if how else killed(server, SIGNALS.get(kind, signal.SIGKILL))
    except NotHere as why:
        print(f"  no death by {kind}, but SIGKILL: {why}", flush=True)
        kind = "SIGKILL"
        at, begun = killed(server, signal.SIGKILL)
    if kind == "restoring":
        time.sleep(chance.uniform(*AGAIN_S))
        server.lives = server.has_been_ready()
        _, begun = killed(server, signal.SIGKILL)
    back = server.comes_back()
    for other in server.others:
        other.comes_back()
    before = [it.ask("/survive")["before"] or {} for it in [server, *server.others]]
    ended = Counter(lost["why"] for it in before for lost in it.get("ended", ()))
    row = {"kind": kind, "at": at, "up": up, "went_on": sum(it.get("went_on", 0) for it in before), "ended": dict(ended)}
    row |= {"away_ms": round((begun - at) * 1000), "restored_ms": round((back - begun) * 1000)}
    row["took_ms"] = {part.removesuffix("_ms"): ms for part, ms in before[0].get("took", {}).items()}
    # Applications begin after the server is ready.
    end = time.monotonic() + SETTLED_S
    while (words := moved(standing, server.standing())) and time.monotonic() < end:
        time.sleep(0.1)
    return row | {"moved": words}


def moved(before, after):
    """As text, what of the applications is not as it was."""
    words = []
    if before["queue"] != after["queue"]:
        words.append(f"the queue's order: {before['queue']} became {after['queue']}")
    for what in ("rooms", "places"):
        for name in before[what].keys() | after[what].keys():
            if (was := before[what].get(name)) != (now := after[what].get(name)):
                words.append(f"{what} {name}: {was} became {now}")
    return words

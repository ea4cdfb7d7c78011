"""Call setup through the b2bua with each media controller: see scripts/bench-media.sh."""

import os

from load import Load
from machine import AT, BINARY, HERE, LAST_CORE, PORTS, House, Process, Server, arguments, median

LABELS = {"embedded": "embedded", "http": "media server, REST", "grpc": "media server, gRPC"}
# Calls per second: each is over long before the next one.
RATE = 50
# Common to all of them.
CORES = f"0-{LAST_CORE}"


def started(house, name, callee):
    """A server with this media controller."""
    controller, at = name, f"{AT}:{next(PORTS)}"
    if name != "embedded":
        Process(house, f"media-{name}", [BINARY, "--role", "media", "--listen", at], CORES).ready()
        controller = f"{name}://{at}"
    return Server(house, HERE / "media_setup.toml", name, CORES, controller=controller, callee=callee.address)


def main():
    options = arguments(calls=500, runs=5)
    with House() as house:
        callee = Load(house, "callee", "--signalling-only", "--callee", "answer; hung up", core=CORES)
        servers = {name: started(house, name, callee) for name in LABELS}
        found = {name: [] for name in LABELS}
        # The first round is a warm-up.
        for run in range(options.runs + 1):
            for name, server in servers.items():
                flags = ["--target", f"sip:200@{server.address}", "--caller", "dial 200; hang up", "--signalling-only"]
                caller = Load(house, f"{name}-{run}", *flags, "--rate", RATE, "--calls", options.calls, core=CORES)
                found[name].append(caller.finish(options.calls / RATE + 60, options.calls))
        callee.ended(options.calls * 3 * (options.runs + 1))
    # A timer starts the calls: its lateness does not count as the server's time.
    took = lambda name: median(it["setup"]["p50_ms"] - it["lateness"]["p50_ms"] for it in found[name][1:])
    print(f"{options.runs} runs of {options.calls} calls each, {RATE} a second; load average {os.getloadavg()[0]:.1f}")
    print("| media | INVITE to 200, median ms | p99 ms, from when a call was due | added, median ms |\n|---|---|---|---|")
    for name, label in LABELS.items():
        p99 = median(it["setup"]["p99_ms"] for it in found[name][1:])
        print(f"| {label} | {took(name):.2f} | {p99:.2f} | {took(name) - took('embedded'):+.2f} |")


if __name__ == "__main__":
    main()

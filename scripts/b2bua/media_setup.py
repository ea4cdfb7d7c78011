"""Call setup through the b2bua with each way of carrying media: see scripts/bench-media.sh."""

import argparse
import os

from load import Load
from machine import BINARY, LAST_CORE, House, ending, free_port, median, wait_for

LABELS = {"embedded": "embedded", "http": "media server, REST", "grpc": "media server, gRPC"}
# Calls a second: each is over long before the next one.
RATE = 50
# Everything has all of them.
CORES = f"0-{LAST_CORE}"


def started(house, name, callee):
    """A server that carries media so."""
    controller, at = name, f"127.0.0.1:{free_port()}"
    if name != "embedded":
        media = house.start(f"media-{name}", [BINARY, "--role", "media", "--listen", at], CORES)
        wait_for(lambda: "READY" in media.log.read_text(), "the media server")
        controller = f"{name}://{at}"
    at = f"127.0.0.1:{free_port()}"
    config = house.path / f"{name}.toml"
    config.write_text(
        f'[server]\nlisten = ["udp:{at}"]\ntrusted = ["127.0.0.0/8"]\nstore = "memory"\n[http]\nlisten = "off"\n'
        f'[media]\ncontroller = "{controller}"\n[log]\nlevel = "warn"\n[[route]]\nto = "sip:bob@{callee}"\n'
    )
    server = house.start(name, [BINARY, "--role", "b2bua", "--config", config], CORES)
    wait_for(lambda: "READY" in server.log.read_text(), "the server")
    return at


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with House() as house:
        callee = Load(house, "callee", "--signalling-only", "--callee", "answer; hung up", core=CORES)
        servers = {name: started(house, name, callee.address) for name in LABELS}
        found = {name: [] for name in LABELS}
        # The first round warms up.
        for run in range(options.runs + 1):
            for name, at in servers.items():
                flags = ["--target", f"sip:200@{at}", "--caller", "dial 200; hang up", "--signalling-only"]
                caller = Load(house, f"{name}-{run}", *flags, "--rate", str(RATE), "--calls", str(options.calls), core=CORES)
                found[name].append(caller.finish(options.calls / RATE + 60, options.calls))
        callee.end(options.calls * 3 * (options.runs + 1))
    # Calls begin when a timer says so: what they were late is no part of what the server takes.
    took = lambda name: median(it["setup"]["p50_ms"] - it["lateness"]["p50_ms"] for it in found[name][1:])
    print(f"{options.runs} runs of {options.calls} calls each, {RATE} a second; load average {os.getloadavg()[0]:.1f}")
    print("| media | INVITE to 200, median ms | p99 ms, from when a call was due | added, median ms |\n|---|---|---|---|")
    for name, label in LABELS.items():
        p99 = median(it["setup"]["p99_ms"] for it in found[name][1:])
        print(f"| {label} | {took(name):.2f} | {p99:.2f} | {took(name) - took('embedded'):+.2f} |")


if __name__ == "__main__":
    ending(main)

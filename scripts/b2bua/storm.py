"""See scripts/storm-b2bua.sh."""

import argparse
import json
import sys
import time
from pathlib import Path

import mix
from machine import House, machine, wait_for

KINDS = [
    mix.ANSWERED, mix.CANCELLED, mix.REFUSED, mix.UNANSWERED, mix.NOWHERE, mix.CALLER_VANISHES, mix.CALLEE_VANISHES,
]
# Timer B and F (RFC 3261): INVITE and BYE to a peer that is gone, one after the other.
LONGEST = 32


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--calls", type=int, default=10_000)
    words.add_argument("--rate", type=int, default=150)
    words.add_argument("--json", default="target/storm-b2bua.json")
    # Two equal storms: what one needs at most, the other finds there. Memory that grows
    # by more than this for each call is a leak.
    words.add_argument("--bytes-per-call", type=int, default=100)
    options = words.parse_args()
    problems, counts, resting = [], {}, []
    with House() as house:
        calls = mix.Mix(house, KINDS)
        server = house.server(
            calls.routes,
            media='ports = "10000-64999"\nthreads = 1\nrtp_timeout_s = 3',
            limits="calls = 12000",
            server="drain_s = 5",
            http="on",
        )
        calls_before = {"descriptors": server.descriptors()}
        for storm in range(4):
            # The first two fill what is filled once: tables, arenas, ports bound ahead.
            share = options.calls // 4
            for name, count in calls.call(server, share, options.rate).items():
                counts[name] = counts.get(name, 0) + count
            wait_for(lambda: server.is_quiet(), f"nothing to be held after storm {storm + 1}", 3 * LONGEST, 0.5)
            time.sleep(1)
            resting.append(server.rss())
            print(f"storm {storm + 1}: {share} calls, {resting[-1] / 2**20:.1f} MB at rest", flush=True)
        held = server.holdings()
        problems += [f"{name} is {value}, not 0" for name, value in held.items() if value]
        descriptors = server.descriptors()
        # Media threads keep up to 64 endpoints bound ahead.
        for name, count in descriptors.items():
            if count > calls_before["descriptors"].get(name, 0) + 2:
                problems.append(f"{name} had {calls_before['descriptors'].get(name)} descriptors and has {count}")
        grown = (resting[3] - resting[1]) / (options.calls / 2)
        if grown > options.bytes_per_call + 2**20 / (options.calls / 2):
            problems.append(f"memory grew by {grown:.0f} bytes a call: {[it // 1024 for it in resting]} KB")
        left = server.stop()
        if left is None or any(left.values()):
            problems.append(f"left at the end: {left}")
        if "calls may go on" in server.log.read_text():
            problems.append("calls were up at the end")
        problems += calls.wrong(server.cdrs(), counts)
        result = {
            "machine": machine(),
            "calls": counts,
            "rss_kb_at_rest": [it // 1024 for it in resting],
            "bytes_per_call": round(grown, 1),
            "holdings": held,
            "descriptors": descriptors,
            "left": left,
            "problems": problems,
        }
    Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    print(f"{sum(counts.values())} calls: {counts}; grown by {grown:.0f} bytes a call; left: {left}")
    for problem in problems:
        print(f"NOT HELD: {problem}")
    print(f"written: {options.json}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

"""See scripts/storm-b2bua.sh."""

import argparse
import time

import call_kinds
from machine import House, close, conclude, ending, machine, wait_for

# Timer B and F (RFC 3261): INVITE and BYE to a peer that is gone, one after the other.
LONGEST = 32
WARM_UP = 1_200


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--calls", type=int, default=10_000)
    words.add_argument("--rate", type=int, default=150)
    words.add_argument("--json", default="target/storm-b2bua.json")
    words.add_argument("--storms", type=int, default=4)
    # Of memory that a call leaves behind, and what the allocator may do besides.
    words.add_argument("--bytes-per-call", type=int, default=60)
    words.add_argument("--noise-kb", type=int, default=1024)
    options = words.parse_args()
    problems, resting = [], []
    with House() as house:
        calls = call_kinds.Mix(house, "storm.toml")
        server = house.server(
            calls.routes,
            media='ports = "10000-64999"\nthreads = 1\nrtp_timeout_s = 3',
            limits="calls = 12000",
            server="drain_s = 5",
            http="on",
        )
        # What is filled once is filled before: tables, arenas, the ring of events.
        calls.call(server, WARM_UP, options.rate)
        wait_for(lambda: server.is_quiet(2 * WARM_UP), "the end of the first calls", 4 * LONGEST, 0.5)
        baseline = server.descriptors()
        share = options.calls // options.storms
        for storm in range(options.storms):
            calls.call(server, share, options.rate)
            legs = 2 * sum(calls.counts.values())
            wait_for(lambda: server.is_quiet(legs), f"the end of storm {storm + 1}", 4 * LONGEST, 0.5)
            time.sleep(1)
            resting.append(server.rss())
            print(f"storm {storm + 1}: {share} calls, {resting[-1] / 2**20:.1f} MB at rest", flush=True)
        held = server.holdings()
        descriptors = server.descriptors()
        problems += server.not_let_go(baseline)
        after = share * (options.storms - 1)
        grown = resting[-1] - resting[0]
        if grown > options.bytes_per_call * after + options.noise_kb * 1024:
            problems.append(f"memory grew by {grown // 1024} KB with {after} calls: {[it // 1024 for it in resting]} KB")
        left, _ = close(calls, server, problems)
        if "calls may go on" in server.log.read_text():
            problems.append("calls were up at the end")
        result = {
            "machine": machine(),
            "calls": calls.counts,
            "rss_kb_at_rest": [it // 1024 for it in resting],
            "grown_kb": grown // 1024,
            "holdings": held,
            "descriptors": descriptors,
            "left": left,
            "problems": problems,
        }
    shown = f"{sum(calls.counts.values())} calls: {calls.counts}; at rest {grown // 1024} KB more than after the first storm; left: {left}"
    conclude(options.json, result, shown)


if __name__ == "__main__":
    ending(main)

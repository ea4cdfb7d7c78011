"""See scripts/soak-b2bua.sh."""

import argparse
import json
import math
import sys
import threading
import time

import call_kinds
from machine import House, close, conclude, ending, machine, median, wait_for

WARM_UP_S = 45


def slope(series):
    """Bytes a second, by least squares, of (s, bytes)."""
    mean_t = sum(t for t, _ in series) / len(series)
    mean_y = sum(y for _, y in series) / len(series)
    below = sum((t - mean_t) ** 2 for t, _ in series)
    return sum((t - mean_t) * (y - mean_y) for t, y in series) / below if below else 0.0


def memory(series, warm_up, options, problems):
    """Figures of (s, bytes), behind the warm-up; a problem where memory grew more than what calls and noise may take."""
    late = [it for it in series if it[0] > warm_up]
    quarter = max(1, len(late) // 4)
    grown = median([y for _, y in late[-quarter:]]) - median([y for _, y in late[:quarter]])
    between = (late[-1][0] - late[0][0]) * 0.75
    allowed = options.noise_kb * 1024 + options.bytes_per_call * between * options.rate
    if grown > allowed:
        problems.append(f"memory grew by {grown / 1024:.0f} KB in {between:.0f} s, {allowed / 1024:.0f} are allowed")
    return {
        "rss_kb_first_last": [series[0][1] // 1024, series[-1][1] // 1024],
        "rss_kb_per_hour": round(slope(late) * 3600 / 1024),
        "grown_kb": grown // 1024,
        "allowed_kb": math.floor(allowed / 1024),
        "rss_kb_series": [[round(t, 1), y // 1024] for t, y in series],
    }


def main():
    words = argparse.ArgumentParser()
    words.add_argument("minutes", type=float, nargs="?", default=30)
    words.add_argument("--rate", type=int, default=50)
    words.add_argument("--json", default="target/soak-b2bua.json")
    # Of memory that a call leaves behind; what the noise of a short run may add.
    words.add_argument("--bytes-per-call", type=int, default=60)
    words.add_argument("--noise-kb", type=int, default=1024)
    options = words.parse_args()
    seconds = options.minutes * 60
    total = round(seconds * options.rate)
    problems, series, flowing = [], [], []
    with House() as house:
        calls = call_kinds.Mix(house, "soak.toml")
        server = house.server(
            calls.routes,
            media='ports = "10000-64999"\nthreads = 1\nrtp_timeout_s = 10',
            limits="calls = 1000",
            server="drain_s = 5",
            http="on",
        )
        # What is filled once is filled before the first look: the ring of events, and
        # dialogs and transactions that wait for stragglers (RFC 3261: 32 s).
        calls.call(server, options.rate * WARM_UP_S, options.rate)
        baseline = server.descriptors()
        began, cpu = time.monotonic(), server.cpu()
        over = threading.Event()

        def watch():
            while not over.wait(1):
                if not server.is_alive():
                    return
                series.append((time.monotonic() - began, server.rss()))
                flowing.append(server.sockets())

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        calls.call(server, total, options.rate)
        took = time.monotonic() - began
        used = server.cpu() - cpu
        over.set()
        watcher.join()
        if not server.is_alive():
            sys.exit(f"the server has ended:\n{server.log.read_text()[-3000:]}")
        legs = 2 * sum(calls.counts.values())
        wait_for(lambda: server.is_quiet(legs), "nothing to be held", 100, 0.5)
        held = server.holdings()
        problems += server.not_let_go(baseline)
        # Between the two loads some of it was given back.
        figures = memory(series, min(took / 4, 120), options, problems)
        left, records = close(calls, server, problems)
        result = {
            "machine": machine(),
            "minutes": options.minutes,
            "calls": calls.counts,
            "judged": calls.heard, "not_heard_in_time": calls.unheard,
            "records": len(records),
            "calls_per_s": round(total / took, 1),
            "cpu_percent": round(used / took * 100, 1),
            "sockets_median": median(flowing),
            "holdings": held,
            "left": left,
            "problems": problems,
            **figures,
        }
    shown = {key: value for key, value in result.items() if key != "rss_kb_series"}
    conclude(options.json, result, json.dumps(shown, indent=1))


if __name__ == "__main__":
    ending(main)

"""A program that only sleeps: what it oversleeps, the machine took from everybody. Ends at SIGTERM, with one line of JSON."""

import json
import signal
import time

NAP = 0.02
# Shorter stops are nobody's business.
STOP = 0.1


def main():
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    most, stops, lost = 0.0, 0, 0.0
    before = time.monotonic()
    while not ended:
        time.sleep(NAP)
        now = time.monotonic()
        over, before = now - before - NAP, now
        most = max(most, over)
        if over > STOP:
            stops, lost = stops + 1, lost + over
    print(json.dumps({"most_ms": round(most * 1e3), "stops": stops, "lost_s": round(lost, 1)}), flush=True)


if __name__ == "__main__":
    main()

"""Sleeps 2 ms at a time until its input ends, then says in which part of the time something
due would have been more than 5 ms late by the machine alone. The floor of scripts/bench-apps.sh."""

import select
import sys
import time

NAP, LATE = 0.002, 0.005

began = last = time.monotonic()
stalled = 0.0
while not select.select([sys.stdin], [], [], NAP)[0]:
    now = time.monotonic()
    stalled += max(0.0, now - last - NAP - LATE)
    last = now
print(round(stalled / (time.monotonic() - began) * 100, 3))

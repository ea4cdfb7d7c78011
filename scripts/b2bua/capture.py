"""The time that a B2BUA takes for a message, from a capture of the loopback interface.

On the wire the legs share only the Subject of their INVITEs.
"""

import subprocess
import time
from collections import defaultdict

from machine import LAST_CORE, Process, wait_for

FIELDS = ["frame.time_epoch", "udp.srcport", "sip.Method", "sip.Status-Code", "sip.Call-ID", "sip.Subject"]


class Capture(Process):
    """dumpcap on the loopback interface, for UDP of one port."""

    def __init__(self, house, port):
        self.port, self.file = port, house.path / "latency.pcap"
        command = ["dumpcap", "-q", "-P", "-i", "lo", "-f", f"udp port {port}", "-s", "1500", "-B", "16", "-w", self.file]
        super().__init__(house, "dumpcap", command, LAST_CORE)
        is_there = lambda: self.file.exists() and self.file.stat().st_size >= 24
        wait_for(lambda: is_there() or not self.is_alive(), "the capture", 10)

    def finish(self):
        """Milliseconds from in to out, for INVITE, 180 and 200 to INVITE."""
        time.sleep(1.5)
        self.end()
        command = ["tshark", "-r", self.file, "-d", f"udp.port=={self.port},sip", "-Y", 'sip.CSeq.method == "INVITE"', "-T", "fields"]
        command += [word for field in FIELDS for word in ("-e", field)]
        told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
        return added([line.split("\t") for line in told.splitlines()], str(self.port))


def added(found, port):
    """The time that the server at `port` added to each message."""
    first = {}  # (message, leg's Call-ID, direction) → when it was first seen
    legs = defaultdict(dict)  # Subject → Call-ID of the inbound and of the outbound leg
    for at, source, method, status, call, subject in found:
        way = "out" if source == port else "in"
        first.setdefault((method or status, call, way), float(at) * 1e3)
        if method:
            legs[subject].setdefault(way, call)
    times = {"INVITE": [], "180": [], "200": []}
    for pair in (pair for pair in legs.values() if len(pair) == 2):
        for message, took in times.items():
            # A request goes from the inbound leg to the outbound one.
            ways = ("in", "out") if message == "INVITE" else ("out", "in")
            came, went = first.get((message, pair[ways[0]], "in")), first.get((message, pair[ways[1]], "out"))
            if came is not None and went is not None:
                took.append(went - came)
    return times

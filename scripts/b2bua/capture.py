"""How long a B2BUA takes for a message: from a capture of the loopback interface.

The legs have nothing in common on the wire but the Subject of their INVITEs.
"""

import struct
import time

from machine import LAST_CORE


class Capture:
    """dumpcap on the loopback interface, for UDP of one port."""

    def __init__(self, house, port):
        self.port = port
        self.file = house.path / "latency.pcap"
        command = ["dumpcap", "-q", "-P", "-i", "lo", "-f", f"udp port {port}", "-s", "1500", "-B", "16", "-w", self.file]
        self.process = house.start("dumpcap", command, LAST_CORE)
        end = time.monotonic() + 10
        while not (self.file.exists() and self.file.stat().st_size >= 24) and time.monotonic() < end:
            time.sleep(0.1)
        self.works = self.process.is_alive() and self.file.exists()

    def finish(self):
        """Milliseconds from in to out: of INVITE, 180 and 200 to INVITE."""
        time.sleep(1.5)
        self.process.end()
        return added(packets(self.file.read_bytes()), self.port)


def packets(data):
    """(ms, source port, destination port, payload) of each UDP packet over IPv4."""
    magic = struct.unpack("<I", data[:4])[0]
    fraction = {0xA1B2C3D4: 1e3, 0xA1B23C4D: 1e6}[magic]
    link = struct.unpack("<I", data[20:24])[0]
    assert link == 1, f"link type {link}"
    at = 24
    while at + 16 <= len(data):
        seconds, part, length, _ = struct.unpack("<IIII", data[at : at + 16])
        frame = data[at + 16 : at + 16 + length]
        at += 16 + length
        ip = frame[14:]
        if len(ip) < 28 or ip[0] >> 4 != 4 or ip[9] != 17:
            continue
        udp = ip[(ip[0] & 15) * 4 :]
        source, destination = struct.unpack("!HH", udp[:4])
        yield seconds * 1e3 + part / fraction, source, destination, udp[8:]


def added(found, port):
    """What the one at `port` added to each message's way."""
    first = {}  # (message, leg's Call-ID, direction) → when it was seen first
    legs = {}  # Subject → Call-ID of the leg that came in, and of the one that went out
    for at, source, destination, payload in found:
        head = payload.split(b"\r\n\r\n", 1)[0].decode("latin-1").split("\r\n")
        fields = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
        call, way = fields.get("Call-ID"), "out" if source == port else "in"
        if head[0].startswith("INVITE "):
            message = "INVITE"
            legs.setdefault(fields.get("Subject"), {}).setdefault(way, call)
        elif head[0].startswith("SIP/2.0 ") and fields.get("CSeq", "").endswith("INVITE"):
            message = head[0].split()[1]
        else:
            continue
        first.setdefault((message, call, way), at)
    times = {"INVITE": [], "180": [], "200": []}
    for pair in legs.values():
        if len(pair) < 2:
            continue
        for message, took in times.items():
            # A request goes from the leg that came in to the one that went out.
            ways = ("in", "out") if message == "INVITE" else ("out", "in")
            came = first.get((message, pair[ways[0]], "in"))
            went = first.get((message, pair[ways[1]], "out"))
            if came is not None and went is not None:
                took.append(went - came)
    return times

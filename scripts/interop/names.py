"""A name server with a few records, for the cells that need one. usage: names.py ADDRESS FILE

A line of the file is a record: `NAME A ADDRESS` or `NAME SRV PRIORITY WEIGHT PORT HOST`. Other names have
no record (NOERROR without answers, RFC 2308 §2.2): a client that asks for NAPTR or AAAA first then continues.
"""

import socket
import struct
import sys
from pathlib import Path

A, SRV, IN = 1, 33, 1
TTL_S = 1


def name(text):
    """RFC 1035 §3.1."""
    return b"".join(bytes([len(it)]) + it.encode() for it in text.rstrip(".").split(".")) + b"\0"


def records(path):
    """Maps (name, type) to the data of its records."""
    found = {}
    for line in Path(path).read_text().splitlines():
        match line.split():
            case [owner, "A", address]:
                found.setdefault((owner, A), []).append(socket.inet_aton(address))
            case [owner, "SRV", priority, weight, port, host]:
                numbers = struct.pack("!HHH", int(priority), int(weight), int(port))
                found.setdefault((owner, SRV), []).append(numbers + name(host))
    return found


def answer(known, query):
    """The answer to a query with one question."""
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    question = query[12 : at + 5]
    kind = struct.unpack_from("!H", query, at + 1)[0]
    found = known.get((".".join(labels), kind), [])
    body = b"".join(struct.pack("!HHHIH", 0xC00C, kind, IN, TTL_S, len(it)) + it for it in found)
    # An authoritative answer, with both recursion flags set.
    return query[:2] + struct.pack("!HHHHH", 0x8580, 1, len(found), 0, 0) + question + body


def main():
    at, path = sys.argv[1:]
    known = records(path)
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((at, 53))
    print("ready", flush=True)
    while True:
        query, whom = listener.recvfrom(4096)
        listener.sendto(answer(known, query), whom)


if __name__ == "__main__":
    main()

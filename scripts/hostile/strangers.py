"""Attackers without a password: floods, connections held open, accounts of others locked."""

import contextlib
import multiprocessing
import random
import re
import socket
import struct
import threading
import time
from pathlib import Path

import sip
import world as worlds
from attack import attack
from insider import ask


def options(world, ip=None):
    return sip.text(f"OPTIONS sip:{world.at(1)} SIP/2.0", [
        ("Via", f"SIP/2.0/UDP {ip or '127.0.0.1'}:5060;branch=z9hG4bK{sip.fresh()};rport"), ("Max-Forwards", "70"),
        ("From", f"<sip:s@{worlds.DOMAIN}>;tag=s"), ("To", f"<sip:{worlds.DOMAIN}>"), ("Call-ID", sip.fresh()),
        ("CSeq", "1 OPTIONS"),
    ]).encode()


def answers(phone, world, times, pause=0.05, patience=1.5):
    """The number of a phone's OPTIONS that are answered, each sent once, at an even pace."""
    boxes = []
    for _ in range(times):
        call_id = sip.fresh()
        boxes.append(sip.queue.Queue())
        phone.waiting[(call_id, (1, "OPTIONS"))] = boxes[-1]
        phone.put(sip.text(f"OPTIONS sip:{world.at(1)} SIP/2.0", [
            ("Via", phone.via()), ("Max-Forwards", "70"), ("From", phone.contact + ";tag=c"),
            ("To", f"<sip:{worlds.DOMAIN}>"), ("Call-ID", call_id), ("CSeq", "1 OPTIONS"),
        ]))
        time.sleep(pause)
    phone.until(lambda: not any(box.empty() for box in boxes), patience)
    return sum(not box.empty() for box in boxes)


def unread(world):
    """Datagrams dropped by the kernel because the server did not read them in time: then the machine was too busy, and
    a missing answer proves nothing about the server."""
    ip, port = world.server
    wanted = f"{int.from_bytes(socket.inet_aton(ip), 'little'):08X}:{port:04X}"
    lines = (line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:])
    return sum(int(words[-1]) for words in lines if words[1] == wanted)


# Python may have no name for it.
IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)


class Forged:
    """A UDP socket that sends from any address of this machine, like a source with forged addresses."""

    def __init__(self, to):
        self.to, self.socket = to, socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind(("0.0.0.0", 0))

    def send(self, octets, source):
        info = struct.pack("=I4s4s", 0, socket.inet_aton(source), b"\0\0\0\0")
        self.socket.sendmsg([octets], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, self.to)

    def close(self):
        self.socket.close()


class Few:
    """The same from few addresses, with one socket each."""

    def __init__(self, to, sources):
        self.of = {}
        for source in sources:
            it = self.of[source] = socket.socket(type=socket.SOCK_DGRAM)
            it.bind((source, 0))
            it.connect(to)

    def send(self, octets, source):
        self.of[source].send(octets)

    def close(self):
        for it in self.of.values():
            it.close()


def flood(world, seconds, rate, make, sources):
    """Sends this many messages a second from these addresses in turn, in a process that ends by itself: `make(n,
    source)`."""

    def work():
        sender = Few(world.server, sources) if len(sources) < 100 else Forged(world.server)
        begun, sent = time.monotonic(), 0
        while (now := time.monotonic()) < begun + seconds:
            for _ in range(min(500, int((now - begun) * rate) - sent)):
                source = sources[sent % len(sources)]
                with contextlib.suppress(OSError):
                    sender.send(make(sent, source), source)
                sent += 1
            # Evenly: between bursts the answer budget is refilled.
            time.sleep(0.0001)
        sender.close()

    # A separate process, so that the party being tested does not wait for this one's turns.
    flooding = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    flooding.start()
    return flooding


@attack("options-flood", "M4", "12,000 OPTIONS/s from four strangers while the carrier sends its own OPTIONS",
        counters=('b2b_abuse_total{kind="unanswered"}',), timed=True)
def options_flood(one, world):
    # From the carrier's address, with a separate socket.
    with sip.Phone(world.server, world.at(80), "carrier") as carrier:
        four = [world.at(240 + n) for n in range(4)]
        whole = {it: options(world, it).replace(b"branch=z9hG4bK", b"branch=z9hG4bK#") for it in four}
        rate = 2500 if world.together else 12_000
        flooding = flood(world, 5, rate, lambda n, source: whole[source].replace(b"#", b"%d" % n), four)
        time.sleep(1)
        before = unread(world)
        found = answers(carrier, world, 40)
        dropped = unread(world) - before
        flooding.join()
    return judged(found, 40, f"{found} of 40 OPTIONS from the carrier answered", dropped / (3.5 * rate))


@attack("message-flood", "2nd H1", "MESSAGE and NOTIFY of 56 KB outside dialogs from one stranger, 1,100 a second",
        counters=('b2b_abuse_total{kind="unanswered"}',), timed=True)
def message_flood(one, world):
    """A phone registers and calls after it, and nothing is left of it."""
    vias = b"Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK" + b"v" * 7_900 + b"\r\n"
    source = world.at(240)
    large = options(world, source).replace(b"branch=z9hG4bK", b"branch=z9hG4bK#").replace(b"Call-ID: ", b"Call-ID: #")
    large = large.replace(b"Max-Forwards", vias * 7 + b"Max-Forwards", 1)
    wholes = [large.replace(b"OPTIONS", method) for method in (b"MESSAGE", b"NOTIFY")]
    with one.victim(world, 5) as phone, one.victim(world, 6) as other:
        other.register()
        before = held(world)
        flood(world, 7, 300 if world.together else 1_100, lambda n, _: wholes[n % 2].replace(b"#", b"%d-" % n),
              [source]).join()
        call = phone.call(one.number(6))
        found = [call.status, phone.register()]
        call.bye()
        left = held(world) - before
    return 503 in found or left > 200 and not world.together, f"a phone: {found}; {left} transactions are left"


def held(world):
    """Server transactions."""
    found = re.search(r'^b2b_held\{what="sip_server_transactions"\} (\d+)', ask(world, "/metrics")[1], re.M)
    return int(found[1]) if found else 0


def judged(found, of, words, dropped):
    """`dropped`: the share of all datagrams that the kernel dropped; if it is too high the result proves nothing."""
    words += f" ({dropped:.0%} of all dropped by the kernel)" if dropped > 0.01 else ""
    return dropped < 0.5 and found < 0.9 * of * (1 - dropped) - 1, words


@attack("wrong-passwords", "M1", "a stranger sends wrong passwords for a user's account",
        lines={"limits": ["auth_failures = 4"]},
        counters=('b2b_abuse_total{kind="authentication_failed"}',), timed=True)
def wrong_passwords(one, world):
    """From changing addresses: each is banned, the account's owner must not be."""
    source = one_of(201)
    with sip.Phone(world.server, source, one.number(5), "a wrong one") as stranger:
        for _ in range(8):
            stranger.register(patience=1)
            time.sleep(0.6)
    fresh_place = one_of(202)
    with one.victim(world, 5, ip=fresh_place) as owner:
        status = owner.register(patience=3)
    return status != 200, f"the owner's correct password: {status or 'no answer'}"


def one_of(block):
    """An unused address."""
    return f"127.{block}.{random.randrange(1, 255)}.{random.randrange(1, 255)}"


@attack("idle-connections", "H5", "900 TCP connections from five addresses, each with one CRLFCRLF",
        counters=('b2b_abuse_total{kind="connection_displaced"}',), timed=True)
def idle_connections(one, world):
    held = []
    try:
        for n in range(900):
            it = socket.socket()
            it.settimeout(0.5)
            it.bind((world.at(230 + n % 5), 0))
            with contextlib.suppress(OSError):
                it.connect(world.server)
                it.sendall(b"\r\n\r\n")
                held.append(it)
        time.sleep(1)
        status = 0
        with contextlib.suppress(OSError), one.victim(world, 5, tcp=True) as phone:
            status = phone.register(patience=10)
        return status != 200, f"{len(held)} connections held; a phone from another address: {status or 'no connection'}"
    finally:
        for it in held:
            it.close()


@attack("slow-http", "L3", "2,000 silent connections from one source to the HTTP interface", timed=True,
        counters=("b2b_http_connections_full_total",))
def slow_http(one, world):
    held, (host, port) = [], world.http.split(":")
    try:
        for _ in range(2100):
            it = socket.socket()
            it.settimeout(0.2)
            it.bind((one.source(world), 0))
            with contextlib.suppress(OSError):
                it.connect((host, int(port)))
                held.append(it)
        begun, status = time.monotonic(), 0
        with contextlib.suppress(OSError):
            status, _ = ask(world, "/healthz", timeout=4)
        took = time.monotonic() - begun
        return status != 200, f"/healthz: {f'{status} after {took * 1000:.0f} ms' if status else 'no answer in 4 s'}"
    finally:
        for it in held:
            it.close()


@attack("http-proxied", "M6", "requests through a reverse proxy on this machine, without a token",
        counters=("b2b_http_refused_total",))
def http_proxied(one, world):
    """nginx' `proxy_pass http://127.0.0.1:8080` sends exactly this, with or without an additional field."""
    taken = []
    for headers in ({"X-Forwarded-For": "198.51.100.7"}, {"Forwarded": "for=198.51.100.7"}, {}):
        status, _ = ask(world, "/calls", token="", headers=headers.items())
        if status == 200:
            taken.append(next(iter(headers), "no field"))
    return taken, f"GET /calls answered with {', '.join(taken)}" if taken else "refused"


@attack("forged-sources", "L6", "a flood from 20,000 addresses, 12,000 messages a second", alone=True,
        lines={"limits": ["source_messages_per_s = 500"]}, counters=('b2b_abuse_total{kind="over_budget"}',), timed=True)
def forged_sources(one, world):
    """All unlisted sources share a bucket once the table is full; a registered phone and the carrier must not."""
    with one.victim(world, 5) as phone, sip.Phone(world.server, world.at(80), "carrier") as carrier:
        phone.register()
        many = [f"127.210.{n // 250}.{n % 250 + 1}" for n in range(20_000)]
        # A message dropped by the parser costs the server the least, and us, too.
        flooding = flood(world, 12, 12_000, lambda *_: b"x", many)
        time.sleep(2)
        found, before = [0, 0], unread(world)

        def now_and_then(n, it):
            found[n] = sum(answers(it, world, 1, random.uniform(0.5, 1.0), 0.5) for _ in range(8))

        asking = [threading.Thread(target=now_and_then, args=it) for it in enumerate((phone, carrier))]
        for it in asking:
            it.start()
        for it in [*asking, flooding]:
            it.join()
        dropped = unread(world) - before
    words = f"OPTIONS answered: {found[0]} of 8 of a phone, {found[1]} of 8 of the carrier"
    return judged(sum(found), 16, words, dropped / (10 * 12_000))


@attack("garbage", "–", "garbage, INVITE and REGISTER from unknown users over UDP and TCP", held=True,
        counters=("b2b_sip_malformed_total",), timed=True)
def garbage(one, world):
    def make(_, source):
        method = random.choice(["INVITE", "REGISTER", "SUBSCRIBE", "ACK", "BYE", "CANCEL", ""])
        if not method:
            return random.randbytes(random.randrange(1, 1400))
        whole = options(world, source).replace(b"OPTIONS", method.encode())
        if random.random() < 0.5:
            at = random.randrange(len(whole))
            whole = whole[:at] + random.randbytes(4) + whole[at + 2:]
        return whole

    flooding = flood(world, 5, 300, make, [world.at(240 + n) for n in range(4)])
    for _ in range(20):
        with contextlib.suppress(OSError), socket.create_connection(world.server, 2, (one.source(world), 0)) as it:
            it.sendall(random.randbytes(3000))
    flooding.join()
    with one.victim(world, 5) as phone:
        status = phone.register()
    return status != 200, f"a phone registers meanwhile: {status or 'no answer'}"

"""What the load of honest calls is made of: SIP sockets that several phones share, their RTP, requests that wait for
their answers. All of it in one loop (`calls.py`), without threads."""

import contextlib
import os
import socket
import time

import sip
import sound
import world as worlds

# A machine that is busy may take so long for an INVITE; a call that was lost takes longer.
PATIENCE = 32
# Seconds that a packet may be on the way on a machine that does other work, too.
LATE = 0.5
# In a packet's number: it has to be heard. What a callee says before its caller's first packet has come cannot reach
# a caller behind NAT.
COUNTS = 1 << 31


class Line:
    """A SIP socket of several phones."""

    def __init__(self, load, ip):
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind((ip, 0))
        self.socket.setblocking(False)
        self.ip, self.port, self.load = ip, self.socket.getsockname()[1], load
        load.watch(self.socket, self.came)

    def via(self):
        return ("Via", f"SIP/2.0/UDP {self.ip}:{self.port};branch=z9hG4bK{sip.fresh()};rport")

    def put(self, whole, to=None):
        with contextlib.suppress(OSError):
            self.socket.sendto(whole.encode(), to or self.load.world.server)

    def came(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                octets, source = self.socket.recvfrom(65535)
                self.load.message(self, sip.Message(octets.decode(errors="replace"), source))


class Ear:
    """A party's RTP."""

    def __init__(self, load, ip):
        self.socket = sound.pair(ip)
        self.port = self.socket.getsockname()[1]
        self.ssrc, self.target, self.load = int.from_bytes(os.urandom(4)), None, load
        self.begin(0, 0)
        load.watch(self.socket, self.came)

    def begin(self, who, other):
        self.who, self.other, self.number, self.counts = who, other, 0, False
        self.sent = self.heard = self.late = self.foreign = 0

    def say(self):
        if self.target:
            with contextlib.suppress(OSError):
                number = self.number | (COUNTS if self.counts else 0)
                self.socket.sendto(sound.packet(self.who, number, self.ssrc), self.target)
                self.number += 1
                self.sent += self.counts

    def came(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                octets = self.socket.recv(2048)
                found = sound.read(octets)
                if found and found[0] == self.other and not found[1] & COUNTS:
                    pass
                elif found and found[0] == self.other:
                    self.heard += 1
                    self.late += found[2] > LATE
                    self.load.ways[min(int(found[2] * 100), len(self.load.ways) - 1)] += 1
                elif found and found[0] >> 16 == self.other >> 16:
                    pass  # of the turn before: the port is its own
                elif len(octets) >= 12 and octets[1] & 0x7F < 72:
                    self.foreign += 1


class Party:
    """One user."""

    def __init__(self, load, number, line, ear_ip, sdp_ip=None):
        self.load, self.number, self.line = load, str(number), line
        self.ear = Ear(load, ear_ip)
        self.sdp_ip = sdp_ip or ear_ip
        self.proof = None

    @property
    def contact(self):
        return f"<sip:{self.number}@{self.line.ip}:{self.line.port}>"

    def session(self):
        return sip.sdp(self.sdp_ip, self.ear.port)


class Asked:
    """A request that waits for its final response, sent again until then."""

    def __init__(self, party, method, uri, call_id, ours, theirs, cseq, then, fields=(), body=""):
        self.party, self.method, self.uri, self.call_id, self.ours, self.theirs = party, method, uri, call_id, ours, theirs
        self.cseq, self.then, self.fields, self.body, self.proven = cseq, then, list(fields), body, False
        self.end = time.monotonic() + PATIENCE
        self.send()

    def send(self, proof=()):
        self.pause, self.over, self.via = 0.5, False, self.party.line.via()
        base = [self.via, ("Max-Forwards", "70"), ("From", self.ours), ("To", self.theirs)]
        base += [("Call-ID", self.call_id), ("CSeq", f"{self.cseq} {self.method}"), *self.fields, *proof]
        if self.body:
            base.append(("Content-Type", "application/sdp"))
        self.whole = sip.text(f"{self.method} {self.uri} SIP/2.0", base, self.body)
        self.party.load.waiting[(self.call_id, self.cseq, self.method)] = self
        self.party.line.put(self.whole)
        self.party.load.at(self.pause, self.again, self.whole)

    def again(self, whole):
        if self.over or whole != self.whole:
            return
        if time.monotonic() > self.end:
            self.finish(None)
            return
        self.party.line.put(self.whole)
        self.pause = min(self.pause * 2, 4)
        self.party.load.at(self.pause, self.again, whole)

    def finish(self, answer):
        self.over = True
        self.party.load.waiting.pop((self.call_id, self.cseq, self.method), None)
        self.then(answer)

    def answered(self, answer):
        if answer.status < 200:
            # It is there (RFC 3261 §17.1.1.2), and rings.
            self.over = self.over or self.method == "INVITE"
            if self.over:
                self.party.load.at(PATIENCE, lambda: self.over and self.key_is_ours() and self.finish(None))
            return
        if self.method == "INVITE" and answer.status >= 300:
            self.party.line.put(sip.text(f"ACK {self.uri} SIP/2.0", [
                self.via, ("Max-Forwards", "70"), ("From", self.ours), ("To", answer.get("to")),
                ("Call-ID", self.call_id), ("CSeq", f"{self.cseq} ACK")]))
        if answer.status in (401, 407) and not self.proven:
            self.over = True
            self.party.load.waiting.pop((self.call_id, self.cseq, self.method), None)
            self.proven, self.cseq = True, self.cseq + 1
            name = self.party.number
            self.send([sip.credentials(answer, self.method, self.uri, name, worlds.password(name))])
            return
        self.finish(answer)

    def key_is_ours(self):
        return self.party.load.waiting.get((self.call_id, self.cseq, self.method)) is self

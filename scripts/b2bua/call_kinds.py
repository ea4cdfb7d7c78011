"""Kinds of calls for the storm and the soak, and what the records have to say of them."""

import socket

from machine import free_port

NOBODY = 'nobody'


class Kind:
    """Calls to `name`: who calls, who is called, and how the caller's leg ends."""

    def __init__(self, name, share, caller, callee, disposition, **more):
        self.name, self.share, self.caller, self.callee = name, share, caller, callee
        self.disposition = disposition
        self.hold_ms = more.get("hold_ms", 0)
        self.words = more.get("words", [])
        self.callee_words = more.get("callee_words", [])
        self.route = more.get("route", "")


ANSWERED = Kind("answered", 40, "caller.xml", "callee.xml", "ANSWERED", hold_ms=500)
CANCELLED = Kind("cancelled", 15, "caller_gives_up.xml", "callee_cancelled.xml", "CANCELLED")
REFUSED = Kind("refused", 15, "caller_refused.xml", "callee_busy.xml", "BUSY")
# Rings until the route's time is over.
UNANSWERED = Kind("unanswered", 10, "caller_unanswered.xml", "callee_cancelled.xml", "NO ANSWER", route="timeout_s = 2")
# There is nobody at the address who would answer, and no ICMP says so.
NOWHERE = Kind("nowhere", 5, "caller_unanswered.xml", NOBODY, "NO ANSWER", route="timeout_s = 2")
# A peer that has crashed answers nothing more: its RTP has ended, BYE stays unanswered.
CALLER_VANISHES = Kind("gone-caller", 8, "caller_vanishes.xml", "callee.xml", "ANSWERED")
CALLEE_VANISHES = Kind("gone-callee", 7, "caller.xml", "callee_vanishes.xml", "ANSWERED", hold_ms=500)


class Mix:
    """Callees for these kinds; callers on demand."""

    def __init__(self, house, kinds):
        self.house, self.kinds = house, kinds
        self.routes = ""
        self.deaf = []
        total = sum(kind.share for kind in kinds)
        self.shares = {kind.name: kind.share / total for kind in kinds}
        for kind in kinds:
            if kind.callee == NOBODY:
                deaf = socket.socket(type=socket.SOCK_DGRAM)
                deaf.bind(("127.0.0.1", free_port()))
                self.deaf.append(deaf)
                port = deaf.getsockname()[1]
            else:
                port = house.callee(f"{kind.name}-callee", kind.callee, *kind.callee_words).port
            self.routes += (
                f'[[route]]\ncalled = "{kind.name}"\nto = "sip:{kind.name}@127.0.0.1:{port}"\n{kind.route}\n'
            )

    def call(self, server, calls, rate, kinds=None):
        """So many calls of these kinds, of all without any; returns how many of each."""
        kinds = kinds or self.kinds
        whole = sum(self.shares[kind.name] for kind in kinds)
        counts = {kind.name: max(1, round(calls * self.shares[kind.name] / whole)) for kind in kinds}
        callers = []
        for kind in kinds:
            count = counts[kind.name]
            own_rate = max(0.5, rate * self.shares[kind.name] / whole)
            caller = self.house.caller(
                kind.name, kind.caller, server.address, kind.name, count, own_rate, *kind.words,
                hold_ms=kind.hold_ms,
            )
            callers.append((caller, kind.name))
        for caller, name in callers:
            self.house.finish(caller, name, calls / rate * 2 + 90)
        return counts

    def wrong(self, records, counts):
        """In words, where the records and SIPp differ."""
        problems = []
        for kind in self.kinds:
            of_kind = [it for it in records if kind.name in (it["callee"], user_of(it["callee"]))]
            for direction in ("inbound", "outbound"):
                found = [it for it in of_kind if it["direction"] == direction]
                if len(found) != counts[kind.name]:
                    problems.append(f"{kind.name}: {len(found)} {direction} records of {counts[kind.name]} calls")
            other = {}
            for it in of_kind:
                if it["direction"] == "inbound" and it["disposition"] != kind.disposition:
                    other[it["disposition"]] = other.get(it["disposition"], 0) + 1
            if other:
                problems.append(f"{kind.name}: {other} instead of {kind.disposition}")
        known = sum(2 * count for count in counts.values())
        if len(records) != known:
            problems.append(f"{len(records)} records of {known}")
        return problems


def user_of(uri):
    return uri.split(":", 1)[-1].split("@", 1)[0]

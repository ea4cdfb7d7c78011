"""Scenarios for any phone: each peer with a `Party` (baresip.py, linphone.py) has them.

1001 is the peer and sends 440 Hz; 1002 and 1003 are b2b's own phones and send 600 and 750 Hz.
"""

import edge
from world import NAT, SERVER, SERVER6, Gone

PEER, FIRST, SECOND = 440, 600, 750
ANSWERS = f"answer; say {FIRST} Hz; hears {PEER} Hz within 15 s; "


# Scenarios that do not apply to a phone.
NO_PHONE = {
    "register-there": "a phone, not a registrar",
    "direct": "a phone has only one leg",
    "connected-line": "a phone's identity does not change",
    "hops-in": "a carrier's scenario, which SIPp plays",
    "media-elsewhere": "sends media from the address in its SDP",
    "by-the-book": "no page of the documentation describes it",
    "load-by-the-book": "no page of the documentation describes it",
    "scan": "not a scanner",
    "crowd": "SIPp simulates the phones",
    "srv-in-call": "needs several servers",
    "srv-next-call": "needs several servers",
    "timers-422": "never requests an interval below b2b's minimum",
    "redirect-out": "does not send 302",
    **{it: "its timing cannot be controlled" for it in ("glare", "cancel-race-in", "cancel-race-out")},
    **{it: "`dtmf` is a key of gateways only" for it in ("inband-in", "inband-out")},
    "codec-change": "does not change the codec during a call",
}


class Place:
    """The network of a program's phone: among the peers or behind the NAT, from that number on; and its registrar."""

    def __init__(self, case, base, name, home, six, transport, server=None, proxy=None):
        net, last = ("home", base) if home else ("peers", base + int(name) % 10 + int(name) % 100 // 10 * 4)
        self.machine, self.at = case.world.host(net, last), case.world.address(net, last, six)
        # The destination of b2b's RTP.
        self.address = NAT if home else self.at
        host = server or (f"[{SERVER6}]" if six else SERVER)
        self.proxy = proxy or f"sip:{host}:{5061 if transport == 'tls' else 5060};transport={transport}"


def transferred(case, begin):
    """1002 calls the peer and transfers it to 1003. `begin` creates the peer, which is returned."""
    other = case.our("1003", f"answer; say {SECOND} Hz; hears {PEER} Hz within 15 s; cue here; wait 2; hang up")
    peer = begin()
    ours = case.our("1002", f"dial 1001; say {FIRST} Hz; hears {PEER} Hz within 15 s; transfer 1003")
    other.cue("here")
    ours.done()
    other.done()
    case.hears(peer.address, SECOND)
    return peer


def joined(case, begin, held, asked):
    """1002 calls the first, asks the second, and joins the two: one is the peer, the other one 1003."""
    steps = f"answer; say {SECOND} Hz; hears {FIRST} Hz within 15 s; hears {PEER} Hz within 30 s; cue here; wait 2; "
    other = case.our("1003", steps + "hang up")
    peer = begin()
    tones = {"1001": PEER, "1003": SECOND}
    ours = case.our(
        "1002",
        f"dial {held}; say {FIRST} Hz; hears {tones[held]} Hz within 15 s; wait 1; consult {asked}; "
        f"say {FIRST} Hz; hears {tones[asked]} Hz within 15 s; wait 1; hand over",
    )
    other.cue("here")
    here = case.now()
    ours.done()
    other.done()
    case.hears(peer.address, FIRST)
    case.hears(peer.address, SECOND, after=here)
    return peer


class PhonePeer:
    """Scenarios for a phone."""

    Party = None
    # Scenarios that do not apply to this program, with reasons.
    NOT = {}
    # This program's SRTP settings: offered beside plain RTP, and required.
    SRTP, SRTP_MUST = "srtp", "srtp-mand"
    MUST = {"users": {"1001": 'srtp = "required"\n'}}
    PCMA, PCMU = "PCMA/8000/1", "PCMU/8000/1"
    # Session timer settings of this program's party.
    TIMERS = {}
    # The destination of calls to it.
    TARGET = "user/1001"

    @classmethod
    def prepare(cls, world, folder):
        """Starts what all cells of this peer share."""

    @staticmethod
    def serve(case, changes=None, more=""):
        """b2b, and whatever is between it and the phone."""
        case.serve(changes, more)

    # ---- registration

    def _register(self, case, transport):
        self.serve(case)
        case.listen()
        self.Party(case, transport=transport)
        if transport != "tls":
            case.message("REGISTER that is challenged", "sip.Status-Code == 401 && sip.CSeq.method == REGISTER")
            case.message("200 to REGISTER", "sip.Status-Code == 200 && sip.CSeq.method == REGISTER")

    def register_udp(self, case):
        self._register(case, "udp")

    def register_tcp(self, case):
        self._register(case, "tcp")

    def register_tls(self, case):
        self._register(case, "tls")

    # ---- calls

    def _call_in(
        self,
        case,
        changes=None,
        codecs="pcmu,pcma",
        by_capture=True,
        six=False,
        more="",
        our=None,
        codecs_of_peer=None,
        **party,
    ):
        """The peer calls 1002; each hears the other."""
        self.serve(case, changes, more)
        case.listen()
        ours = case.our("1002", ANSWERS + "cue up; wait 2; hang up", codecs=codecs, six=six, **(our or {}))
        peer = self.Party(case, six=six, **({"codecs": codecs_of_peer} if codecs_of_peer else {}), **party)
        peer.dial("1002")
        ours.cue("up")
        case.pause(1.5)
        ours.done()
        self._ear(case, peer, FIRST, by_capture)

    def _call_out(
        self,
        case,
        changes=None,
        codecs="pcmu,pcma",
        by_capture=True,
        six=False,
        more="",
        our=None,
        codecs_of_peer=None,
        **party,
    ):
        """1002 calls the peer; each hears the other."""
        self.serve(case, changes, more)
        case.listen()
        peer = self.Party(case, six=six, **({"codecs": codecs_of_peer} if codecs_of_peer else {}), **party)
        steps = f"dial 1001; say {FIRST} Hz; hears {PEER} Hz within 15 s; wait 2; hang up"
        ours = case.our("1002", steps, codecs=codecs, six=six, **(our or {}))
        ours.done()
        self._ear(case, peer, FIRST, by_capture)

    @staticmethod
    def _ear(case, peer, hz, by_capture):
        """The peer's incoming audio: from the RTP to it, or from its own recording if the RTP is encrypted."""
        if by_capture:
            case.hears(peer.address, hz)
        else:
            found = peer.heard(hz)
            if found < 0.4:
                raise Gone(f"{case.peer.title} has heard {hz} Hz for {found:.1f} s")

    def call_in(self, case):
        self._call_in(case)

    def call_out(self, case):
        self._call_out(case)

    def call_tls(self, case):
        self._call_in(case, transport="tls")

    def codec_in(self, case):
        self._call_in(case, codecs="g722", codecs_of_peer=self.PCMA)

    def codec_out(self, case):
        self._call_out(case, codecs="opus", codecs_of_peer=self.PCMU)

    def nat_in(self, case):
        self._call_in(case, home=True)

    def nat_out(self, case):
        self._call_out(case, home=True)

    def ipv6_in(self, case):
        self._call_in(case, six=True)

    def ipv6_out(self, case):
        self._call_out(case, six=True)

    def _edge(self, case, call):
        proxy = edge.before(case)
        call(case, {"registrar": {"proxies": [edge.ADDRESS]}}, proxy=proxy)
        case.message("REGISTER with Path", f"sip.Method == REGISTER && sip.Path && ip.src == {edge.ADDRESS}")
        case.no_message("SIP that goes past the edge", "ip.addr == 10.9.0.1 && (ip.addr == 10.9.1.40/29 || ip.addr == 10.9.1.48/29)")

    def edge_in(self, case):
        self._edge(case, self._call_in)

    def edge_out(self, case):
        self._edge(case, self._call_out)

    def long_call(self, case):
        """Registrations last a minute here: the peer's is refreshed during the call, and nothing changes."""
        self.serve(case, {"registrar": {"max_expires_s": 60}})
        case.listen()
        steps = ANSWERS + f"cue up; wait 70; hears {PEER} Hz within 5 s; hang up"
        ours = case.our("1002", steps)
        peer = self.Party(case)
        peer.dial("1002")
        ours.cue("up")
        up = case.now()
        ours.done(110)
        case.hears(peer.address, FIRST, after=up + 62)
        again = f"sip.Method == REGISTER && ip.src == {peer.address} && frame.time_epoch > {up}"
        case.message("a REGISTER within the call", again)

    # ---- SRTP: the other party is always plain

    def srtp_in(self, case):
        self._call_in(case, {"media": {"srtp": "offered"}}, by_capture=False, srtp=self.SRTP)
        case.message("an answer with keys", 'sdp.media_attr contains "crypto" && sip.Status-Code == 200')

    def srtp_out(self, case):
        self._call_out(case, {"media": {"srtp": "offered"}}, by_capture=False, srtp=self.SRTP)
        case.message("an answer with keys", 'sdp.media_attr contains "crypto" && sip.Status-Code == 200')

    def srtp_must_in(self, case):
        self._call_in(case, {"media": {"srtp": "offered"}}, by_capture=False, srtp=self.SRTP_MUST)

    def srtp_must_out(self, case):
        """All others are plain: the user or the gateway sets that it is called with `RTP/SAVP`."""
        self._call_out(case, self.MUST, by_capture=False, srtp=self.SRTP_MUST)
        case.message("an offer of RTP/SAVP", 'sip.Method == INVITE && sdp.media.proto == "RTP/SAVP"')
        case.message("an answer with keys", 'sdp.media_attr contains "crypto" && sip.Status-Code == 200')

    # ---- in a call

    def hold_by_peer(self, case):
        self.serve(case)
        case.listen()
        ours = case.our("1002", ANSWERS + f"cue up; wait 3; hears {PEER} Hz within 15 s; cue back; wait 3; hang up")
        peer = self.Party(case)
        peer.dial("1002")
        ours.cue("up")
        case.pause(0.5)
        peer.hold()
        case.pause(2)
        held = case.now()
        peer.resume()
        ours.cue("back")
        back = case.now()
        ours.done()
        case.message(
            "a re-INVITE that holds",
            f"sip.Method == INVITE && ip.src == {peer.address} && "
            '(sdp.media_attr contains "sendonly" || sdp.media_attr contains "inactive")',
        )
        case.silent(peer.address, FIRST, held - 1, held)
        case.hears(peer.address, FIRST, after=back)

    def transparent(self):
        """A route that passes hold and similar requests on to the peer; b2b answers them otherwise."""
        return f'[[route]]\nname = "transparent"\ncalled = "1001"\nmode = "transparent"\nto = "{self.TARGET}"\n'

    def hold_of_peer(self, case):
        self.serve(case, more=self.transparent())
        case.listen()
        peer = self.Party(case)
        ours = case.our(
            "1002",
            f"dial 1001; say {FIRST} Hz; hears {PEER} Hz within 15 s; hold; cue held; wait 2; cue on; resume; "
            f"hears {PEER} Hz within 15 s; cue back; wait 2; hang up",
        )
        ours.cue("held")
        case.pause(0.5)
        held = case.now()
        ours.cue("on")
        on = case.now()
        ours.cue("back")
        back = case.now()
        ours.done()
        case.silent("10.9.2.12", PEER, held, on - 0.3)
        case.message(
            "a hold that reaches the peer",
            f"sip.Method == INVITE && ip.dst == {peer.address} && sip.to.tag && " 'sdp.media_attr contains "sendonly"',
        )
        case.hears(peer.address, FIRST, after=back)

    def transfer_by_peer(self, case):
        self.serve(case)
        case.listen()
        other = case.our("1003", f"answer; say {SECOND} Hz; hears {FIRST} Hz within 15 s; hung up within 20 s")
        ours = case.our("1002", ANSWERS + f"cue up; hears {SECOND} Hz within 20 s; wait 1; hang up")
        peer = self.Party(case)
        peer.dial("1002")
        ours.cue("up")
        case.pause(0.5)
        peer.transfer("1003")
        ours.done()
        other.done()
        case.message("202 to REFER", f"sip.Status-Code == 202 && ip.dst == {peer.address}")
        case.no_message("a REFER that goes on", "sip.Method == REFER && ip.src == 10.9.0.1")

    def transfer_of_peer(self, case):
        self.serve(case)
        case.listen()
        transferred(case, lambda: self.Party(case))

    def attended_by_peer(self, case):
        """The peer calls 1002, asks 1003, and joins the two."""
        self.serve(case)
        case.listen()
        steps = f"answer; say {SECOND} Hz; hears {PEER} Hz within 15 s; cue asked; hears {FIRST} Hz within 20 s; "
        other = case.our("1003", steps + "hung up within 20 s")
        ours = case.our("1002", ANSWERS + f"cue up; hears {SECOND} Hz within 30 s; wait 1; hang up")
        peer = self.Party(case)
        peer.dial("1002")
        ours.cue("up")
        case.pause(0.5)
        peer.consult("1003")
        other.cue("asked")
        case.pause(0.5)
        peer.hand_over()
        ours.done()
        other.done()
        case.message(
            "a REFER with Replaces", f'sip.Method == REFER && ip.src == {peer.address} && sip.Refer-To contains "Replaces"'
        )
        case.message("202 to REFER", f"sip.Status-Code == 202 && ip.dst == {peer.address}")
        case.no_message("a REFER that goes on", "sip.Method == REFER && ip.src == 10.9.0.1")

    def _attended(self, case, held, asked):
        self.serve(case)
        case.listen()
        joined(case, lambda: self.Party(case), held, asked)

    def attended_of_peer(self, case):
        self._attended(case, "1001", "1003")

    def attended_to_peer(self, case):
        self._attended(case, "1003", "1001")

    def _digits_in(self, case, by_info, **party):
        self.serve(case)
        case.listen()
        ours = case.our("1002", ANSWERS + "cue up; wait 5; hang up")
        peer = self.Party(case, **party)
        peer.dial("1002")
        ours.cue("up")
        case.pause(0.3)
        peer.press("159")
        ours.done()
        if ours.digits() != "159":
            raise Gone(f"1002 got the digits `{ours.digits()}` instead of 159")
        if by_info:
            case.message("INFO of the peer", f"sip.Method == INFO && ip.src == {peer.address}", 3)

    def dtmf_in(self, case):
        self._digits_in(case, False)

    def info_in(self, case):
        self._digits_in(case, True, info=True)

    def dtmf_out(self, case):
        self.serve(case)
        case.listen()
        peer = self.Party(case)
        case.our("1002", f"dial 1001; say {FIRST} Hz; hears {PEER} Hz within 15 s; press 159#; wait 2; hang up").done()

        def check():
            got = case.capture.events("10.9.0.1", peer.address, range(96, 128))
            if got != "159#":
                raise Gone(f"the events to the peer are `{got}` instead of 159#")

        case.later(check)

    # ---- calls that fail

    def cancel_by_peer(self, case):
        self.serve(case)
        case.listen()
        rings = self.Party(case, "1011", answer="manual")
        peer = self.Party(case)
        peer.dial("1011")
        rings.ringing()
        case.pause(0.3)
        peer.hang_up()
        case.pause(1)
        case.message("CANCEL of the peer", f"sip.Method == CANCEL && ip.src == {peer.address}")
        case.message("487 to the peer", f"sip.Status-Code == 487 && ip.dst == {peer.address}")
        case.message("CANCEL to who rings", f"sip.Method == CANCEL && ip.dst == {rings.address}")

    def cancel_of_peer(self, case):
        self.serve(case)
        case.listen()
        peer = self.Party(case, answer="manual")
        ours = case.our("1002", "dial 1001 within 3 s")
        peer.ringing()
        if ours.process.wait(15) == 0:
            raise Gone("our phone was answered")
        case.pause(0.5)
        case.message("CANCEL to the peer", f"sip.Method == CANCEL && ip.dst == {peer.address}")
        case.message("487 of the peer", f"sip.Status-Code == 487 && ip.src == {peer.address}")

    def busy_in(self, case):
        self.serve(case)
        case.listen()
        peer = self.Party(case)
        peer.dial("486")
        peer.refused(486)
        case.message("486 to the peer", f"sip.Status-Code == 486 && ip.dst == {peer.address}")

    def busy_out(self, case):
        self.serve(case)
        case.listen()
        peer = self.Party(case, answer="manual")
        ours = case.our("1002", "dial 1001 within 20 s")
        peer.ringing()
        case.pause(0.2)
        peer.refuse()
        if ours.process.wait(15) == 0:
            raise Gone("our phone was answered")
        case.message(
            "a refusal of the peer", f"(sip.Status-Code == 486 || sip.Status-Code == 603) && ip.src == {peer.address}"
        )
        case.message(
            "the same to our phone", "(sip.Status-Code == 486 || sip.Status-Code == 603) && ip.src == 10.9.0.1"
        )

    def timers(self, case):
        self.serve(case)
        case.listen()
        peer = self.Party(case, **self.TIMERS)
        steps = (
            f"dial 1001; say {FIRST} Hz; hears {PEER} Hz within 15 s; cue up; wait 50; "
            f"hears {PEER} Hz within 15 s; hang up"
        )
        ours = case.our("1002", steps)
        ours.cue("up")
        ours.done(90)
        case.message("Session-Expires to the peer", f"sip.Session-Expires && ip.dst == {peer.address}")
        # Either refresher: re-INVITE or UPDATE, after the call is up.
        refresh = "(sip.Method == UPDATE || sip.Method == INVITE) && sip.to.tag"
        case.message(
            "a refresh on the peer's leg", f"{refresh} && (ip.src == {peer.address} || ip.dst == {peer.address})"
        )

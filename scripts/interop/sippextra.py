"""More SIPp: digits in each way, another codec within a call, a CANCEL that crosses the answer."""

import edge
import judge
from phones import joined, transferred
from sippscript import Party, Script, sdp
from world import Gone

AT = "10.9.1.60"
# Its digits are tones, so it is a gateway: `dtmf` is a key of gateways.
TONES = f"""
[[gateway]]
name = "tones"
hosts = ["{AT}:5060"]
transport = "udp"
sources = ["{AT}"]
options_s = 0
class = "internal"
dtmf = "inband"
[[route]]
name = "tones"
called = '1001'
to = "gateway/tones"
"""


class Extra:
    """Further scenarios of a SIPp (sipp.py)."""

    HEARS = "hears 440 Hz within 15 s; "

    # ---- digits

    def _digits_in(self, case, script, more=""):
        self._serve(case, more=more)
        ours = case.our("1002", f"answer; say 600 Hz; {self.HEARS}wait 5; hang up")
        peer = Party(case, script)
        ours.done()
        peer.done()
        if ours.digits() != "159":
            raise Gone(f"1002 got the digits `{ours.digits()}` instead of 159")

    def dtmf_in(self, case):
        # Its events have a separate SSRC, which b2b does not accept beside another one: RFC 4733 §2.1 has them as part
        # of the audio. Digits are sent from the port that this keyword inserts in a line with `audio` in it, audio from
        # that of the SDP: they are the same.
        body = sdp(0, 96) + "a=x-audio:[media_port]\n"
        script = Script(called="1002").invite(body).up().says("440.ulaw").pause(1.5)
        self._digits_in(case, script.says_no_more().press("159").over())

    def inband_in(self, case):
        judge.write_g711(case.folder / "digits.ulaw", judge.said(440, 3, "159"))
        uri = "sip:1002@10.9.0.1"
        script = Script(called="1002").request("INVITE", body=sdp(0), uri=uri).up().says("digits.ulaw").over()
        self._digits_in(case, script, TONES)
        self._no_events(case)

    @staticmethod
    def _no_events(case):
        case.no_message("telephone events", f'ip.dst == {AT} && sdp.media_attr contains "telephone-event"')

    PRESSES = "dial 1001; say 600 Hz; hears 440 Hz within 15 s; press 159#; wait 1; hang up"

    def dtmf_out(self, case):
        self._called(case, self._answers(0, 101).says("440.ulaw").over(), self.PRESSES)

        def check():
            got = case.capture.events("10.9.0.1", AT)
            if got != "159#":
                raise Gone(f"the events to the peer are `{got}` instead of 159#")

        case.later(check)

    def inband_out(self, case):
        self._serve(case, more=TONES)
        peer = Party(case, self._answers(0).says("440.ulaw").over())
        case.pause(0.5)
        case.our("1002", self.PRESSES).done()
        peer.done()
        case.hears(AT, 600)
        case.hears_digits(AT, "159#")
        self._no_events(case)

    # ---- another codec

    def codec_change(self, case):
        """PCMU, then PCMA by a re-INVITE; the other party supports PCMU only."""
        judge.write_g711(case.folder / "440.alaw", judge.said(440, 10), kind=8)
        script = Script(called="1002").invite().up().says("440.ulaw").pause(2)
        script.request("INVITE", body=sdp(8, version=2)).up().says("440.alaw", "8,PCMA/8000").over()
        steps = f"answer; say 600 Hz; {self.HEARS}cue up; wait 4; cue changed; {self.HEARS}wait 2; hang up"
        self._calls(case, script, steps, codecs="pcmu")

        def check():
            for source, target in ((AT, "10.9.0.1"), ("10.9.0.1", AT)):
                kinds = [kind for kind, _, _ in case.capture.rtp(source, target)]
                if kinds[0] != 0 or kinds[-1] != 8:
                    raise Gone(f"RTP {source} > {target}: {case.capture.sounds(source, target)}")
            changed = case.capture.messages(f"sip.Status-Code == 200 && sip.CSeq.seq == 3 && ip.dst == {AT}")
            if case.capture.tone_seconds("10.9.0.1", AT, 600, changed[0].time + 0.2) < 0.4:
                raise Gone("600 Hz is not in the RTP to the peer after the change")

        case.later(check)

    # ---- transfers: the peer sees a re-INVITE

    def _moved(self, case, move, *who):
        script = self._reinvite(self._answers().says("440.ulaw"), "sendrecv", 2).over()
        self._serve(case)
        self._register(case)

        def listens():
            peer = Party(case, script)
            case.pause(0.5)
            return peer

        move(case, listens, *who).done()

    def transfer_of_peer(self, case):
        self._moved(case, transferred)

    def attended_of_peer(self, case):
        self._moved(case, joined, "1001", "1003")

    def attended_to_peer(self, case):
        self._moved(case, joined, "1003", "1001")

    # ---- session timers

    def timers(self, case):
        """It wants the session refreshed every 90 s by the caller: b2b does so after half of that."""
        wants = "Require: timer\nSession-Expires: 90;refresher=uac\n"
        script = Script().called_by().respond("180 Ringing").respond("200 OK", wants, sdp(), lost=True)
        script.gets(request="ACK").says("440.ulaw").gets(request="INVITE", timeout=60000).agree(wants, sdp())
        steps = f"dial 1001; say 600 Hz; {self.HEARS}wait 50; {self.HEARS}hang up"
        self._called(case, script.gets(request="ACK").over(), steps)
        case.message("a refresh", f"sip.Method == INVITE && sip.to.tag && ip.dst == {AT}")

    # ---- an edge

    BEHIND = {"registrar": {"proxies": [edge.ADDRESS]}}

    def edge_in(self, case):
        edge.before(case)
        script = Script(called="1002", routes=True).invite().up().says("440.ulaw").over()
        self._calls(case, script, self.ANSWERS, changes=self.BEHIND, server=edge.ADDRESS)
        self._by_the_edge(case)

    def edge_out(self, case):
        edge.before(case)
        script = self._answers(routes=True).says("440.ulaw").over()
        self._called(case, script, changes=self.BEHIND, server=edge.ADDRESS)
        self._by_the_edge(case)

    @staticmethod
    def _by_the_edge(case):
        case.no_message("SIP that goes past the edge", f"ip.addr == 10.9.0.1 && ip.addr == {AT}")

    # ---- CANCEL and 200 cross

    def cancel_race_in(self, case):
        """The peer cancels an answered call: it sends 200 to CANCEL (RFC 3261 §9.2), the call is up; BYE ends it."""
        uri = "sip:1002@b2b.test"
        script = Script(called="1002").invite().gets(response=100, optional=True).gets(response=180, optional=True)
        script.gets(response=200, rrs="true").request("CANCEL", uri=uri, cseq=2, back=4)
        # It matches the INVITE, or no transaction any more.
        script.gets(response=200).request("ACK", lost=False).says("440.ulaw").pause(2)
        script.request("BYE").gets(response=200)
        self._serve(case)
        ours = case.our("1002", f"answer; say 600 Hz; {self.HEARS}hung up within 15 s")
        peer = Party(case, script)
        ours.done()
        peer.done()
        case.hears(AT, 600)
        case.no_message("487 to what was answered", f"sip.Status-Code == 487 && ip.dst == {AT}")

    def cancel_race_out(self, case):
        """The peer's 200 crosses the CANCEL: b2b acknowledges it, and ends that call at once (RFC 3261 §15.1)."""
        script = Script().called_by().respond("180 Ringing").gets(request="CANCEL").agree()
        self._keeps_invite(script)
        script.gets(request="ACK").over()
        self._called(case, script, "dial 1001 within 2 s", good=False)
        case.message("BYE to who has answered", f"sip.Method == BYE && ip.dst == {AT}")
        case.message("487 to our phone", "sip.Status-Code == 487 && ip.dst == 10.9.2.12")

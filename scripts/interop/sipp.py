"""Debian's SIPp: a peer whose every message is written here. As user 1001 it calls and is called."""

import re
import shutil
import subprocess
import time

from server import DOMAIN, password
from sippextra import Extra
from sippscript import Party, Script, sdp
from world import Gone


class Sipp(Extra):
    name, title, quick = "sipp", "SIPp", True
    NOT = {
        "direct": "a phone has only one leg",
        "connected-line": "a phone's identity does not change",
        "srv-in-call": "needs several servers",
        "srv-next-call": "needs several servers",
        "attended-by-peer": "a script handles one call only",
        "long-call": "a script handles one dialog only",
        "by-the-book": "no page of the documentation describes it",
        "load-by-the-book": "no page of the documentation describes it",
        "scan": "not a scanner",
        "register-tls": "Debian's build has no TLS",
        "call-tls": "Debian's build has no TLS",
        "register-there": "a phone, not a registrar",
        "srtp-in": "does not support SRTP",
        "srtp-out": "does not support SRTP",
        "srtp-must-in": "does not support SRTP",
        "srtp-must-out": "does not support SRTP",
    }

    @staticmethod
    def here():
        return bool(shutil.which("sipp"))

    @staticmethod
    def version():
        text = subprocess.run(["sipp", "-v"], capture_output=True, text=True, check=False).stdout
        return f"SIPp {re.search(r'v([0-9.]+)', text).group(1)}"

    @classmethod
    def prepare(cls, world, folder):
        """Nothing is shared."""

    @staticmethod
    def _serve(case, changes=None, more=""):
        changes = dict(changes or {})
        # It supports MD5 only, and uses the last of several challenges.
        changes.setdefault("server", {})["md5_only"] = ["SIPp"]
        case.serve(changes, more)
        case.listen()

    @staticmethod
    def _registration(user, answer):
        uri = f"sip:{DOMAIN}"
        script = Script(user, user)
        script.request("REGISTER", "Expires: 120\n", uri=uri).gets(response=401, auth="true")
        return script.request("REGISTER", f"Expires: 120\n{answer}\n", uri=uri).gets(response=200)

    def _register(self, case, words=(), user="1001", **place):
        script = self._registration(user, f"[authentication username={user} password={password(user)}]")
        Party(case, script, "register", words=words, **place).done()
        case.registered(user)

    def register_udp(self, case):
        self._serve(case)
        self._register(case)

    def register_tcp(self, case):
        self._serve(case)
        self._register(case, ("-t", "t1"))

    # ---- it calls

    def _calls(self, case, script, steps, codecs="pcmu,pcma", hears=True, changes=None, **more):
        self._serve(case, changes)
        ours = case.our("1002", steps, codecs=codecs, six=more.get("six", False))
        peer = Party(case, script, **more)
        ours.done()
        peer.done()
        if hears:
            case.hears(peer.address, 600)
        return peer

    ANSWERS = "answer; say 600 Hz; hears 440 Hz within 15 s; wait 2; hang up"

    def call_in(self, case):
        self._calls(case, Script(called="1002").invite().up().says("440.ulaw").over(), self.ANSWERS)

    def codec_in(self, case):
        self._calls(case, Script(called="1002").invite().up().says("440.ulaw").over(), self.ANSWERS, codecs="g722")

    def nat_in(self, case):
        self._calls(case, Script(called="1002").invite().up().says("440.ulaw").over(), self.ANSWERS, net="home")

    def hops_in(self, case):
        """A gateway's dialog has a hop that b2b cannot reach: its requests go to the first one, with both in Route."""
        hidden = "10.255.0.1"
        carrier = '[[gateway]]\nname = "carrier"\nhosts = ["10.9.1.60"]\nsources = ["10.9.1.60"]\noptions_s = 0\n'
        self._serve(case, more=carrier + 'class = "internal"\n')
        ours = case.our("1002", self.ANSWERS)
        hops = f"Record-Route: <sip:[local_ip]:[local_port];lr>\nRecord-Route: <sip:{hidden};lr>\n"
        script = Script(called="1002").request("INVITE", hops, sdp(), uri=f"sip:1002@{DOMAIN}")
        peer = Party(case, script.up().says("440.ulaw").over())
        ours.done()
        peer.done()
        case.hears(peer.address, 600)
        case.message("a 200 with both hops", f'sip.Status-Code == 200 && sip.Record-Route contains "{hidden}"')
        case.message("a BYE by both hops", f'sip.Method == BYE && ip.dst == 10.9.1.60 && sip.Route contains "{hidden}"')
        case.no_message("something to the hidden hop", f"ip.dst == {hidden}")

    def media_elsewhere(self, case):
        """b2b sends to the source of the media, which is the host that signals."""
        body = sdp().replace("[media_ip]", "10.9.1.77")
        self._calls(case, Script(called="1002").invite(body).up().says("440.ulaw").over(), self.ANSWERS)

    def ipv6_in(self, case):
        self._calls(case, Script(called="1002").invite().up().says("440.ulaw").over(), self.ANSWERS, six=True)

    def delayed_in(self, case):
        self._calls(case, Script(called="1002").invite(body="").up(sdp()).says("440.ulaw").over(), self.ANSWERS)

    def hold_by_peer(self, case):
        script = Script(called="1002").invite().up().says("440.ulaw").pause(2)
        script.request("INVITE", body=sdp(direction="sendonly", version=2)).up()
        script.pause(2).request("INVITE", body=sdp(version=3)).up().over()
        self._calls(case, script, "answer; say 600 Hz; hears 440 Hz within 15 s; wait 7; hears 440 Hz; hang up")
        case.message(
            "200 to the hold", 'sip.Status-Code == 200 && ip.dst == 10.9.1.60 && sdp.media_attr contains "recvonly"'
        )

    def prack_in(self, case):
        script = Script(called="1002").invite(more="Require: 100rel\n")
        script.gets(response=100, optional=True).gets(response=180, rrs="true")
        script.request("PRACK", "RAck: [last_rseq] 2 INVITE\n")
        script.steps[-1] = script.steps[-1].replace("[last_rseq]", "[$3]")
        script.steps[-2] = (
            '<recv response="180" rrs="true"><action><ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" '
            'assign_to="3"/></action></recv>'
        )
        script.gets(response=200, optional=False).gets(response=200, rrs="true")
        script.request("ACK", lost=False, cseq=2).says("440.ulaw").over()
        self._calls(case, script, self.ANSWERS)

    def transfer_by_peer(self, case):
        self._serve(case)
        other = case.our("1003", "answer; say 750 Hz; hears 600 Hz within 15 s; hung up within 20 s")
        ours = case.our(
            "1002", "answer; say 600 Hz; hears 440 Hz within 15 s; hears 750 Hz within 20 s; wait 1; hang up"
        )
        script = Script(called="1002").invite().up().says("440.ulaw").pause(2)
        script.request("REFER", f"Refer-To: <sip:1003@{DOMAIN}>\n").gets(response=202)
        # Of 100, 180 and 200.
        for _ in range(3):
            script.gets(request="NOTIFY").agree()
        script.over()
        peer = Party(case, script)
        ours.done()
        other.done()
        peer.done()

    def info_in(self, case):
        script = Script(called="1002").invite(sdp(0)).up().says("440.ulaw").pause(1)
        for digit in "159":
            body = f"Signal={digit}\nDuration=160\n"
            script.request("INFO", "Content-Type: application/dtmf-relay\n", body).gets(response=200).pause(0.4)
        self._serve(case)
        ours = case.our("1002", "answer; say 600 Hz; hears 440 Hz within 15 s; wait 4; hang up")
        peer = Party(case, script.over())
        ours.done()
        peer.done()
        if ours.digits() != "159":
            raise Gone(f"1002 got the digits `{ours.digits()}` instead of 159")

    def cancel_by_peer(self, case):
        uri = f"sip:1002@{DOMAIN}"
        script = Script(called="1002").invite().gets(response=100, optional=True).gets(response=180).pause(0.5)
        script.request("CANCEL", uri=uri, cseq=2, back=4).gets(response=200).gets(response=487).request(
            "ACK", uri=uri, lost=False
        )
        self._serve(case)
        # Not answered: 1002 rings at a SIPp that does not answer.
        self._register(case, user="1002")
        silent = Script("1002").called_by().respond("180 Ringing").gets(request="CANCEL").agree()
        rings = Party(case, silent, "rings")
        peer = Party(case, script, last=61)
        peer.done()
        rings.done()
        case.message("487 to the peer", "sip.Status-Code == 487 && ip.dst == 10.9.1.61")

    def busy_in(self, case):
        self._serve(case)
        script = Script(called="486").invite().gets(response=100, optional=True).gets(response=486)
        Party(case, script.request("ACK", uri=f"sip:486@{DOMAIN}", lost=False)).done()

    def timers_422(self, case):
        script, uri = Script(called="1002"), f"sip:1002@{DOMAIN}"
        script.request("INVITE", "Supported: timer\nSession-Expires: 60;refresher=uac\n", sdp(), uri)
        script.gets(response=100, optional=True).gets(response=422).request("ACK", uri=uri, lost=False)
        script.invite(more="Supported: timer\nSession-Expires: 90;refresher=uac\nMin-SE: 90\n")
        self._calls(case, script.up().says("440.ulaw").over(), self.ANSWERS)
        case.message("422 with Min-SE", "sip.Status-Code == 422 && sip.Min-SE")
        case.message(
            "Session-Expires in the 200", "sip.Status-Code == 200 && sip.Session-Expires && ip.dst == 10.9.1.60"
        )

    # ---- it is called

    def _called(self, case, script, steps=None, codecs="pcmu,pcma", hears=True, good=True, more="", changes=None, **place):
        self._serve(case, changes, more=more)
        self._register(case, **place)
        peer = Party(case, script, **place)
        case.pause(0.5)
        steps = steps or "dial 1001; say 600 Hz; hears 440 Hz within 15 s; wait 2; hang up"
        ours = case.our("1002", steps, codecs=codecs, six=place.get("six", False))
        if good:
            ours.done()
        elif ours.process.wait(30) == 0:
            raise Gone("our phone was answered")
        peer.done()
        if hears and good:
            case.hears(peer.address, 600)
        return ours

    def _answers(self, *kinds, routes=False):
        return (
            Script(routes=routes)
            .called_by()
            .respond("180 Ringing")
            .respond("200 OK", "", sdp(*kinds), lost=True)
            .gets(request="ACK")
        )

    def call_out(self, case):
        self._called(case, self._answers().says("440.ulaw").over())

    def nat_out(self, case):
        self._called(case, self._answers().says("440.ulaw").over(), net="home")

    def ipv6_out(self, case):
        self._called(case, self._answers().says("440.ulaw").over(), six=True)

    def codec_out(self, case):
        self._called(case, self._answers(0).says("440.ulaw").over(), codecs="opus")

    def early_out(self, case):
        script = Script().called_by().respond("183 Session Progress", "", sdp()).says("523.ulaw").pause(2)
        # The INVITE is still the last request.
        script.respond("200 OK", "", sdp(), lost=True).gets(request="ACK").says("440.ulaw").over()
        self._called(case, script)
        case.hears_before_answer("10.9.2.12", 523)

    def prack_out(self, case):
        script = Script().called_by().respond("183 Session Progress", "Require: 100rel\nRSeq: 7\n", sdp(), lost=True)
        script.gets(request="PRACK").agree()
        self._keeps_invite(script)
        script.gets(request="ACK").says("440.ulaw").over()
        self._called(case, script)

    @staticmethod
    def _keeps_invite(script):
        """200 to the INVITE after another request, with the stored header fields."""
        script.steps[0] = script.steps[0].replace(
            "</action>",
            (
                '<ereg regexp=".*" search_in="hdr" header="Via:" assign_to="4"/>'
                '<ereg regexp=".*" search_in="hdr" header="CSeq:" assign_to="5"/></action>'
            ),
        )
        script._send(
            "SIP/2.0 200 OK\nVia:[$4]\nFrom:[$1]\nTo:[$2];tag=[pid]u[call_number]\n[last_Call-ID:]\nCSeq:[$5]\n"
            "Contact: <sip:1001@[local_ip]:[local_port]>\n",
            sdp(),
            True,
        )

    def info_out(self, case):
        script = (
            Script()
            .called_by()
            .respond("180 Ringing")
            .respond("200 OK", "Allow: INVITE, ACK, CANCEL, BYE, INFO\n", sdp(0), lost=True)
            .gets(request="ACK")
            .says("440.ulaw")
        )
        for _ in "159":
            script.gets(request="INFO").agree()
        self._called(case, script.over(), "dial 1001; say 600 Hz; hears 440 Hz within 15 s; press 159; wait 1; hang up")
        case.message("INFO to the peer", "sip.Method == INFO && ip.dst == 10.9.1.60", 3)

    def redirect_out(self, case):
        script = (
            Script()
            .called_by()
            ._send(
                "SIP/2.0 302 Moved Temporarily\n"
                "[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]u[call_number]\n[last_Call-ID:]\n"
                f"[last_CSeq:]\nContact: <sip:1003@{DOMAIN}>\n"
            )
            .gets(request="ACK")
        )
        self._serve(case)
        self._register(case)
        peer = Party(case, script)
        other = case.our("1003", "answer; say 750 Hz; hears 600 Hz within 15 s; hung up within 20 s")
        case.our("1002", "dial 1001; say 600 Hz; hears 750 Hz within 15 s; wait 1; hang up").done()
        other.done()
        peer.done()

    TRANSPARENT = '[[route]]\nname = "transparent"\ncalled = "1001"\nmode = "transparent"\nto = "user/1001"\n'
    HOLDS = (
        "dial 1001; say 600 Hz; hears 440 Hz within 15 s; hold; wait 3; cue on; resume; "
        "hears 440 Hz within 15 s; wait 1; hang up"
    )

    def _reinvite(self, script, direction, version):
        return script.gets(request="INVITE").agree("", sdp(direction=direction, version=version)).gets(request="ACK")

    def hold_of_peer(self, case):
        script = self._answers().says("440.ulaw")
        self._reinvite(script, "recvonly", 2).says_no_more()
        self._reinvite(script, "sendrecv", 3).steps.append('<nop><action><exec rtp_stream="resume"/></action></nop>')
        self._called(case, script.over(), self.HOLDS, more=self.TRANSPARENT)
        case.message(
            "a hold that reaches the peer",
            "sip.Method == INVITE && ip.dst == 10.9.1.60 && sip.to.tag && " 'sdp.media_attr contains "sendonly"',
        )

    def glare(self, case):
        script = self._answers().says("440.ulaw").gets(request="INVITE")
        script._send(
            "SIP/2.0 491 Request Pending\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n"
        ).gets(request="ACK")
        self._reinvite(script, "recvonly", 2)
        self._reinvite(script, "sendrecv", 3)
        self._called(case, script.over(), self.HOLDS, more=self.TRANSPARENT)
        case.message("491 of the peer", "sip.Status-Code == 491 && ip.src == 10.9.1.60")

    def busy_out(self, case):
        self._called(
            case,
            Script().called_by().respond("180 Ringing").respond("486 Busy Here", lost=True).gets(request="ACK"),
            "dial 1001 within 20 s",
            good=False,
        )

    def cancel_of_peer(self, case):
        script = Script().called_by().respond("180 Ringing").gets(request="CANCEL")
        self._called(case, script.agree(), "dial 1001 within 2 s", good=False)
        case.message("CANCEL to the peer", "sip.Method == CANCEL && ip.dst == 10.9.1.60")

    def crowd(self, case):
        """100 phones behind the NAT register, and all of them are in a call at once."""
        self._serve(case)
        lines = "".join(
            f"{name};[authentication username={name} password={password(name)}]\n"
            for name in (str(1100 + n) for n in range(100))
        )
        (case.folder / "users.csv").write_text("SEQUENTIAL\n" + lines)
        many = ("-inf", case.folder / "users.csv", "-r", 20)
        Party(case, self._registration("[field0]", "[field1]"), "registers", "home", words=many, calls=100).done()
        case.registered("1199")
        self._register(case)
        callee = Party(case, self._answers().over(), calls=100)
        script = Script("[field0]", "1001").invite(answer="[field1]").up().pause(8).request("BYE").gets(response=200)
        caller = Party(case, script, "calls", "home", words=(*many, "-l", 100), calls=100)
        caller.done(90)
        callee.done(90)
        # The record of the last call is written after its end.
        deadline = time.monotonic() + 5
        while (found := len(case.server.records().splitlines())) < 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        if found < 200:
            raise Gone(f"b2b has records of {found} legs, not of 200")
        case.no_message("a refusal", "sip.Status-Code >= 403 && sip.Status-Code != 407")

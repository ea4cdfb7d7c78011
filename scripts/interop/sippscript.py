"""SIPp scripts, built step by step, and a SIPp that runs one."""

import judge
from server import DOMAIN, password
from world import NAT, SERVER, SERVER6, Gone

SDP = """v=0
o=sipp {version} {version} IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP {kinds}
{lines}a=ptime:20
a={direction}
"""
EVENTS = "telephone-event/8000"
# 96: the only payload type with which SIPp sends digits.
NAMES = {0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000", 96: EVENTS, 101: EVENTS}


def sdp(*kinds, direction="sendrecv", version=1):
    kinds = kinds or (0,)
    lines = "".join(f"a=rtpmap:{it} {NAMES[it]}\n" for it in kinds)
    return SDP.format(kinds=" ".join(map(str, kinds)), lines=lines, direction=direction, version=version)


class Script:
    """A SIPp scenario, built step by step. `called`: the callee; None: it is called. `routes`: it follows Record-Route,
    which most scripts do not need."""

    def __init__(self, user="1001", called=None, routes=False):
        self.user, self.called, self.routes, self.steps, self.count = user, called, routes, [], 0

    def _send(self, text, body="", lost=True):
        head = text.strip() + "\n" + ("Content-Type: application/sdp\n" if body.startswith("v=0") else "")
        message = f"{head}Content-Length: [len]\n\n{body}"
        self.steps.append(
            f'<send{" retrans=" + chr(34) + "500" + chr(34) if lost else ""}><![CDATA[\n\n{message}\n]]></send>'
        )
        return self

    def request(self, method, more="", body="", uri="[next_url]", lost=True, cseq=None, back=0):
        """A request from a caller, or within an inbound call."""
        if method not in ("ACK", "CANCEL"):
            self.count += 1
        tag = "" if uri != "[next_url]" and method in ("INVITE", "CANCEL", "REGISTER") else "[peer_tag_param]"
        # CANCEL has the branch of its INVITE, this many steps before it.
        branch = f"[branch-{back}]" if back else "[branch]"
        if self.called is None:
            ends = "From: [$2]\nTo: [$1]\n"
        else:
            ends = (
                f"From: <sip:{self.user}@{DOMAIN}>;tag=[pid]c[call_number]\n" f"To: <sip:{self.called}@{DOMAIN}>{tag}\n"
            )
        return self._send(
            f"{method} {uri} SIP/2.0\n"
            f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch};rport\nMax-Forwards: 70\n{ends}"
            f"Call-ID: [call_id]\nCSeq: {cseq or self.count} {method}\n"
            f"Contact: <sip:{self.user}@[local_ip]:[local_port];transport=[transport]>\n"
            "User-Agent: SIPp\nAllow: INVITE, ACK, CANCEL, BYE, INFO, PRACK, REFER, NOTIFY\n"
            + ("[routes]\n" if self.routes and uri == "[next_url]" else "")
            + more,
            body,
            lost,
        )

    def respond(self, status, more="", body="", lost=False):
        """A callee's response to the last request."""
        return self._send(
            f"SIP/2.0 {status}\n[last_Via:]\n[last_From:]\n[last_To:];tag=[pid]u[call_number]\n[last_Call-ID:]\n"
            + ("[last_Record-Route:]\n" if self.routes else "")
            + f"[last_CSeq:]\nContact: <sip:{self.user}@[local_ip]:[local_port];transport=[transport]>\n{more}",
            body,
            lost,
        )

    def agree(self, more="", body=""):
        """200 to a request within a call: its To already has a tag."""
        return self._send(
            "SIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]\n"
            f"Contact: <sip:{self.user}@[local_ip]:[local_port];transport=[transport]>\n{more}",
            body,
            False,
        )

    def gets(self, request=None, response=None, optional=False, **more):
        words = f'request="{request}"' if request else f'response="{response}"'
        words += ' optional="true"' if optional else ""
        words += "".join(f' {key}="{it}"' for key, it in more.items())
        self.steps.append(f"<recv {words}/>")
        return self

    def ringing(self):
        return (
            self.gets(response=100, optional=True).gets(response=180, optional=True).gets(response=183, optional=True)
        )

    def pause(self, seconds):
        self.steps.append(f'<pause milliseconds="{int(seconds * 1000)}"/>')
        return self

    def says(self, name, kind="0,PCMU/8000"):
        self.steps.append(f'<nop><action><exec rtp_stream="{name},-1,{kind}"/></action></nop>')
        return self

    def says_no_more(self):
        self.steps.append('<nop><action><exec rtp_stream="pause"/></action></nop>')
        return self

    def press(self, digits):
        """Telephone events, with payload type 96."""
        self.steps.append(f'<nop><action><exec play_dtmf="{digits}"/></action></nop>')
        return self.pause(0.6 * len(digits))

    # ---- the usual parts

    def invite(self, body=None, more="", answer=None):
        """INVITE, its challenge, and INVITE with credentials."""
        uri = f"sip:{self.called}@{DOMAIN}"
        body = sdp() if body is None else body
        self.request("INVITE", more, body, uri).gets(response=100, optional=True).gets(response=407, auth="true")
        self._ack(uri)
        answer = answer or f"[authentication username={self.user} password={password(self.user)}]"
        return self.request("INVITE", f"{more}{answer}\n", body, uri)

    def _ack(self, uri):
        return self.request("ACK", uri=uri, lost=False)

    def up(self, body="", more=""):
        """The answer and its ACK."""
        return self.ringing().gets(response=200, rrs="true").request("ACK", more, body, lost=False)

    def over(self):
        """The other party hangs up."""
        return self.gets(request="BYE").agree()

    def called_by(self):
        """INVITE arrives; its From and To are kept for our own requests."""
        self.steps.append(
            '<recv request="INVITE" rrs="true"><action>'
            '<ereg regexp=".*" search_in="hdr" header="From:" assign_to="1"/>'
            '<ereg regexp=".*" search_in="hdr" header="To:" assign_to="2"/></action></recv>'
        )
        return self

    def text(self):
        keep = '<Reference variables="1,2"/>' if self.called is None else ""
        return (
            '<?xml version="1.0"?>\n<!DOCTYPE scenario SYSTEM "sipp.dtd">\n<scenario name="b2b">\n'
            + "\n".join(self.steps)
            + "\n"
            + keep
            + "</scenario>\n"
        )


class Party:
    """A SIPp that runs one script."""

    def __init__(self, case, script, name="script", net="peers", last=60, words=(), calls=1, six=False, server=None):
        self.case, self.name = case, name
        self.address = NAT if net == "home" else case.world.address(net, last, six)
        at = case.world.address(net, last, six)
        path = case.folder / f"sipp-{name}.xml"
        path.write_text(script.text())
        for hz in (440, 523):
            if not (case.folder / f"{hz}.ulaw").exists():
                judge.write_g711(case.folder / f"{hz}.ulaw", judge.said(hz, 10))
        self.process = case.world.start(
            case.world.host(net, last),
            [
                "sipp",
                f"[{SERVER6}]:5060" if six else f"{server or SERVER}:5060",
                "-sf",
                path,
                "-i",
                at,
                "-mi",
                at,
                "-p",
                5060,
                "-mp",
                20000,
                "-m",
                calls,
                "-nostdin",
                "-timeout",
                70,
                "-timeout_error",
                "-recv_timeout",
                30000,
                "-trace_err",
                "-trace_msg",
                # By default it would name an IPv6 address without brackets.
                *(["-auth_uri", DOMAIN] if six else []),
                *words,
            ],
            case.folder / f"sipp-{name}.log",
            cwd=case.folder,
            environment={"TERM": "xterm", "PAGER": "cat"},
        )

    def done(self, seconds=60):
        code = self.process.wait(seconds)
        if code:
            raise Gone(f"SIPp ended with {code}: {self._error()}")

    def _error(self):
        for path in self.case.folder.glob(f"sipp-{self.name}_*_errors.log"):
            text = " ".join(path.read_text().split())
            return text[:300]
        return "it says nothing"

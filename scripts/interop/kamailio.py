"""Debian's Kamailio as a registrar with a dispatcher; `edge.py` uses it before phones, too.

b2b registers there as `kamtrunk`, and sends calls to it as a gateway. Its phone is a baresip.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import baresip
import bythebook
from edge import ADDRESS, LAST, MEMBER, REGISTRAR, modules, start, start_with
from phones import FIRST, PEER, PhonePeer
from world import NAT, SERVER, Gone

SIX = "fd09:1::30"
SECOND_LAST, SECOND_ADDRESS = 31, "10.9.1.31"
GATEWAY = f"""
[[gateway]]
name = "kamailio"
hosts = ["HOST:5060"]
transport = "udp"
sources = ["{ADDRESS}", "{SIX}"]
options_s = 5
class = "internal"
media_from = ["10.9.1.0/24", "{NAT}", "fd09:1::/64"]
[[route]]
name = "kamailio"
called = '1001|1011'
to = "gateway/kamailio"
"""
TRUNK = f"""
[[gateway]]
name = "kamtrunk"
hosts = ["{ADDRESS}:5060"]
transport = "udp"
username = "kamtrunk"
password = "right-horse-kam"
from_user = "kamtrunk"
from_domain = "kamailio.test"
register = true
expires_s = 60
options_s = 0
"""
# Two servers with one name: the first gets all calls while it is available.
RECORDS = f"""_sip._udp.trunk.test SRV 1 1 5060 one.trunk.test
_sip._udp.trunk.test SRV 2 1 5060 two.trunk.test
one.trunk.test A {ADDRESS}
two.trunk.test A {SECOND_ADDRESS}
"""
SET = """
[[gateway]]
name = "set"
hosts = ["trunk.test"]
transport = "udp"
options_s = 0
class = "internal"
media_from = ["10.9.1.0/24"]
[[route]]
name = "set"
called = '1001'
mode = "transparent"
to = "gateway/set"
"""


# Its additions to the phone's scenarios.
WRITTEN = ("register-there", "srv-in-call", "srv-next-call", "by-the-book", "load-by-the-book")


class Phone(baresip.Party):
    """A baresip registered at Kamailio."""

    def __init__(self, case, name="1001", **more):
        server = f"[{SIX}]" if more.get("six") else ADDRESS
        super().__init__(case, name, server=server, register_there=True, **more)


class Kamailio(PhonePeer):
    """The registrar: b2b is one of its destinations, and its phones are behind one of b2b's gateways."""

    name, title, quick = "kamailio", "Kamailio (registrar, dispatcher)", True
    Party = Phone
    TARGET = "gateway/kamailio"
    NOT = {
        **{it: why for it, why in baresip.Baresip.NOT.items() if it not in WRITTEN},
        "register-udp": "a registrar, not a phone",
        "register-tcp": "a registrar, not a phone",
        "register-tls": "a registrar, not a phone",
        "call-tls": "not written: its phone is a plain baresip over UDP",
        "edge-in": "a registrar, not a phone",
        "edge-out": "a registrar, not a phone",
        "early-out": "not written: its phone is a plain baresip over UDP",
        "info-in": "not written: its phone is a plain baresip over UDP",
        "timers": "its phone does not support RFC 4028",
        **{it: "its phone supports RFC 4733 only" for it in ("inband-in", "inband-out")},
        "long-call": "a registrar, not a phone",
    }

    def __init__(self):
        if not shutil.which("rtpengine"):
            self.NOT = {**self.NOT, "load-by-the-book": "not here: rtpengine is not installed"}

    @staticmethod
    def here():
        return bool(shutil.which("kamailio") and modules() and baresip.modules())

    @staticmethod
    def version():
        text = subprocess.run(["kamailio", "-V"], capture_output=True, text=True, check=False).stdout
        return f"Kamailio {re.search(r'kamailio ([0-9.]+)', text).group(1)}"

    def serve(self, case, changes=None, more=""):
        start(case, REGISTRAR)
        must = "srtp = { offer = 'savp', without_tls = true }\n" if case.scenario == "srtp-must-out" else ""
        host = f"[{SIX}]" if case.scenario.startswith("ipv6") else ADDRESS
        text = GATEWAY.replace("HOST", host).replace("[[route]]", must + "[[route]]", 1)
        return case.serve(changes, more + text)

    def by_the_book(self, case):
        """The configuration that Debian ships, with the changes of docs/kamailio.md."""
        text = Path("/etc/kamailio/kamailio.cfg").read_text()
        first = "#!KAMAILIO\n"
        text = text.replace(first, first + bythebook.blocks("kamailio.md", "kamailio.cfg, below #!KAMAILIO")[0], 1)
        for line in bythebook.blocks("kamailio.md", "kamailio.cfg")[0].splitlines():
            name, _ = line.split(" = ")
            text, changed = re.subn(rf'^{re.escape(name)} = "".*$', line, text, flags=re.M)
            if changed != 1:
                raise Gone(f"the file of Debian has no line {name}")
        start_with(case, text)
        case.serve(text=bythebook.blocks("kamailio.md", "b2b.toml")[0])
        bythebook.call_both_ways(case, ADDRESS, "2001", "+49301002")

    def load_by_the_book(self, case):
        """rtpengine and Kamailio as docs/load.md starts them, and both loads, on one machine; there is no b2bua."""
        machine = case.world.host("peers", LAST)
        (case.folder / "kamailio.cfg").write_text("#!KAMAILIO\n" + bythebook.blocks("load.md", "kamailio.cfg")[0])
        # A line that waits is between the two.
        media, _, proxy = bythebook.words("load.md", "rtpengine and Kamailio")
        for command, port in ((media, 2223), (proxy, 5060)):
            case.world.start(machine, command, case.folder / f"{command[0]}.log", cwd=case.folder)
            case.world.listens(machine, port)
        bythebook.load(case, machine, "the load on Kamailio")

    def register_there(self, case):
        self.serve(case, more=TRUNK)
        case.listen()
        case.server.process.says("(?i)gateway.*kamtrunk.*registered|registered.*kamtrunk", 15)

    # ---- two servers with one name

    def _set(self, case):
        """Starts both, the name server that knows them, b2b, and the phone behind both; returns the first one's process
        and the phone."""
        path = case.folder / "records"
        path.write_text(RECORDS)
        script = Path(__file__).with_name("names.py")
        names = case.world.start("server", [sys.executable, "-B", script, SERVER, path], case.folder / "names.log")
        names.says("ready")
        first = start(case, MEMBER)
        start(case, MEMBER, SECOND_LAST)
        case.serve({"server": {"resolver": SERVER}}, SET)
        case.listen()
        return first, baresip.Party(case, register=False)

    def srv_in_call(self, case):
        """The first server dies in a call: its next requests go to the name, which the second has."""
        first, peer = self._set(case)
        ours = case.our(
            "1002",
            f"dial 1001; say {FIRST} Hz; hears {PEER} Hz within 15 s; cue up; wait 1; hold; wait 1; "
            f"resume; hears {PEER} Hz within 15 s; cue back; wait 2; hang up",
        )
        ours.cue("up")
        first.vanish()
        ended = case.now()
        ours.cue("back")
        back = case.now()
        ours.done()
        case.hears(peer.address, FIRST, after=back)
        by_first = f"sip.Method == INVITE && ip.dst == {ADDRESS} && !sip.to.tag"
        case.message("an INVITE to the first server", by_first)
        case.no_message("an INVITE to the second one", f"sip.Method == INVITE && ip.dst == {SECOND_ADDRESS} && !sip.to.tag")
        for method in ("INVITE", "BYE"):
            case.message(
                f"200 to {method} of the second server",
                f"sip.Status-Code == 200 && sip.CSeq.method == {method} && ip.src == {SECOND_ADDRESS} && "
                f"frame.time_epoch > {ended}",
            )

    def srv_next_call(self, case):
        """The first server falls silent between two calls: the next one goes to the second server, and so does the
        third."""
        _, peer = self._set(case)
        call = f"dial 1001 within 45 s; say {FIRST} Hz; hears {PEER} Hz within 15 s; "
        ours = case.our("1002", call + "wait 1; hang up; cue silent; wait 1; " + call + "wait 1; hang up; " + call + "wait 1; hang up")
        ours.cue("silent")
        silent = case.now()
        case.world.silence("peers", LAST)
        try:
            ours.done(120)
        finally:
            # Its machine is needed by the following cells.
            case.world.end_silence("peers", LAST)
        case.hears(peer.address, FIRST, after=silent)
        case.message("a call by the first server", f"sip.Status-Code == 200 && sip.CSeq.method == INVITE && ip.src == {ADDRESS}")
        answers = f"sip.Status-Code == 200 && sip.CSeq.method == INVITE && ip.src == {SECOND_ADDRESS}"
        case.message("two calls by the second server", answers, 2)

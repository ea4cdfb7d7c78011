"""Kamailio as Debian has it, as a registrar with a dispatcher; `edge.py` has it before phones, too.

b2b registers there as `kamtrunk`, and sends calls to it as to a gateway. Its phone is a baresip.
"""

import re
import shutil
import subprocess
from pathlib import Path

import baresip
import bythebook
from edge import ADDRESS, REGISTRAR, modules, start, start_with
from phones import PhonePeer
from world import Gone

GATEWAY = f"""
[[gateway]]
name = "kamailio"
hosts = ["{ADDRESS}:5060"]
transport = "udp"
sources = ["{ADDRESS}"]
options_s = 5
class = "internal"
media_from = ["10.9.1.0/24"]
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


class Phone(baresip.Party):
    """A baresip that is registered at Kamailio."""

    def __init__(self, case, name="1001", **more):
        super().__init__(case, name, server=ADDRESS, register_there=True, **more)


class Kamailio(PhonePeer):
    """The registrar: b2b is one of its destinations, and its phones are behind a gateway of b2b's."""

    name, title, quick = "kamailio", "Kamailio (registrar, dispatcher)", True
    Party = Phone
    TARGET = "gateway/kamailio"
    NOT = {
        **{it: why for it, why in baresip.Baresip.NOT.items() if it != "register-there"},
        "register-udp": "a registrar",
        "register-tcp": "a registrar",
        "register-tls": "a registrar",
        "call-tls": "not written: its phone is a plain baresip over UDP",
        **{it: "not written: its configuration here does nothing about NAT" for it in ("nat-in", "nat-out")},
        **{it: "not written: its configuration here has no IPv6" for it in ("ipv6-in", "ipv6-out")},
        "edge-in": "a registrar",
        "edge-out": "a registrar",
        "early-out": "not written: its phone is a plain baresip over UDP",
        "info-in": "not written: its phone is a plain baresip over UDP",
        "timers": "its phone has no RFC 4028",
        "long-call": "a registrar",
    }

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
        return case.serve(changes, more + GATEWAY.replace("[[route]]", must + "[[route]]", 1))

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

    def register_there(self, case):
        self.serve(case, more=TRUNK)
        case.listen()
        case.server.process.says("(?i)gateway.*kamtrunk.*registered|registered.*kamtrunk", 15)

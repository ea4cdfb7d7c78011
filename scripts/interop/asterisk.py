"""Asterisk (chan_pjsip) as a trunk of b2b, from a folder with Debian sid (`scripts/interop.sh --get-asterisk`).

One Asterisk at 10.9.1.20 for all cells. A cell sets the endpoint's options, and the actions of the extensions through
the
global variable DOES; Asterisk's own calls are originated from the command line.
"""

import contextlib
import os
import socket
import subprocess
from pathlib import Path

import baresip
import bythebook
import judge
from asteriskconf import DOES, EXTENSIONS, MAIN, OPTIONS, SRTP, endpoint
from phones import PhonePeer
from world import Gone

ADDRESS, SIX, LAST = "10.9.1.20", "fd09:1::20", 20
class Party:
    """The one Asterisk, with the interface of a phone that phones.py expects."""

    def __init__(self, case, name="1001", transport="udp", srtp=None, codecs="ulaw,alaw", six=False, answer="auto"):
        self.case, self.peer, self.name = case, case.peer, name
        self.address = SIX if six else ADDRESS
        if name != "1001":
            return
        self.does = DOES.get(case.scenario, "tone")
        self.phone = None
        options = {**SRTP[srtp], **OPTIONS.get(case.scenario, {})}
        register = case.scenario.startswith("register-")
        case.peer.configure(endpoint(transport, codecs, six, options, register), self.does)
        if register:
            case.registered(name)
        if case.scenario == "hold-by-peer":
            self.phone = baresip.Party(case, server=ADDRESS, register=False)

    def hold(self):
        self.phone.hold()

    def resume(self):
        self.phone.resume()

    def dial(self, number):
        if self.phone:
            self.phone.dial(number)
            return
        self.peer.ask(f"channel originate PJSIP/{number}@b2b extension {self.does}@apps")

    def ringing(self):
        self.case.pause(1.5)

    def refused(self, code):
        """In the capture."""
        self.case.pause(2)

    def press(self, digits):
        """Its extension does."""

    def transfer(self, number):
        """Its extension does."""

    def refuse(self):
        """Its extension does."""

    def hang_up(self):
        self.peer.ask("channel request hangup all")

    def heard(self, hz):
        self.hang_up()
        self.case.pause(1)
        path = self.peer.folder / "heard.wav"
        if not path.exists():
            raise Gone("Asterisk has written nothing that it heard")
        return judge.wav_tone(path, hz)


GATEWAY = """
[[gateway]]
name = "asterisk"
hosts = ["{host}:{port}"]
transport = "{transport}"
sources = ["10.9.1.20", "fd09:1::20"]
options_s = 0
class = "internal"
# It may lead to our own numbers by 302, as it does by REFER.
redirects = "routes"
[[route]]
name = "asterisk"
called = '1001|1011|3\\d{{4}}'
to = "gateway/asterisk"
"""
TRUNK = f"""
[[gateway]]
name = "trunk"
hosts = ["{ADDRESS}:5060"]
transport = "udp"
username = "trunk"
password = "right-horse-trunk"
from_user = "trunk"
register = true
expires_s = 60
options_s = 0
"""


class Asterisk(PhonePeer):
    name, title, quick = "asterisk", "Asterisk (trunk)", False
    Party = Party
    TARGET = "gateway/asterisk"
    PCMA, PCMU = "alaw", "ulaw"
    NOT = {
        **{it: "a server with its own address" for it in ("nat-in", "nat-out", "edge-in", "edge-out", "crowd")},
        "timers-422": "never requests an interval below b2b's minimum",
        **{it: "only one instance runs" for it in ("srv-in-call", "srv-next-call")},
        "delayed-in": "always sends an offer",
        "attended-by-peer": "joins two calls internally, without REFER with Replaces",
        "long-call": "identified by its address here, without a registration",
        **{it: "its timing cannot be controlled" for it in ("glare", "cancel-race-in", "cancel-race-out")},
        "hops-in": "a carrier's scenario, which SIPp plays",
        "media-elsewhere": "sends media from the address in its SDP",
        "scan": "not a scanner",
        "codec-change": "does not change the codec during a call",
    }

    def __init__(self):
        self.process, self.root, self.folder, self.text = None, None, None, None

    def _root(self):
        folder = getattr(self, "options", None) and self.options.asterisk or os.environ.get("B2B_ASTERISK")
        return Path(folder) if folder and Path(folder, "usr/sbin/asterisk").exists() else None

    def here(self):
        return self._root() is not None

    def version(self):
        text = subprocess.run(
            ["chroot", self._root(), "/usr/sbin/asterisk", "-V"], capture_output=True, text=True, check=False
        ).stdout
        return text.strip() + " (Debian sid)"

    def prepare(self, world, folder):
        self.root, self.folder = self._root(), Path(folder) / "asterisk"
        for name in ("etc", "db", "spool/monitor", "run", "log", "tls"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for path in (self.root / "etc/asterisk").glob("*.conf"):
            (self.folder / "etc" / path.name).write_bytes(path.read_bytes())
        for name in ("cert.pem", "key.pem", "ca.pem"):
            (self.folder / "tls" / name).write_bytes((Path(folder) / name).read_bytes())
        triplet = next(it.parent.name for it in (self.root / "usr/lib").glob("*-linux-gnu/asterisk"))
        files = {
            "asterisk.conf": MAIN.format(triplet=triplet),
            "extensions.conf": EXTENSIONS,
            "extensions.ael": "",
            "extensions.lua": "",
            "rtp.conf": "[general]\nrtpstart=22000\nrtpend=23000\n",
            "logger.conf": "[general]\n[logfiles]\nconsole=notice,warning,error,verbose\n",
            "modules.conf": "[modules]\nautoload=yes\n"
            + "".join(
                f"noload={it}.so\n"
                for it in (
                    "chan_iax2",
                    "chan_unistim",
                    "chan_ooh323",
                    "chan_motif",
                    "chan_mobile",
                    "chan_console",
                    "pbx_lua",
                    "pbx_dundi",
                    "res_config_ldap",
                    "res_config_pgsql",
                    "res_config_mysql",
                    "cdr_pgsql",
                    "cel_pgsql",
                    "res_xmpp",
                    "res_snmp",
                    "res_phoneprov",
                    "res_corosync",
                    "res_hep",
                    "res_prometheus",
                )
            ),
            "pjsip.conf": endpoint("udp", "ulaw", False, {}, False),
        }
        for name, text in files.items():
            (self.folder / ("" if name == "asterisk.conf" else "etc") / name).write_text(text)
        self._resolve_nothing()
        self._start(world, Path(folder) / "asterisk.log")

    def _resolve_nothing(self):
        # Unknown names must fail at once: a reload looks some up.
        files = {
            "resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
            "hosts": f"127.0.0.1 localhost {socket.gethostname()}\n",
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def _start(self, world, log):
        inside = (
            'touch "$1/etc/hosts"; '
            'mount --bind "$2/resolv.conf" "$1/etc/resolv.conf"; mount --bind "$2/hosts" "$1/etc/hosts"; '
            'mount --bind /proc "$1/proc"; mount --bind /dev "$1/dev"; mount --bind "$2" "$1/mnt"; '
            'exec chroot "$1" /usr/sbin/asterisk -f -U root -G root -C /mnt/asterisk.conf -vvv'
        )
        self.process = world.start(
            world.host("peers", LAST),
            ["unshare", "--mount", "sh", "-ec", inside, "sh", self.root, self.folder],
            log,
        )
        self.process.says("Asterisk Ready", 60)
        if "chan_pjsip.so" not in self.ask("module show like chan_pjsip"):
            raise Gone("Asterisk has no chan_pjsip")

    def by_the_book(self, case):
        """The configuration that Debian ships, with the additions of docs/asterisk.md."""
        with self._with_blocks(case, "asterisk.md"):
            case.serve(text=bythebook.blocks("asterisk.md", "b2b.toml")[0])
            bythebook.call_both_ways(case, ADDRESS, "6001", "1002")

    def load_by_the_book(self, case):
        """The same with the additions of docs/load.md, and both loads on its machine; there is no b2bua."""
        with self._with_blocks(case, "load.md"):
            bythebook.load(case, case.world.host("peers", LAST), "the load on Asterisk")

    @contextlib.contextmanager
    def _with_blocks(self, case, document):
        """Asterisk with the files that Debian ships and the blocks of this document appended."""
        own = {name: (self.folder / "etc" / name).read_text() for name in ("pjsip.conf", "extensions.conf")}
        shared = case.world.processes.index(self.process)
        self.process.end()
        try:
            for name in own:
                stock = (self.root / "etc/asterisk" / name).read_text()
                book = "\n".join(bythebook.blocks(document, name))
                (self.folder / "etc" / name).write_text(stock + "\n" + book)
            self._start(case.world, case.folder / "asterisk.log")
            yield
        finally:
            self.process.end()
            for name, text in own.items():
                (self.folder / "etc" / name).write_text(text)
            self._start(case.world, case.folder.parent / "asterisk.log")
            # It serves the following cells, so it does not end with this one.
            case.world.processes[shared] = case.world.processes.pop()

    def ask(self, command):
        """Runs a command and returns Asterisk's output."""
        words = [
            "nsenter",
            "-t",
            str(self.process.child.pid),
            "-m",
            "-n",
            "chroot",
            self.root,
            "/usr/sbin/asterisk",
            "-C",
            "/mnt/asterisk.conf",
            "-rx",
            command,
        ]
        return subprocess.run(
            list(map(str, words)), capture_output=True, text=True, check=False, timeout=20, stdin=subprocess.DEVNULL
        ).stdout

    def configure(self, text, does):
        self.ask("channel request hangup all")
        for path in self.folder.glob("*.wav"):
            path.unlink()
        # A reload takes seconds.
        if text != self.text:
            (self.folder / "etc/pjsip.conf").write_text(text)
            for module in ("res_pjsip", "res_pjsip_endpoint_identifier_ip", "res_pjsip_outbound_registration"):
                self.ask(f"module reload {module}.so")
            self.text = text
        self.ask(f"dialplan set global DOES {does}")

    def serve(self, case, changes=None, more=""):
        six, tls = case.scenario.startswith("ipv6"), case.scenario == "call-tls"
        gateway = GATEWAY.format(
            host=f"[{SIX}]" if six else ADDRESS, port=5061 if tls else 5060, transport="tls" if tls else "udp"
        )
        further = {"srtp-must-out": "srtp = { offer = 'savp', without_tls = true }\n"}
        further |= {it: "dtmf = 'inband'\n" for it in ("inband-in", "inband-out")}
        gateway = gateway.replace("[[route]]", further.get(case.scenario, "") + "[[route]]", 1)
        case.serve(changes, more + ("" if case.scenario.startswith("register-") else gateway))

    def register_there(self, case):
        self.configure(endpoint("udp", "ulaw", False, {}, False), "tone")
        case.serve(None, TRUNK)
        case.listen()
        case.server.process.says("(?i)trunk.*registered|registered.*trunk", 15)
        if "trunk" not in self.ask("pjsip show contacts"):
            raise Gone("Asterisk has no contact of b2b's")

    def cancel_by_peer(self, case):
        self.serve(case)
        case.listen()
        case.our("1002", "wait 20; answer")
        peer = self.Party(case)
        peer.dial("1002")
        peer.ringing()
        peer.hang_up()
        case.pause(1)
        case.message("CANCEL of the peer", f"sip.Method == CANCEL && ip.src == {ADDRESS}")
        case.message("CANCEL to who rings", "sip.Method == CANCEL && ip.dst == 10.9.2.12")

    def early_out(self, case):
        self._call_out(case)
        case.hears_before_answer("10.9.2.12", 523)

    def prack_in(self, case):
        self._call_in(case)
        case.message("PRACK of the peer", f"sip.Method == PRACK && ip.src == {ADDRESS}")
        case.message("200 to PRACK", f"sip.Status-Code == 200 && sip.CSeq.method == PRACK && ip.dst == {ADDRESS}")

    def prack_out(self, case):
        self._call_out(case)
        case.message("PRACK to the peer", f"sip.Method == PRACK && ip.dst == {ADDRESS}")
        case.message("200 to PRACK", f"sip.Status-Code == 200 && sip.CSeq.method == PRACK && ip.src == {ADDRESS}")

    def redirect_out(self, case):
        self.serve(case)
        case.listen()
        self.Party(case)
        other = case.our("1003", "answer; say 750 Hz; hears 600 Hz within 15 s; hung up within 20 s")
        case.our("1002", "dial 1001; say 600 Hz; hears 750 Hz within 15 s; wait 1; hang up").done()
        other.done()
        case.message("302 of the peer", f"sip.Status-Code == 302 && ip.src == {ADDRESS}")

    def hold_by_peer(self, case):
        """It holds on behalf of its own phone: moh_passthrough."""
        if not baresip.Baresip.here():
            raise Gone("there is no baresip to be its phone")
        PhonePeer.hold_by_peer(self, case)

    def connected_line(self, case):
        """It reports another talker right after the ACK of its 200; no call is affected."""
        self.serve(case)
        case.listen()
        self.Party(case)
        steps = "dial 1001; say 600 Hz; wait 2; hears 440 Hz within 15 s; wait 1; hang up"
        case.our("1002", steps).done()
        case.hears(ADDRESS, 600)
        told = f'(sip.Method == INVITE || sip.Method == UPDATE) && ip.src == {ADDRESS} && sip.P-Asserted-Identity contains "7777"'
        case.message("who is connected", told + " && sip.to.tag")
        agreed = "sip.CSeq.method == INVITE || sip.CSeq.method == UPDATE"
        case.message("200 to it", f"sip.Status-Code == 200 && ({agreed}) && ip.dst == {ADDRESS}")

    def info_in(self, case):
        self._digits_in(case, True)

    def inband_in(self, case):
        self._digits_in(case, False)

    def inband_out(self, case):
        self.serve(case)
        case.listen()
        self.Party(case)
        case.our("1002", "dial 1001; say 600 Hz; hears 440 Hz within 15 s; press 159#; wait 2; hang up").done()
        case.hears_digits(ADDRESS, "159#")

    def info_out(self, case):
        self.serve(case)
        case.listen()
        self.Party(case)
        case.our("1002", "dial 1001; say 600 Hz; hears 440 Hz within 15 s; press 159; wait 2; hang up").done()
        case.message("INFO to the peer", f"sip.Method == INFO && ip.dst == {ADDRESS}", 3)

    def direct(self, case):
        """1002 calls 1003 through Asterisk, which then takes itself out of the media by re-INVITEs to both legs."""
        self.serve(case)
        case.listen()
        self.Party(case)
        other = case.our(
            "1003",
            "answer; say 750 Hz; hears 600 Hz within 15 s; wait 4; hears 600 Hz; cue late; wait 4; hung up within 30 s",
        )
        ours = case.our(
            "1002", "dial 31003; say 600 Hz; hears 750 Hz within 15 s; wait 4; hears 750 Hz; press 159; wait 2; hang up"
        )
        ours.done()
        other.done()
        if other.digits() != "159":
            raise Gone(f"1003 got the digits `{other.digits()}` instead of 159")
        case.message("re-INVITEs of Asterisk", f"sip.Method == INVITE && ip.src == {ADDRESS} && sip.to.tag", 2)

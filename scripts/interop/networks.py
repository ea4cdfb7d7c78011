"""One b2b in five networks at once, of which none may see anything of the others (docs/gateways.md, Several networks).

    lan       192.168.50.11    phones, plain
    carrier   10.20.0.9        a carrier on a private network, by its own listener, with its own RTP address
    secure    198.51.100.10    a trunk that accepts only TLS and SRTP
    asterisk  198.51.100.18    Asterisk, TLS and SRTP, which demands a client certificate
    home      192.168.9.11     phones behind a source NAT (198.51.100.26)

b2b is 192.168.50.1, 10.20.0.5 (RTP 10.20.0.6) and 203.0.113.5; `wan` routes between the last one and the rest. Carrier
and secure trunk are a b2b each, with their own phones behind it. Every namespace has a capture.

usage: scripts/interop.sh --networks [--binary PATH] [--asterisk FOLDER]       needs root; a minute
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asterisk
import asteriskconf
from server import base, certificates, password, sections, users
from world import Gone, World

LAN, CARRIER, SECURE, ASTERISK, HOME = "192.168.50.11", "10.20.0.9", "198.51.100.10", "198.51.100.18", "192.168.9.11"
OURS = {"lan": "192.168.50.1", "carrier": "10.20.0.5", "wan": "203.0.113.5"}
CARRIER_RTP, NAT = "10.20.0.6", "198.51.100.26"
# Per network: the permitted addresses of packets, and the names that no message there may contain.
ELSEWHERE = {
    "lan": ({LAN, OURS["lan"]}, ["10.20.0.", "203.0.113.", "198.51.100.", "192.168.9."]),
    "carrier": ({CARRIER, OURS["carrier"], CARRIER_RTP}, ["192.168.", "203.0.113.", "198.51.100."]),
    "secure": ({SECURE, OURS["wan"]}, ["192.168.", "10.20.0.", NAT, ASTERISK]),
    "asterisk": ({ASTERISK, OURS["wan"]}, ["192.168.", "10.20.0.", NAT, SECURE]),
    # The outer address of its NAT is permitted: it is in `received` of responses to it.
    "home": ({HOME, OURS["wan"]}, ["192.168.50.", "10.20.0.", SECURE, ASTERISK]),
}
SERVER = """
[[listener]]
name = "lan"
listen = "udp:192.168.50.1:5060"
[[listener]]
name = "mpls"
listen = "udp:10.20.0.5:5060"
media = "10.20.0.6"
[[gateway]]
name = "secure"
hosts = ["198.51.100.10:5061"]
transport = "tls"
tls_name = "b2b.test"
srtp = "required"
sources = ["198.51.100.10"]
[[gateway]]
name = "asterisk"
hosts = ["198.51.100.18:5061"]
transport = "tls"
tls_name = "b2b.test"
tls_certificate = "{certs}/cert.pem"
tls_key = "{certs}/key.pem"
srtp = "required"
options_s = 0
[[gateway]]
name = "carrier"
hosts = ["10.20.0.9"]
transport = "udp"
listener = "mpls"
sources = ["10.20.0.0/28"]
# Three that are wrong: they are to be refused.
[[gateway]]
name = "without-srtp"
hosts = ["198.51.100.10:5061"]
transport = "tls"
tls_name = "b2b.test"
options_s = 0
[[gateway]]
name = "without-tls"
hosts = ["198.51.100.10:5060"]
transport = "udp"
options_s = 0
[[gateway]]
name = "wrong-certificate"
hosts = ["198.51.100.18:5061"]
transport = "tls"
tls_name = "b2b.test"
tls_certificate = "{certs}/other/cert.pem"
tls_key = "{certs}/other/key.pem"
srtp = "required"
options_s = 0
[[route]]
called = '21\\d\\d'
to = "gateway/secure"
[[route]]
called = '22\\d\\d'
to = "gateway/carrier"
[[route]]
called = '23\\d\\d'
to = "gateway/asterisk"
set_called = "1001"
[[route]]
called = '31\\d\\d'
to = "gateway/without-srtp"
set_called = "2101"
[[route]]
called = '32\\d\\d'
to = "gateway/without-tls"
set_called = "2101"
[[route]]
called = '33\\d\\d'
to = "gateway/wrong-certificate"
set_called = "1001"
[[route]]
called = '1\\d{{3}}'
to = "user/$0"
"""
# A carrier: 2... is its own phone, 1... goes to b2b.
PROVIDER = """
[[listener]]
name = "inner"
listen = "udp:127.0.0.1:5060"
[[gateway]]
name = "b2b"
hosts = ["{host}"]
transport = "{transport}"
tls_name = "b2b.test"
srtp = {{ offer = "{offer}", without_tls = true }}
options_s = 0
[[route]]
called = '1\\d{{3}}'
to = "gateway/b2b"
[[route]]
called = '2\\d{{3}}'
to = "user/2001"
"""
USERS = {"1002": "lan", "1004": "lan", "1005": "lan", "1007": "lan", "1003": "home", "1006": "home"}


class Networks(World):
    """The namespaces described at the head of the module."""

    def __enter__(self):
        try:
            for name in ("b2b", "lan", "carrier", "wan", "secure", "asterisk", "nat", "home"):
                self._space(name)
            self._in("b2b", "sysctl", "-qw", "net.ipv4.ip_forward=0")
            for one, here, other, there in (
                ("b2b", OURS["lan"] + "/24", "lan", LAN + "/24"),
                ("b2b", OURS["carrier"] + "/24", "carrier", CARRIER + "/24"),
                ("b2b", OURS["wan"] + "/24", "wan", "203.0.113.1/24"),
                ("wan", "198.51.100.9/30", "secure", SECURE + "/30"),
                ("wan", "198.51.100.17/30", "asterisk", ASTERISK + "/30"),
                ("wan", "198.51.100.25/30", "nat", NAT + "/30"),
                ("nat", "192.168.9.254/24", "home", HOME + "/24"),
            ):
                self._link(one, here, other, there)
            self._in("b2b", "ip", "addr", "add", CARRIER_RTP + "/24", "dev", "to-carrier")
            for name, gateway in (
                ("b2b", "203.0.113.1"),
                ("secure", "198.51.100.9"),
                ("asterisk", "198.51.100.17"),
                ("nat", "198.51.100.25"),
                ("home", "192.168.9.254"),
                # It would if it could: only b2b is in between.
                ("lan", OURS["lan"]),
                ("carrier", OURS["carrier"]),
            ):
                self._in(name, "ip", "route", "add", "default", "via", gateway)
            self._snat("nat", NAT)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _link(self, one, here, other, there):
        words = f"ip link add to-{other} netns {self.space(one)} type veth peer to-{one} netns {self.space(other)}"
        self._run(*words.split())
        for space, link, address in ((one, f"to-{other}", here), (other, f"to-{one}", there)):
            self._in(space, "ip", "addr", "add", address, "dev", link)
            self._in(space, "ip", "link", "set", link, "up")

    def host(self, net, last):
        """The address expected by the class Asterisk."""
        return "asterisk"


class Run:
    def __init__(self, world, options, folder):
        self.world, self.options, self.folder = world, options, Path(folder)
        self.captures, self.checked = {}, 0

    def ok(self, text):
        self.checked += 1
        print(f"ok   {text}", flush=True)

    def server(self, space, name, text):
        folder = self.folder / name
        folder.mkdir()
        (folder / "b2b.toml").write_text(text)
        words = [self.options.binary, "--role", "b2bua", "--config", folder / "b2b.toml"]
        process = self.world.start(space, words, folder / "b2b.log", cwd=folder)
        process.says("READY role=b2bua", 20)
        return process

    def phone(self, space, name, registrar, bind, steps, srtp="off"):
        secret = self.folder / f"{name}.password"
        secret.write_text(password(name) + "\n")
        words = [
            *(self.options.binary, "--role", "phone", "--identity", f"sip:{name}@{registrar}:5060"),
            *("--password-file", secret, "--sip-bind", f"{bind}:0", "--codecs", "pcmu,pcma"),
            *("--srtp", srtp, "--steps", steps, "--json"),
        ]
        return self.world.start(space, words, self.folder / f"phone-{space}-{name}.log", cwd=self.folder)

    def ours(self, name, steps):
        """One of b2b's phones, registered."""
        space = USERS[name]
        home = {"lan": (OURS["lan"], LAN), "home": (OURS["wan"], HOME)}[space]
        return self.registered(self.phone(space, name, *home, steps))

    @staticmethod
    def registered(phone):
        phone.says('"state":"registered"', 20)
        return phone

    def theirs(self, space, name, steps):
        """A phone of the carrier's or of the secure trunk's, registered there."""
        srtp = "required" if space == "secure" else "off"
        return self.registered(self.phone(space, name, "127.0.0.1", "127.0.0.1", steps, srtp))

    def capture(self, space):
        path = self.folder / f"{space}.pcap"
        words = ["dumpcap", "-q", "-P", "-i", "any", "-f", "(udp or tcp) and not net 127.0.0.0/8", "-B", "16", "-w", path]
        listener = self.world.start(space, words, self.folder / f"dumpcap-{space}.log")
        listener.says("File: ", 15)
        self.captures[space] = (path, listener)

    def provider(self, space, listen, host, certs, srtp, offer):
        """A carrier, or the secure trunk: b2b is at that host."""
        known = base(certs, [listen], "provider.test")
        known["server"]["trusted"] = [host.rsplit(":", 1)[0]]
        known["media"]["srtp"] = srtp
        text = PROVIDER.format(host=host, transport=listen.split(":", 1)[0], offer=offer)
        return self.server(space, space, sections(known) + text + users(("2001", "2002")))

    # ---- the run

    def start(self):
        certs = self.folder / "certs"
        (certs / "other").mkdir(parents=True)
        certificates(certs)
        certificates(certs / "other")
        for space in ELSEWHERE:
            self.capture(space)
        wan = OURS["wan"]
        known = base(certs, [f"udp:{wan}:5060", f"tcp:{wan}:5060", f"tls:{wan}:5061"], "pbx.test")
        known["server"]["inside"] = ["192.168.50.0/24", "10.20.0.0/16"]
        known["log"] = {"sip_trace": "trace.txt"}
        self.b2b = self.server("b2b", "b2b", sections(known) + SERVER.format(certs=certs) + users(USERS))
        self.providers = {
            "secure": self.provider("secure", f"tls:{SECURE}:5061", wan + ":5061", certs, "required", "savp"),
            "carrier": self.provider("carrier", f"udp:{CARRIER}:5060", OURS["carrier"] + ":5060", certs, "off", "none"),
        }
        self.asterisk = None
        peer = asterisk.Asterisk()
        peer.options = self.options
        if not peer.here():
            print("not tried: Asterisk is not here (--asterisk FOLDER)", flush=True)
            return
        # A client without a certificate of that authority gets no connection.
        asteriskconf.TRANSPORTS = asteriskconf.TRANSPORTS.replace(
            "verify_server=yes", "verify_server=yes\nverify_client=yes\nrequire_client_cert=yes"
        )
        asteriskconf.SERVER = OURS["wan"]
        usual = asteriskconf.endpoint
        asterisk.endpoint = lambda *_: usual("tls", "ulaw,alaw", False, asteriskconf.SRTP["srtp-mand"], False)
        peer.prepare(self.world, certs)
        peer.ask("dialplan set global DOES tone")
        self.asterisk = peer

    def calls(self):
        """Five calls at once, a party in each network; the parties of each call hear each other."""
        answers = "answer; say 750 Hz; hears 600 Hz within 20 s; hung up within 30 s"
        calls = "dial {}; say 600 Hz; hears 750 Hz within 20 s; wait 3; hang up"
        parties = [
            ("lan to secure trunk, callee", self.theirs("secure", "2001", answers)),
            ("home to carrier, callee", self.theirs("carrier", "2001", answers)),
            ("carrier to lan, callee", self.ours("1005", answers)),
            ("secure trunk to home, callee", self.ours("1006", answers)),
            ("lan to secure trunk", self.ours("1002", calls.format("2101"))),
            ("home to carrier", self.ours("1003", calls.format("2201"))),
            ("carrier to lan", self.theirs("carrier", "2002", calls.format("1005"))),
            ("secure trunk to home", self.theirs("secure", "2002", calls.format("1006"))),
        ]
        if self.asterisk:
            steps = "dial 2301; say 600 Hz; hears 440 Hz within 20 s; wait 3; hang up"
            parties.append(("lan to Asterisk with a client certificate", self.ours("1004", steps)))
        for what, process in parties:
            code = process.wait(90)
            if code:
                raise Gone(f"{what}: the phone has ended with {code}: {process.text[-400:]}")
            self.ok(what)

    def refusals(self):
        """Traffic that the trunk does not accept is rejected."""
        # An unreachable target is a 500 for the caller (RFC 3261 §16.7, 6).
        wanted = [("plain RTP to the secure trunk", "3101", "488"), ("UDP to the secure trunk", "3201", "500")]
        if self.asterisk:
            wanted.append(("a certificate of another authority to Asterisk", "3301", "500"))
        self.theirs("secure", "2001", "answer within 120")
        for what, number, status in wanted:
            process = self.ours("1007", f"dial {number} within 60")
            code = process.wait(90)
            refused = re.search(r'"cause":"([^"]*)"', process.text)
            if code != 65 or not refused or not refused.group(1).startswith(status):
                raise Gone(f"{what}: the call was not refused with {status} ({code}): {process.text[-400:]}")
            self.ok(f"{what} is refused: {refused.group(1)}")

    # ---- results

    def judge(self):
        for space, (addresses, names) in ELSEWHERE.items():
            if space == "asterisk" and not self.asterisk:
                continue
            path, _ = self.captures[space]
            self._addresses(space, path, addresses)
            self._names(space, path, names)
        self._encrypted()
        self._messages()

    def _addresses(self, space, path, allowed):
        fields = ("ip.src", "ip.dst", "udp.srcport", "udp.dstport")
        words = ["tshark", "-r", path, "-T", "fields", *(word for it in fields for word in ("-e", it))]
        text = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True).stdout
        rows = [line.split("\t") for line in text.splitlines()]
        seen = {it for row in rows for it in row[:2] if it}
        if seen - allowed:
            raise Gone(f"{space}: packets of {sorted(seen - allowed)}")
        # UDP carries only SIP at 5060, and media.
        ports = lambda row: {int(it) for it in row[2:] if it.isdigit()}
        rtp = [row for row in rows if ports(row) and 5060 not in ports(row)]
        ways = {(row[0], row[1]) for row in rtp}
        if len(ways) != 2:
            raise Gone(f"{space}: RTP goes {sorted(ways)}")
        if space == "carrier" and not all(CARRIER_RTP in way for way in ways):
            raise Gone(f"carrier: RTP is not at {CARRIER_RTP}: {sorted(ways)}")
        self.ok(f"{space}: {len(rows)} packets, {len(rtp)} of RTP, all between {', '.join(sorted(seen))}")

    def _names(self, space, path, names):
        """No packet contains such a text. `_messages` checks encrypted ones."""
        octets = Path(path).read_bytes()
        for name in names:
            at = octets.find(name.encode())
            if at >= 0:
                raise Gone(f"{space}: it says {name}: {octets[max(0, at - 120):at + 60]!r}")
        self.ok(f"{space}: no text names {', '.join(names)}")

    def _encrypted(self):
        for space in ("secure", "asterisk"):
            octets = self.captures[space][0].read_bytes()
            if space == "asterisk" and not self.asterisk:
                continue
            # The INVITE of the gateway `without-tls` is there, and nothing answers it.
            if any(word in octets for word in (b"\nSIP/2.0 ", b"SIP/2.0 200", b"a=crypto")):
                raise Gone(f"{space}: signalling in the clear")
            self.ok(f"{space}: no call is signalled in the clear")

    def _messages(self):
        """The same for b2b's TLS messages, from its trace."""
        text = (self.folder / "b2b" / "trace.txt").read_text(errors="replace")
        records = re.split(r"\n(?=--- )", "\n" + text)
        for space, peer in (("secure", SECURE), ("asterisk", ASTERISK)):
            if space == "asterisk" and not self.asterisk:
                continue
            sent = [it for it in records if f"{peer}:" in it.strip().split("\n", 1)[0] and " tls " in it]
            offers = [it for it in sent if "m=audio" in it]
            if not offers or not any("RTP/SAVP" in it for it in offers):
                raise Gone(f"{space}: the trace has {len(sent)} messages and {len(offers)} descriptions")
            for record in sent:
                body = record.strip().split("\n", 1)[-1]
                for name in ELSEWHERE[space][1]:
                    if name in body:
                        raise Gone(f"{space}: a message names {name}:\n{record}")
            self.ok(f"{space}: {len(sent)} messages by TLS name no other network")

    def end(self):
        for _, listener in self.captures.values():
            time.sleep(0.1)
            listener.end(signal.SIGINT)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--networks", action="store_true")
    parser.add_argument("--binary", type=Path, default=None)
    parser.add_argument("--asterisk", default=None)
    parser.add_argument("--keep", action="store_true", help="the folder with captures and logs stays")
    options = parser.parse_args()
    options.binary = (options.binary or built()).resolve()
    folder = tempfile.mkdtemp(prefix="b2b-networks-")
    with Networks(folder) as world:
        run = Run(world, options, folder)
        try:
            run.start()
            run.calls()
            run.refusals()
            time.sleep(0.5)
            run.end()
            run.judge()
        except Gone as gone:
            print(f"FAILED: {gone}\nlogs and captures: {folder}", flush=True)
            return 1
    print(f"{run.checked} checks")
    if not options.keep:
        subprocess.run(["rm", "-rf", folder], check=False)
    return 0


def built():
    """The program built by scripts/interop.sh."""
    return Path(os.environ.get("B2B_BINARY") or f"target/{os.environ.get('B2B_PROFILE', 'release')}/b2b")


if __name__ == "__main__":
    sys.exit(main())

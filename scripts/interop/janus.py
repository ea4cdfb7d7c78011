"""Debian's Janus with its SIP plug-in: it connects a browser's WebRTC to b2b's SIP.

One Janus for all cells; its browser is janusphone.py, beside it.
"""

import re
import shutil
import subprocess
from pathlib import Path

import judge
from phones import NO_PHONE, PhonePeer
from server import DOMAIN, password
from world import SERVER, Gone

ADDRESS, LAST = "10.9.1.80", 80
# Debian's own Python, which has Debian's packages.
PYTHON = "/usr/bin/python3"
FILES = {
    "janus.jcfg": "general: {{\n  admin_secret = \"no\"\n}}\nmedia: {{\n  ipv6 = false\n}}\n"
    "plugins: {{\n  disable = \"{others}\"\n}}\ntransports: {{\n  disable = \"{transports}\"\n}}\n",
    "janus.transport.http.jcfg": "general: {{\n  json = \"compact\"\n  base_path = \"/janus\"\n  http = true\n  port = 8088\n"
    "  https = false\n}}\n",
    "janus.plugin.sip.jcfg": "general: {{\n  local_ip = \"{at}\"\n  keepalive_interval = 0\n  register_ttl = 120\n"
    "  rtp_port_range = \"22000-23000\"\n}}\n",
}
SRTP = {None: [], "srtp": ["sdes_optional"], "srtp-mand": ["sdes_mandatory"]}


class Party:
    """A janusphone."""

    def __init__(self, case, name="1001", hz=440, srtp=None, answer="auto", proxy=None, transport="udp", info=False, six=False):
        self.case, self.name, self.address = case, name, ADDRESS
        self.wav = case.folder / f"janus-{name}.wav"
        proxy = proxy or f"sip:{SERVER}:5060" + (";transport=tcp" if transport == "tcp" else "")
        script = Path(__file__).with_name("janusphone.py")
        self.process = case.world.start(
            case.world.host("peers", LAST),
            [PYTHON, "-B", script, "http://127.0.0.1:8088/janus", name, password(name), DOMAIN, proxy, hz, self.wav]
            + [60, answer, *SRTP[srtp]],
            case.folder / f"janus-{name}.log",
            cwd=case.folder,
        )
        self.process.says("event registered", 15)
        case.registered(name)

    def dial(self, number):
        self.process.type(f"dial sip:{number}@{DOMAIN}")

    def ringing(self):
        self.process.says("event incomingcall", 15)

    def refused(self, code):
        self.process.says(f"event hangup {code}", 10)

    def hold(self):
        self.process.type("hold")

    def resume(self):
        self.process.type("resume")

    def transfer(self, number):
        self.process.type(f"transfer sip:{number}@{DOMAIN}")

    def press(self, digits):
        self.process.type(f"info {digits}")
        self.case.pause(0.5 * len(digits))

    def hang_up(self):
        self.process.type("hangup")

    def refuse(self):
        self.process.type("refuse")

    def heard(self, hz):
        """Seconds of a tone in the browser's incoming audio; available once it has ended."""
        self.process.type("quit")
        self.process.wait(5)
        return judge.wav_tone(self.wav, hz)


class Janus(PhonePeer):
    name, title, quick = "janus", "Janus (WebRTC by its SIP plug-in)", False
    Party = Party
    SRTP = "srtp"
    NOT = {
        **NO_PHONE,
        **{it: "a server with its own address" for it in ("nat-in", "nat-out")},
        **{it: "not written: its configuration here has no IPv6" for it in ("ipv6-in", "ipv6-out")},
        **{it: "not written: its TLS settings apply to sips only" for it in ("register-tls", "call-tls")},
        **{it: "the browser sends digits, and aiortc has no telephone-event" for it in ("dtmf-in", "dtmf-out")},
        **{it: "passes on the browser's codecs, and aiortc offers no others" for it in ("codec-in", "codec-out")},
        "attended-by-peer": "not written: a second call needs a second handle",
        "info-out": "passes on telephone-event",
        "early-out": "not written: needs `progress` of a later version",
        "prack-in": "does not support 100rel itself",
        "prack-out": "does not support 100rel itself",
        "timers": "does not support RFC 4028 itself",
        "delayed-in": "always sends an offer",
    }

    @staticmethod
    def here():
        return bool(shutil.which("janus")) and not subprocess.run(
            [PYTHON, "-c", "import aiortc"], capture_output=True, check=False
        ).returncode

    @staticmethod
    def version():
        text = subprocess.run(["janus", "--version"], capture_output=True, text=True, check=False)
        found = re.search(r"(\d+\.\d+\.\d+)", text.stdout + text.stderr)
        aiortc = subprocess.run([PYTHON, "-c", "import aiortc; print(aiortc.__version__)"], capture_output=True, text=True, check=False)
        return f"Janus {found.group(1) if found else ''}, aiortc {aiortc.stdout.strip()}"

    def prepare(self, world, folder):
        """The one Janus of all cells."""
        own = Path(folder) / "janus"
        own.mkdir(exist_ok=True)
        parts = next(Path("/usr/lib").glob("*/janus"))
        others = ",".join(sorted(it.name for it in parts.glob("plugins/*.so") if "sip.so" not in it.name))
        transports = ",".join(sorted(it.name for it in parts.glob("transports/*.so") if "http" not in it.name))
        for name, text in FILES.items():
            (own / name).write_text(text.format(at=ADDRESS, others=others, transports=transports))
        words = ["janus", "-F", own, "-P", parts / "plugins", "-o", "-i", ADDRESS, "-c", Path(folder) / "cert.pem"]
        process = world.start(
            world.host("peers", LAST), [*words, "-k", Path(folder) / "key.pem"], Path(folder) / "janus.log", cwd=own
        )
        process.says("HTTP webserver started", 15)
        if not process.alive():
            raise Gone("Janus has ended")

    def info_in(self, case):
        self._digits_in(case, True)

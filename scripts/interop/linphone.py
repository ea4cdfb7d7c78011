"""Debian's Linphone console (linphonec): a phone that is controlled through its prompt."""

import re
import shutil
import subprocess

import judge
from phones import NO_PHONE, PhonePeer, Place
from server import DOMAIN, password
from world import Gone

# SRTP in linphone's terms: the method, and whether it is mandatory.
POLICIES = {None: ("none", 0), "srtp": ("srtp", 0), "srtp-mand": ("srtp", 1)}


class Party:
    """One linphonec. `address` is the destination of b2b's RTP."""

    def __init__(
        self,
        case,
        name="1001",
        hz=440,
        transport="udp",
        srtp=None,
        codecs=("PCMU", "PCMA"),
        home=False,
        six=False,
        answer="auto",
        proxy=None,
        register=True,
        info=False,
        server=None,
        delayed=False,
        early=False,
        timers=False,
        reliable=False,
    ):
        self.case, self.name = case, name
        place = Place(case, 40, name, home, six, transport, server, proxy)
        self.address = place.address
        self.folder = case.folder / f"linphone-{name}"
        # It does not create its database without the folder.
        (self.folder / ".local/share/linphone").mkdir(parents=True)
        said = judge.write_tone(self.folder / "said.wav", hz)
        self.wav = self.folder / "heard.wav"
        encryption, mandatory = POLICIES[srtp]
        ports = {
            "udp": "sip_port=5060\nsip_tcp_port=-1\nsip_tls_port=-1",
            "tcp": "sip_port=-1\nsip_tcp_port=-2\nsip_tls_port=-1",
            "tls": "sip_port=-1\nsip_tcp_port=-1\nsip_tls_port=-2",
        }[transport]
        kinds = "".join(
            f"[audio_codec_{n}]\nmime={mime}\nrate={rate}\nenabled={int(mime in codecs)}\n"
            for n, (mime, rate) in enumerate(
                (
                    ("PCMU", 8000),
                    ("PCMA", 8000),
                    ("G722", 8000),
                    ("opus", 48000),
                    ("speex", 8000),
                    ("speex", 16000),
                    ("GSM", 8000),
                )
            )
        )
        path = self.folder / "rc"
        path.write_text(
            f"[sip]\n{ports}\nmedia_encryption={encryption}\nmedia_encryption_mandatory={mandatory}\n"
            f"use_ipv6={int(six)}\n"
            f"use_info={int(info)}\nuse_rfc2833={int(not info)}\nverify_server_certs=1\n"
            f"root_ca={case.world.folder}/ca.pem\n"
            f"default_proxy=0\nguess_hostname=1\nkeepalive_period=10000\nsdp_200_ack={int(delayed)}\n"
            "incall_timeout=120\n"
            f"incoming_calls_early_media={int(early)}\nreal_early_media={int(early)}\n"
            + (
                "session_expires_enabled=1\nsession_expires_value=90\nsession_expires_min_value=90\n"
                "supported=replaces, outbound, timer\n"
                if timers
                else ""
            )
            + ("100rel_support_level=2\n" if reliable else "")
            + f"[proxy_0]\nreg_proxy={place.proxy}\nreg_route={place.proxy}\nreg_identity=sip:{name}@{DOMAIN}\nreg_expires=100\n"
            f"reg_sendregister={int(register)}\nquality_reporting_enabled=0\npublish=0\n"
            f"[auth_info_0]\nusername={name}\npasswd={password(name)}\nrealm={DOMAIN}\n{kinds}"
            "[rtp]\naudio_rtp_port=21000\n[net]\nfirewall_policy=0\n[sound]\nechocancellation=0\n"
            "[misc]\nlog_collection_upload=0\n[video]\nenabled=0\ncapture=0\ndisplay=0\n"
        )
        words = ["linphonec", "-c", path, "-d", "3", "-l", self.folder / "log", *(["-a"] if answer == "auto" else [])]
        words += ["--real-early-media"] if early else []
        self.process = case.world.start(
            place.machine,
            words,
            case.folder / f"linphone-{name}.log",
            cwd=self.folder,
            environment={"HOME": str(self.folder), "TERM": "dumb"},
        )
        self.process.says("linphonec>", 20)
        for line in ("soundcard use files", f"record {self.wav}", f"play {said}"):
            self.process.type(line)
        if register:
            case.registered(name)
        case.pause(0.3)

    def dial(self, number):
        self.process.type(f"call sip:{number}@{DOMAIN}")

    def ringing(self):
        self.process.says("Receiving new incoming call", 15)

    def hold(self):
        self.process.type("pause")

    def resume(self):
        self.process.type("resume 1")

    def transfer(self, number):
        self.process.type(f"transfer sip:{number}@{DOMAIN}")

    def consult(self, number):
        self.hold()
        self.process.says("is now paused", 10)
        self.dial(number)

    def hand_over(self):
        self.process.type("transfer 1 --to-call 2")

    def press(self, digits):
        for digit in digits:
            self.process.type(digit)
            self.case.pause(0.6)

    def hang_up(self):
        self.process.type("terminate")

    refuse = hang_up

    def heard(self, hz):
        """Seconds of a tone in its recording; available once it has ended."""
        self.process.type("quit")
        self.case.pause(1)
        self.process.end()
        if not self.wav.exists():
            raise Gone("linphone has written nothing that it heard")
        return judge.wav_tone(self.wav, hz)

    def refused(self, code):
        """In the capture."""
        self.case.pause(2)


class Linphone(PhonePeer):
    name, title, quick = "linphone", "Linphone", True
    Party = Party
    TIMERS = {"timers": True}
    PCMA, PCMU = ("PCMA",), ("PCMU",)
    NOT = {
        **{row: why for row, why in NO_PHONE.items() if row != "redirect-out"},
        "prack-in": "supports 100rel but never requires it",
        "info-out": "always supports telephone-event",
    }

    @staticmethod
    def here():
        return bool(shutil.which("linphonec"))

    @staticmethod
    def version():
        text = subprocess.run(["linphonec", "-v"], capture_output=True, text=True, check=False)
        found = re.search(r"version: *(\S+)", text.stdout + text.stderr, re.IGNORECASE)
        return f"linphonec {found.group(1).rstrip('.') if found else ''}"

    def prack_out(self, case):
        self._call_out(case, reliable=True)
        case.message("PRACK to the peer", "sip.Method == PRACK && ip.dst == 10.9.1.41")
        case.message("200 to PRACK", "sip.Status-Code == 200 && sip.CSeq.method == PRACK && ip.src == 10.9.1.41")

    def redirect_out(self, case):
        self.serve(case)
        case.listen()
        peer = self.Party(case, answer="manual")
        other = case.our("1003", "answer; say 750 Hz; hears 600 Hz within 15 s; hung up within 20 s")
        ours = case.our("1002", "dial 1001; say 600 Hz; hears 750 Hz within 15 s; wait 1; hang up")
        peer.ringing()
        peer.process.type(f"redirect all sip:1003@{DOMAIN}")
        ours.done()
        other.done()
        case.message("302 of the peer", f"sip.Status-Code == 302 && ip.src == {peer.address}")

    def early_out(self, case):
        self.serve(case)
        case.listen()
        peer = self.Party(case, answer="manual", early=True)
        ours = case.our("1002", "dial 1001; say 600 Hz; hears 440 Hz within 15 s; cue up; wait 2; hang up")
        peer.ringing()
        case.pause(2)
        peer.process.type("answer")
        ours.done()
        case.message("183 with a session", f"sip.Status-Code == 183 && sdp && ip.src == {peer.address}")
        case.hears_before_answer("10.9.2.12", 440)
        case.hears(peer.address, 600)

    def delayed_in(self, case):
        self._call_in(case, delayed=True)
        case.message("INVITE without a session", "sip.Method == INVITE && ip.src == 10.9.1.41 && !sdp")

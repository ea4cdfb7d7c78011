"""Debian's baresip: a phone that is controlled by key presses (docs/phones.md)."""

import re
import shutil
import signal
import subprocess
from pathlib import Path

import judge
from phones import NO_PHONE, PhonePeer, Place
from server import DOMAIN, password
from world import Gone

FOLDERS = ("/usr/lib/baresip/modules", "/usr/lib/x86_64-linux-gnu/baresip/modules")


def modules():
    return next((it for it in FOLDERS if (Path(it) / "g711.so").exists()), None)


class Party:
    """One baresip. `address` is the destination of b2b's RTP."""

    def __init__(
        self,
        case,
        name="1001",
        hz=440,
        transport="udp",
        srtp=None,
        codecs="PCMU/8000/1,PCMA/8000/1",
        home=False,
        six=False,
        answer="auto",
        proxy=None,
        register=True,
        info=False,
        server=None,
        register_there=False,
        domain=DOMAIN,
    ):
        self.case, self.name = case, name
        place = Place(case, 50, name, home, six, transport, server, proxy)
        self.address = place.address
        bind = f"[{place.at}]" if six else place.at
        self.folder = case.folder / f"baresip-{name}"
        self.folder.mkdir()
        judge.write_tone(self.folder / "said.wav", hz, seconds=90)
        parts = ["stdio", "g711", "g722", "opus", "aufile", "aubridge", "sndfile", *(["srtp"] if srtp else [])]
        (self.folder / "config").write_text(
            f"sip_listen {bind}:5060\nnet_interface eth0\nsip_cafile {case.world.folder}/ca.pem\n"
            f"audio_source aufile,{self.folder}/said.wav\naudio_player aubridge,x\naudio_alert aubridge,xa\n"
            "ausrc_srate 8000\nauplay_srate 8000\nausrc_channels 1\nauplay_channels 1\nrtp_ports 20000-20100\n"
            f"snd_path {self.folder}\nmodule_path {modules()}\n"
            + "".join(f"module {it}.so\n" for it in parts)
            + "module_app account.so\nmodule_app menu.so\n"
        )
        (self.folder / "accounts").write_text(
            f'<sip:{name}@{domain}>;outbound="{place.proxy}";auth_user={name};auth_pass={password(name)};'
            f"regint={60 if register else 0};answermode={answer};audio_codecs={codecs}"
            + (f";mediaenc={srtp}" if srtp else "")
            + (";dtmfmode=info" if info else "")
            + "\n"
        )
        (self.folder / "contacts").write_text("")
        self.process = case.world.start(
            place.machine,
            ["baresip", "-f", self.folder, "-6" if six else "-4"],
            case.folder / f"baresip-{name}.log",
            environment={"HOME": str(self.folder)},
            cwd=self.folder,
        )
        self.process.says("baresip is ready", 15)
        if register_there:
            self.process.says("registered successfully|200 OK", 15)
        elif register:
            case.registered(name)

    def command(self, words):
        self.process.type("/" + words)

    def dial(self, number):
        self.command(f"dial {number}")

    def up(self, seconds=10):
        self.process.says("Call established|call established", seconds)

    def ringing(self):
        self.process.says("Incoming call|incoming call", 10)

    def hold(self):
        self.command("hold")

    def resume(self):
        self.command("resume")

    def transfer(self, number):
        self.command(f"transfer {number}")

    def press(self, digits):
        for digit in digits:
            self.process.key(digit)
            self.case.pause(0.35)
            # Marks the end of a digit.
            self.process.key("\x04")
            self.case.pause(0.2)

    def hang_up(self):
        self.command("hangup")

    refuse = hang_up

    def heard(self, hz):
        """Seconds of a tone in its decoded audio; available once it has ended."""
        self.process.end(signal.SIGTERM)
        dumps = sorted(self.folder.glob("dump-*-dec.wav"))
        if not dumps:
            raise Gone("baresip has written nothing that it heard")
        return sum(judge.wav_tone(it, hz) for it in dumps)

    def refused(self, code, seconds=10):
        """Waits until its call has failed with this status."""
        self.process.says(f"closed.*{code}|{code} ", seconds)


class Baresip(PhonePeer):
    name, title, quick = "baresip", "baresip", True
    Party = Party
    NOT = {
        **NO_PHONE,
        "attended-by-peer": "1.0 sends REFER only without Replaces",
        "timers": "1.0 does not support RFC 4028",
        "prack-in": "1.0 does not support 100rel",
        "prack-out": "1.0 does not support 100rel",
        "info-in": "1.0 supports RFC 4733 only",
        "info-out": "always supports telephone-event",
        "delayed-in": "always sends an offer",
        "early-out": "1.0 sends no audio with 183",
    }

    @staticmethod
    def here():
        return bool(shutil.which("baresip") and modules())

    @staticmethod
    def version():
        text = subprocess.run(["baresip", "-h"], capture_output=True, text=True, check=False)
        found = re.search(r"baresip v(\S+)", text.stdout + text.stderr)
        return f"baresip {found.group(1)}" if found else "baresip"

"""Debian's rtpengine, in user space: it carries the media of calls
that b2b switches. Its phone is a baresip.
"""

import re
import shutil
import subprocess

import baresip
from world import SERVER, SERVER6


class Rtpengine(baresip.Baresip):
    """The scenarios of baresip, with `media.controller` set to rtpengine, which runs beside b2b."""

    name, title, quick = "rtpengine", "rtpengine (media), baresip", False
    REGISTERS = ("register-udp", "register-tcp", "register-tls")
    NOT = {
        **baresip.Baresip.NOT,
        **{it: "no media involved" for it in (*REGISTERS, "cancel-by-peer", "cancel-of-peer", "busy-in", "busy-out")},
        **{
            it: "b2b rejects a configuration with SRTP and rtpengine"
            for it in ("srtp-in", "srtp-out", "srtp-must-in", "srtp-must-out")
        },
        "codec-in": "b2b uses it as a relay only",
        "codec-out": "b2b uses it as a relay only",
    }

    @staticmethod
    def here():
        return bool(shutil.which("rtpengine")) and baresip.Baresip.here()

    @staticmethod
    def version():
        text = subprocess.run(["rtpengine", "--version"], capture_output=True, text=True, check=False)
        return "rtpengine " + re.search(r"Version: (\S+)", text.stdout + text.stderr).group(1)

    def serve(self, case, changes=None, more=""):
        process = case.world.start(
            "server",
            [
                "rtpengine",
                "--foreground",
                "--log-stderr",
                "--config-file=none",
                "--table=-1",
                f"--interface=default/{SERVER}",
                f"--interface=default/{SERVER6}",
                "--listen-ng=127.0.0.1:22222",
                "--port-min=30000",
                "--port-max=39999",
                "--log-level=5",
            ],
            case.folder / "rtpengine.log",
            cwd=case.folder,
        )
        case.pause(0.7)
        changes = {name: dict(keys) for name, keys in (changes or {}).items()}
        # The threads belong to b2b's own media.
        changes.setdefault("media", {}).update(controller="rtpengine://127.0.0.1:22222")
        case.serve(changes, more)
        return process

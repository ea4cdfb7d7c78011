"""b2b under test: its configuration, and the server itself."""

import subprocess
import time
from pathlib import Path

from world import SERVER, SERVER6, Gone

DOMAIN = "b2b.test"
# Users: 1001 and 1011 are the peer's, 1002 to 1004 b2b's own phones, 1100 to 1199 many phones behind one address.
USERS = ["1001", "1011", "1002", "1003", "1004", "2000", "2001", *(str(1100 + n) for n in range(100))]


def password(name):
    return f"right-horse-{name}"


def certificates(folder):
    """An authority and a certificate signed by it for the server and the peers, as PEM files."""
    folder = Path(folder)
    # Linphone also looks for an address among the names.
    names = f"subjectAltName=DNS:b2b.test,DNS:{SERVER}," + ",".join(
        f"IP:{it}" for it in (SERVER, SERVER6, "10.9.1.20", "10.9.1.30")
    )
    known = folder / "names.ext"
    # Another run may be using them. They are valid for 30 days.
    if (
        (folder / "cert.pem").exists()
        and known.read_text() == names + "\n"
        and known.stat().st_mtime > time.time() - 86400
    ):
        return
    known.write_text(names + "\n")
    for words in (
        [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "30",
            "-subj",
            "/CN=interop",
        ],
        ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=b2b.test"],
        [
            "x509",
            "-req",
            "-in",
            "request.pem",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            "cert.pem",
            "-days",
            "30",
            "-extfile",
            "names.ext",
        ],
    ):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def configuration(certs, changes, more):
    """The configuration's text. `changes`: keys of sections that differ from these, and in `users` lines of users;
    `more`: text after the users, for example routes to peers."""
    changes = dict(changes)
    lines = changes.pop("users", {})
    known = {
        **base(certs, [f"udp:{SERVER}:5060", f"tcp:{SERVER}:5060", f"tls:{SERVER}:5061", f"udp:[{SERVER6}]:5060"], DOMAIN),
        "registrar": {"max_expires_s": 120},
        "http": {"listen": "127.0.0.1:8080", "token": "off"},
        "log": {"level": "info", "sip_trace": "trace.txt"},
    }
    known["server"].update(cdr="cdr.jsonl", session_expires_s=90)
    for name, keys in changes.items():
        known.setdefault(name, {}).update(keys)
    return sections(known) + users(USERS, lines) + more + ROUTES


def base(certs, listen, domain):
    """The sections that every b2b of a run has."""
    return {
        "server": {"listen": listen, "domains": [domain], "store": "memory", "drain_s": 1},
        "tls": {"certificate": f"{certs}/cert.pem", "key": f"{certs}/key.pem", "authorities": f"{certs}/ca.pem"},
        "media": {"threads": 1},
        "http": {"listen": "off"},
    }


def sections(known):
    """Sections and their keys as text."""
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {toml(it)}\n" for key, it in keys.items()) + "\n" for name, keys in known.items()
    )


def users(names, lines=None):
    """`lines`: additional lines of a user."""
    return "".join(
        f'[[user]]\nname = "{it}"\npassword = "{password(it)}"\n{(lines or {}).get(it, "")}' for it in names
    )


def toml(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


ROUTES = r"""
[[route]]
name = "busy"
called = '486'
reject = 486
[[route]]
name = "users"
called = '[12]\d{3}'
to = "user/$0"
[[route]]
reject = 404
"""


class Server:
    """b2b in the namespace `server`, ready."""

    def __init__(self, world, binary, folder, changes=None, more="", text=None):
        """`text`: a complete configuration, instead of that of the scenarios."""
        self.folder = Path(folder)
        config = self.folder / "b2b.toml"
        config.write_text(text or configuration(world.folder, changes or {}, more))
        self.process = world.start(
            "server", [binary, "--role", "b2bua", "--config", config], self.folder / "b2b.log", cwd=self.folder
        )
        try:
            self.process.says("READY role=b2bua", 20)
        except Gone as gone:
            raise Gone(f"b2b did not start: {gone}; {self.process.text[-300:]}") from None

    def records(self):
        """Text of the call records so far."""
        path = self.folder / "cdr.jsonl"
        return path.read_text() if path.exists() else ""

    def idle(self):
        time.sleep(0.2)

"""Network namespaces of a run, and the processes in them. All end with the run.

server  10.9.0.1, fd09::1: b2b; it routes between the others, each of which is a machine with one address
peers   10.9.1.N, fd09:1::N: other programs
phones  10.9.2.N, fd09:2::N: b2b's own phones
nat     10.9.3.2: source NAT with its own choice of ports
home    192.168.9.N: machines behind that NAT
"""

import contextlib
import os
import pty
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

SERVER, SERVER6 = "10.9.0.1", "fd09::1"
NAT = "10.9.3.2"
NETS = {
    "peers": ("10.9.1", "fd09:1:"),
    "phones": ("10.9.2", "fd09:2:"),
    "nat": ("10.9.3", "fd09:3:"),
    "home": ("192.168.9", None),
}
# Builds may keep the processor busy: every wait is multiplied by this.
PATIENCE = float(os.environ.get("B2B_PATIENCE", "1"))


class Gone(Exception):
    """A scenario cannot continue: the missing or unexpected event."""


def wait_for(what, check, seconds=10.0):
    """The result of `check`, once it is true; `Gone` after this many seconds."""
    until = time.monotonic() + seconds * PATIENCE
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > until:
            raise Gone(f"{what} did not come within {seconds:g} s")
        time.sleep(0.05)


class Process:
    """A program in a namespace, with a terminal that accepts input. It ends with `end`."""

    def __init__(self, space, command, log, environment=None, cwd=None):
        self.log, self.name = Path(log), Path(str(command[0])).name
        terminal, theirs = pty.openpty()
        self.terminal = terminal
        self.text = ""
        words = ["nsenter", f"--net=/run/netns/{space}", *map(str, command)]
        self.child = subprocess.Popen(
            words,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        os.close(theirs)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        with self.log.open("a") as log, contextlib.suppress(OSError):
            while octets := os.read(self.terminal, 65536):
                text = octets.decode(errors="replace").replace("\r\n", "\n")
                log.write(text)
                log.flush()
                self.text += text

    def type(self, line):
        os.write(self.terminal, (line + "\n").encode())

    def key(self, key):
        os.write(self.terminal, key.encode())

    def says(self, pattern, seconds=10.0, since=0):
        """Waits until it has printed this, from that position of its output on."""
        what = f"`{pattern}` from {self.name}"
        return wait_for(what, lambda: re.search(pattern, self.text[since:]) or self._over(what), seconds)

    def _over(self, what):
        if not self.alive():
            time.sleep(0.2)
            if not re.search(what.split("`")[1], self.text):
                raise Gone(f"{what}: it has ended with {self.child.returncode}")
        return None

    def alive(self):
        return self.child.poll() is None

    def wait(self, seconds):
        """Its exit code, once it has ended by itself."""
        try:
            code = self.child.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            raise Gone(f"{self.name} has not ended within {seconds:g} s") from None
        self.reader.join(1)
        return code

    def vanish(self):
        """Kills it and its children at once."""
        os.killpg(self.child.pid, signal.SIGKILL)
        self.end()

    def end(self, how=signal.SIGTERM, patience=4.0):
        if self.alive():
            self.child.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(patience)
            # With its children: those of a Kamailio that did not end in time would keep its port without answering.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
        self.reader.join(1)
        with contextlib.suppress(OSError):
            os.close(self.terminal)


class World:
    """The namespaces. Use it with `with`."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.tag = f"b2bi{os.getpid()}"
        self.made = []
        self.processes = []

    def space(self, name):
        return f"{self.tag}-{name}"

    def __enter__(self):
        try:
            self._space("server")
            self._in("server", "ip", "addr", "add", f"{SERVER}/32", "dev", "lo")
            self._in("server", "ip", "-6", "addr", "add", f"{SERVER6}/128", "dev", "lo", "nodad")
            nat = self.host("nat", 2)
            self._snat(nat, NAT)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _snat(self, name, address):
        """The outside address of machines at `home`; the NAT chooses the ports."""
        for kind in ("udp", "tcp"):
            rule = f"-t nat -A POSTROUTING -s 192.168.9.0/24 -p {kind} -j SNAT --to-source {address}:40000-49999 --random"
            self._in(name, "iptables", *rule.split())

    def __exit__(self, *_):
        self.end_all()
        for name in self.made:
            self._run("ip", "netns", "del", self.space(name), check=False)
        self.made = []

    def _space(self, name):
        self._run("ip", "netns", "add", self.space(name))
        self.made.append(name)
        self._in(name, "ip", "link", "set", "lo", "up")
        self._in(
            name,
            "sysctl",
            "-qw",
            "net.ipv4.ip_forward=1",
            "net.ipv6.conf.all.forwarding=1",
            "net.ipv6.conf.default.accept_dad=0",
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.default.rp_filter=0",
        )

    def host(self, net, last):
        """The machine with this address, as a namespace, created at the first request."""
        name = f"{net}-{last}"
        if name in self.made:
            return name
        (four, six), over = NETS[net], f"nat-{NAT.rsplit('.', 1)[1]}" if net == "home" else "server"
        link, gateway = f"{net}{last}", "192.168.9.254" if net == "home" else SERVER
        self._space(name)
        self._run(
            "ip",
            "link",
            "add",
            link,
            "netns",
            self.space(over),
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self.space(name),
        )
        if net == "home":
            self._in(over, "ip", "addr", "add", f"{gateway}/32", "dev", link)
        self._in(over, "ip", "-6", "addr", "add", "fe80::1/64", "dev", link, "nodad")
        self._in(over, "ip", "link", "set", link, "up")
        self._in(over, "ip", "route", "add", f"{four}.{last}/32", "dev", link)
        self._in(name, "ip", "link", "set", "eth0", "up")
        self._in(name, "ip", "addr", "add", f"{four}.{last}/32", "dev", "eth0")
        self._in(name, "ip", "route", "add", gateway, "dev", "eth0")
        self._in(name, "ip", "route", "add", "default", "via", gateway)
        if six:
            self._in(over, "ip", "-6", "route", "add", f"{six}:{last}/128", "dev", link)
            self._in(name, "ip", "-6", "addr", "add", f"{six}:{last}/128", "dev", "eth0", "nodad")
            self._in(name, "ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0")
        return name

    @staticmethod
    def address(net, last, six=False):
        return f"{NETS[net][1]}:{last}" if six else f"{NETS[net][0]}.{last}"

    def silence(self, net, last):
        """From now on packets to this machine are silently lost."""
        self._in(f"{net}-{last}", "iptables", "-A", "INPUT", "-j", "DROP")

    def end_silence(self, net, last):
        self._in(f"{net}-{last}", "iptables", "-F", "INPUT")

    def start(self, name, command, log, **more):
        process = Process(self.space(name), command, log, **more)
        self.processes.append(process)
        return process

    def listens(self, name, port):
        """Waits until a process has this UDP port there."""
        check = ["nsenter", f"--net=/run/netns/{self.space(name)}", "ss", "-lunH", f"sport = :{port}"]
        wait_for(
            f"a program at UDP port {port}",
            lambda: subprocess.run(check, capture_output=True, text=True, check=False).stdout.strip(),
        )

    def end_all(self, after=0):
        """Ends the started processes except the first `after`."""
        for process in reversed(self.processes[after:]):
            process.end()
        del self.processes[after:]

    def _in(self, name, *command):
        self._run("ip", "netns", "exec", self.space(name), *command)

    @staticmethod
    def _run(*command, check=True):
        subprocess.run(command, check=check, capture_output=not check)

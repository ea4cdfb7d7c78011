"""Phones that register at the real binary with passwords, and refresh."""

import hashlib
import re
import socket
import time

from machine import House

REALM = "b2b.example"
URI = f"sip:{REALM}"


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


class Phones:
    """Phones that share one socket; a reply is known by its Call-ID."""

    def __init__(self, server, count):
        self.to = ("127.0.0.1", server.port)
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.ha1 = [md5(f"u{n}:{REALM}:secret-{n}") for n in range(count)]
        self.nonce = [None] * count
        self.used = [0] * count
        self.cseq = [0] * count
        self.put_off = 0

    def request(self, n, method_line=f"REGISTER {URI}"):
        self.cseq[n] += 1
        credentials = ""
        if self.nonce[n]:
            self.used[n] += 1
            nc = f"{self.used[n]:08x}"
            response = md5(f"{self.ha1[n]}:{self.nonce[n]}:{nc}:0a4f113b:auth:{md5(f'REGISTER:{URI}')}")
            credentials = (
                f'Authorization: Digest username="u{n}", realm="{REALM}", nonce="{self.nonce[n]}", uri="{URI}", '
                f'response="{response}", algorithm=MD5, cnonce="0a4f113b", qop=auth, nc={nc}\r\n'
            )
        return (
            f"{method_line} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch=z9hG4bK{n}x{self.cseq[n]};rport\r\nMax-Forwards: 70\r\n"
            f"From: <sip:u{n}@{REALM}>;tag={n}t\r\nTo: <sip:u{n}@{REALM}>\r\nCall-ID: {n}-8f2a64c1b7\r\n"
            f"CSeq: {self.cseq[n]} REGISTER\r\nContact: <sip:u{n}@127.0.0.1:{self.port}>\r\nExpires: 7200\r\n"
            f"User-Agent: bench 1.0\r\nAllow: INVITE,ACK,BYE,CANCEL,OPTIONS\r\n{credentials}Content-Length: 0\r\n\r\n"
        ).encode()

    def send(self, n):
        self.socket.sendto(self.request(n), self.to)

    def receive(self):
        """(phone, status, message) of the next final response."""
        while True:
            text = self.socket.recv(65535).decode()
            status = int(text[8:11])
            if status >= 200:
                return int(re.search(r"Call-ID: (\d+)-", text)[1]), status, text

    def register(self, wanted, window=64, rate=None):
        """Registers these, at so many a second or as fast as they are answered."""
        self.socket.settimeout(10)
        waiting, started, begun, answered = iter(wanted), 0, time.monotonic(), 0
        open_ = 0
        more = True
        while more or open_:
            while more and open_ < window:
                if rate and started / rate > time.monotonic() - begun:
                    if open_:
                        break
                    time.sleep(max(0.0, started / rate - (time.monotonic() - begun)))
                n = next(waiting, None)
                if n is None:
                    more = False
                    break
                self.send(n)
                started, open_ = started + 1, open_ + 1
            if not open_:
                continue
            n, status, text = self.receive()
            if status == 401:
                self.nonce[n], self.used[n] = re.search(r'nonce="([^"]+)"', text)[1], 0
                self.send(n)
                continue
            if status == 503:
                # The disk does not keep up with us: a phone waits for Retry-After, we less.
                self.put_off += 1
                time.sleep(0.05)
                self.send(n)
                continue
            assert status == 200, text
            open_, answered = open_ - 1, answered + 1
        return answered


def users(count):
    return "".join(f'[[user]]\nname = "u{n}"\npassword = "secret-{n}"\n' for n in range(count))


def measure(count, check):
    """Registers `count` phones and refreshes; the server keeps them in SQLite."""
    with House() as house:
        lines = f"[registrar]\nmax_bindings = {count + 10}\nkeep_alive = \"off\"\n{users(count)}"
        server = house.server(lines, server='store = "sqlite:bindings.sqlite"\nrealm = "b2b.example"', trusted="")
        phones = Phones(server, count)
        phones.register(range(min(500, count)))
        rss, cpu, begun = server.rss(), server.cpu(), time.monotonic()
        phones.register(range(min(500, count), count))
        first = max(1, count - 500)
        registering = (server.cpu() - cpu) * 1e3 / first
        grown = (server.rss() - rss) / 1024 / first
        per_s = first / (time.monotonic() - begun)
        put_off = phones.put_off
        runs = []
        refreshes = min(count, 10_000)
        for _ in range(3):
            cpu, begun = server.cpu(), time.monotonic()
            phones.register(range(refreshes), rate=1000)
            runs.append((server.cpu() - cpu) * 1e3 / refreshes)
        cpu, begun = server.cpu(), time.monotonic()
        phones.register(range(refreshes))
        flat_out = refreshes / (time.monotonic() - begun)
        flat_cost = (server.cpu() - cpu) * 1e3 / refreshes
        challenged = sum(1 for n in range(refreshes) if phones.used[n] < 4)
        check(phones.put_off == put_off, f"{phones.put_off - put_off} refreshes were put off")
        check(challenged == 0, f"{challenged} phones were challenged again at a refresh")
        server.stop()
        return {
            "held": count,
            "ms_per_refresh": round(sorted(runs)[1], 4),
            "ms_per_refresh_runs": [round(run, 4) for run in runs],
            "ms_per_registration": round(registering, 4),
            "registrations_per_s": round(per_s),
            "rss_kb_per_binding": round(grown, 2),
            "put_off_by_503": put_off,
            "flat_out_ms_per_refresh": round(flat_cost, 4),
            "flat_out_refreshes_per_s": round(flat_out),
        }

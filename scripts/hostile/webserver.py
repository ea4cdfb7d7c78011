"""A malicious web server that a menu queries."""

import contextlib
import socket
import threading
import time

import sip
from attack import attack


class Web:
    """Accepts at the attack's address; `work(connection, head)` answers each request."""

    def __init__(self, one, world, work, port=8000):
        self.listener = socket.create_server((one.source(world), port))
        self.listener.settimeout(0.2)
        self.work, self.over, self.asked = work, False, 0
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join(2)
        self.listener.close()

    def _accept(self):
        while not self.over:
            with contextlib.suppress(OSError):
                connection, _ = self.listener.accept()
                self.asked += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            self.work(connection, connection.recv(65536).decode(errors="replace"))


def lives(world, ip, patience=5):
    """Whether the server still answers."""
    with sip.Phone(world.server, ip) as phone:
        return phone.request("OPTIONS", f"sip:{world.at(1)}", patience=patience) is not None


def asked_by_a_call(one, world, work, seconds=8):
    """A caller's menu queries it. (the server lives, seconds that the call lasted, requests)"""
    with Web(one, world, work) as web, one.attacker(world, 0) as caller:
        caller.register()
        begun = time.monotonic()
        call = caller.call(f"80{one.place:02d}")
        while not call.ended.is_set() and time.monotonic() < begun + seconds:
            time.sleep(0.05)
        took = time.monotonic() - begun
        alive = lives(world, one.source(world))
        call.bye(wait=alive)
        return alive, took, web.asked


def judged(alive, took, _):
    return not alive, "the process ended" if not alive else f"the call ended after {took:.1f} s, others continue"


# The response of such a server is no response.
FAILED = ('b2b_ivr_questions_total{result="failed"}',)


@attack("web-interim", "H4", "2,000 × 100 Continue", counters=FAILED)
def web_interim(one, world):
    return judged(*asked_by_a_call(one, world, lambda it, _: it.sendall(b"HTTP/1.1 100 \r\n\r\n" * 2000)))


@attack("web-head", "H4", "an endless header", held=True, counters=FAILED)
def web_head(one, world):
    def work(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for n in range(20_000):
            connection.sendall(b"X-%d: y\r\n" % n * 10)

    return judged(*asked_by_a_call(one, world, work))


@attack("web-body", "H4", "an endless body", held=True, counters=FAILED)
def web_body(one, world):
    def work(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        for _ in range(2_000):
            connection.sendall(b"{" * 16_384)

    return judged(*asked_by_a_call(one, world, work))


@attack("web-redirect", "H4", "redirects in a loop, and to the HTTP interface", held=True, counters=FAILED)
def web_redirect(one, world):
    to = [f"http://{one.source(world)}:8000/again", f"http://{world.http}/calls"]

    def work(connection, _):
        to.reverse()
        connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {to[0]}\r\nContent-Length: 0\r\n\r\n".encode())

    alive, took, asked = asked_by_a_call(one, world, work)
    return not alive or asked > 20, judged(alive, took, asked)[1] + f", {asked} requests"


@attack("web-silence", "H4", "no response", held=True, counters=FAILED)
def web_silence(one, world):
    return judged(*asked_by_a_call(one, world, lambda *_: time.sleep(9)))

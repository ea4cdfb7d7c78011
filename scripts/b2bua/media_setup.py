"""Call setup through the b2bua with each way of carrying media: see scripts/bench-media.sh."""

import argparse
import os
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

BINARY = os.environ.get("B2B_BINARY", f"target/{os.environ.get('B2B_PROFILE', 'dist')}/b2b")
SESSION = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n"


def start(arguments, word):
    """A program, and what its READY line says behind this word."""
    process = subprocess.Popen([BINARY, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in process.stdout:
        if line.startswith("READY"):
            return process, re.search(word + r"=(\S+)", line).group(1)
    raise SystemExit("b2b does not start")


def field(message, name):
    return re.search(rf"(?mi)^{name}: (.*?)\r$", message).group(1)


def respond(message, status, tag, body, at):
    head = [f"SIP/2.0 {status}"]
    head += re.findall(r"(?mi)^Via: .*?(?=\r$)", message)
    to = field(message, "To")
    head += [f"From: {field(message, 'From')}", f"To: {to if ';tag=' in to else to + ';tag=' + tag}"]
    head += [f"Call-ID: {field(message, 'Call-ID')}", f"CSeq: {field(message, 'CSeq')}", f"Contact: <sip:bob@{at}>"]
    if body:
        head.append("Content-Type: application/sdp")
    return "\r\n".join(head + [f"Content-Length: {len(body)}", "", body])


class Callee(threading.Thread):
    """Answers every call at once."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.at = "127.0.0.1:%d" % self.socket.getsockname()[1]

    def run(self):
        while True:
            data, peer = self.socket.recvfrom(65536)
            message = data.decode()
            if message.startswith("INVITE"):
                self.socket.sendto(respond(message, "200 OK", "b", SESSION.format(9000), self.at).encode(), peer)
            elif not message.startswith(("ACK", "SIP")):
                self.socket.sendto(respond(message, "200 OK", "b", "", self.at).encode(), peer)


def call(sock, server, number):
    """Sets a call up and ends it; the ms from INVITE to 200."""
    at = "127.0.0.1:%d" % sock.getsockname()[1]
    body = SESSION.format(9002)

    def request(method, cseq, to, more=""):
        text = body if method == "INVITE" else ""
        return (
            f"{method} sip:200@{server[0]}:{server[1]} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{number}{method}\r\n"
            f"Max-Forwards: 70\r\nFrom: <sip:ann@{at}>;tag=a{number}\r\nTo: {to}\r\nCall-ID: bench-{at}-{number}\r\n"
            f"CSeq: {cseq} {method}\r\nContact: <sip:ann@{at}>\r\n{more}Content-Length: {len(text)}\r\n\r\n{text}"
        ).encode()

    def until(status, method):
        while True:
            message = sock.recv(65536).decode()
            if message.startswith("BYE"):
                continue
            if message.startswith("SIP/2.0 1") or field(message, "Call-ID") != f"bench-{at}-{number}":
                continue
            if method not in field(message, "CSeq"):
                continue
            if not message.startswith(f"SIP/2.0 {status}"):
                raise SystemExit(f"a call fails: {message.splitlines()[0]}")
            return message

    to = f"<sip:200@{server[0]}:{server[1]}>"
    begun = time.perf_counter()
    sock.sendto(request("INVITE", 1, to, "Content-Type: application/sdp\r\n"), server)
    answer = until(200, "INVITE")
    took = time.perf_counter() - begun
    to = field(answer, "To")
    sock.sendto(request("ACK", 1, to), server)
    sock.sendto(request("BYE", 2, to), server)
    until(200, "BYE")
    return took * 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    callee = Callee()
    callee.start()
    running, servers = [], {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name in ["embedded", "http", "grpc"]:
                controller = "embedded"
                if name != "embedded":
                    media, at = start(["--role", "media", "--listen", "127.0.0.1:0"], "listen")
                    running.append(media)
                    controller = f"{name}://{at}"
                path = os.path.join(folder, name + ".toml")
                with open(path, "w") as file:
                    file.write(
                        '[server]\nlisten = ["udp:127.0.0.1:0"]\ntrusted = ["127.0.0.0/8"]\nstore = "memory"\n'
                        f'[http]\nlisten = "off"\n[media]\ncontroller = "{controller}"\n'
                        f'[log]\nlevel = "warn"\n[[route]]\nto = "sip:bob@{callee.at}"\n'
                    )
                process, at = start(["--role", "b2bua", "--config", path], "sip")
                running.append(process)
                host, port = at.rsplit(":", 1)
                servers[name] = (host, int(port))
            time.sleep(1)
            took = {name: [] for name in servers}
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(10)
            number = 0
            for run in range(options.runs + 1):
                for name, server in servers.items():
                    for _ in range(options.calls):
                        number += 1
                        ms = call(sock, server, number)
                        # The first round warms up.
                        if run:
                            took[name].append(ms)
    finally:
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait(timeout=30)
    base = statistics.median(took["embedded"])
    print(f"{options.runs} runs of {options.calls} calls each, one after the other; load average {os.getloadavg()[0]:.1f}")
    print("| media | INVITE to 200, median ms | p99 ms | added, median ms |")
    print("|---|---|---|---|")
    for name, label in [("embedded", "embedded"), ("http", "media server, REST"), ("grpc", "media server, gRPC")]:
        times = sorted(took[name])
        median, p99 = statistics.median(times), times[int(len(times) * 0.99)]
        print(f"| {label} | {median:.2f} | {p99:.2f} | {median - base:+.2f} |")


main()

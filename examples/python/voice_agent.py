#!/usr/bin/env python3
"""Says back what a caller says, half a second later, until they press # or hang up.
usage: voice_agent.py 127.0.0.1:8080 CALL [TOKEN]     (GET /calls lists the calls)
Needs nothing but Python 3. See docs/voice-agents.md."""

import base64, collections, json, os, signal, socket, struct, sys

TEXT, SOUND, CLOSE, PING, PONG = 1, 2, 8, 9, 10

def connect(address, path, token):
    host, port = address.rsplit(":", 1)
    sock = socket.create_connection((host, int(port)))
    key = base64.b64encode(os.urandom(16)).decode()
    allowed = f"Authorization: Bearer {token}\r\n" if token else ""
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{allowed}\r\n".encode())
    stream = sock.makefile("rb")
    if b" 101 " not in (status := stream.readline()):
        sys.exit(f"{address} answers {status.decode().strip()}\n{stream.read().decode()}")
    while stream.readline().strip():
        pass
    return sock, stream

def receive(stream):
    first, size = stream.read(2) or (CLOSE, 0)
    if size == 126:
        size, = struct.unpack(">H", stream.read(2))
    return first & 15, stream.read(size)

def send(sock, kind, data):
    size = bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack(">BH", 0xFE, len(data))
    sock.sendall(bytes([0x80 | kind]) + size + bytes(4) + data)  # masked with zeros

def main(address, call, token=None):
    sock, stream = connect(address, f"/calls/{call}/audio?rate=16000", token)
    waiting, frames = collections.deque(), 0
    while True:
        kind, data = receive(stream)
        if kind == SOUND:
            waiting.append(data)
            if len(waiting) > frames:
                send(sock, SOUND, waiting.popleft())
        elif kind == PING:
            send(sock, PONG, data)
        elif kind == CLOSE:
            return
        elif kind == TEXT:
            print(data.decode(), flush=True)
            message = json.loads(data)
            if message["type"] == "start":
                frames = 500 // message["format"]["frame_ms"]
            elif message == {"type": "dtmf", "digit": "#"}:
                send(sock, TEXT, b'{"type": "stop"}')

if __name__ == "__main__":
    if len(sys.argv) not in (3, 4): sys.exit(__doc__)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main(*sys.argv[1:])

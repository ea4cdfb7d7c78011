"""A voice agent that says back what it hears, in the protocol of b2b (docs/voice-agents.md), on a WebSocket for each call.
usage: echo_agent.py HOST:PORT"""

import asyncio
import base64
import hashlib
import struct
import sys

# RFC 6455 §1.3.
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(kind, payload):
    size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + struct.pack(">H", len(payload))
    return bytes([0x80 | kind]) + size + payload


def unmasked(mask, payload):
    mask = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(len(payload))


async def serve(reader, writer):
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n") if ": " in line)
        key = next(line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        proof = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
        answer = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {proof}\r\n"
        if protocol := fields.get("sec-websocket-protocol"):
            answer += f"Sec-WebSocket-Protocol: {protocol}\r\n"
        writer.write(f"{answer}\r\n".encode())
        while True:
            first, size = await reader.readexactly(2)
            size &= 0x7F
            if size > 125:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
            payload = await reader.readexactly(4 + size)
            payload = unmasked(payload[:4], payload[4:])
            kind = first & 15
            if kind == BINARY:
                writer.write(frame(BINARY, payload))
            elif kind == PING:
                writer.write(frame(PONG, payload))
            elif kind == CLOSE:
                writer.write(frame(CLOSE, payload[:2]))
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        # The server has died.
        pass
    finally:
        writer.close()


async def main(address):
    host, _, port = address.rpartition(":")
    server = await asyncio.start_server(serve, host, int(port), backlog=1024)
    print("UP", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

"""Voice agents that fail in every state, for `bench-agent.sh attacked`: each connection takes the next pair of a state
that it reaches and of what it does there. Each protocol has a port, from the given one, in the order of KINDS. Prints each pair that it has done.
usage: bad_agents.py HOST:PORT"""

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import os
import socket
import struct
import sys

# RFC 6455 §1.3.
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
# Longer than `stall_s` of the server, which ends what breaks a WebSocket.
PATIENCE_S = 30
# A flood ends by itself, if nobody ends it.
FLOOD_S = 3
SECOND = 8_000
# The stream of a connection of one call.
ONLY = 1


class Program:
    """A connection, in one protocol."""

    states = ("accepted", "half upgraded", "upgraded", "started", "speaking", "marked", "cleared")
    patience_s = PATIENCE_S

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def reach(self, state):
        if state == "accepted":
            return
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n") if ": " in line)
        key = next(line.split(": ", 1)[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        proof = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
        protocol = fields.get("sec-websocket-protocol")
        answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        answer += f"Sec-WebSocket-Protocol: {protocol}\r\n" if protocol else ""
        answer += f"Sec-WebSocket-Accept: {proof}\r\n\r\n"
        if state == "half upgraded":
            return self.raw(answer[: len(answer) // 2].encode())
        self.raw(answer.encode())
        if state == "upgraded":
            return
        await self.reader.read(65_536)
        for name, does in (("started", None), ("speaking", self.speak), ("marked", self.mark), ("cleared", self.clear),
                           ("secret", self.secret), ("consulting", self.consult)):
            if does:
                does()
            if name == state:
                break
        await asyncio.sleep(0.3)

    def raw(self, octets):
        self.writer.write(octets)

    def frame(self, payload, kind=BINARY, first=0x80):
        length = len(payload)
        size = bytes([length]) if length < 126 else b"\x7e" + struct.pack(">H", length) if length < 65_536 \
            else b"\x7f" + struct.pack(">Q", length)
        self.raw(bytes([first | kind]) + size + payload)

    def text(self, words):
        self.frame(words.encode(), TEXT)

    def garbage(self):
        """Octets that break the protocol, each by itself."""
        return {
            "an opcode that there is not": b"\x83\x00", "a reserved bit": b"\xc1\x02{}", "masked": b"\x82\x82abcdxy",
            "no UTF-8": b"\x81\x02\xff\xfe", "a length without end": b"\x82\x7f" + b"\x7f" * 8,
            "noise": os.urandom(4_096), "HTTP": b"HTTP/1.1 200 OK\r\n\r\n",
        }


class Own(Program):
    states = (*Program.states, "secret", "consulting")
    named = {}

    def say(self, **message):
        self.text(json.dumps(message | self.named))

    def audio(self, octets):
        self.frame(octets)

    def speak(self):
        self.audio(bytes(4 * SECOND))

    def mark(self, name="m"):
        self.say(type="mark", name=name)

    def clear(self):
        self.say(type="clear")

    def secret(self):
        self.say(type="secret", on=True)

    def consult(self):
        self.say(type="consult", to="910")

    def junk(self):
        self.text('{"type": "\\ud800", "type": {' + "[" * 3_000)


class Many(Own):
    """Several calls on a connection: the failure of the connection is that of all."""

    named = {"stream": ONLY}

    def audio(self, octets):
        self.frame(struct.pack("<I", ONLY) + octets)


class Twilio(Own):
    states = Program.states

    def say(self, **message):
        self.text(json.dumps({"streamSid": "MZ", **message}))

    def audio(self, octets):
        self.say(event="media", media={"payload": base64.b64encode(octets).decode()})

    def mark(self, name="m"):
        self.say(event="mark", mark={"name": name})

    def clear(self):
        self.say(event="clear")

    def junk(self):
        self.text('{"event": "media", "media": {"payload": "' + "=" * 3_000)


class Asterisk(Own):
    states = Program.states

    def mark(self, name="m"):
        self.text(f"MARK_MEDIA {name}")

    def clear(self):
        self.text("FLUSH_MEDIA")

    def junk(self):
        self.text("MARK_MEDIA " + "x" * 3_000)


class AudioSocket(Own):
    """Frames of TCP: no pings, and an unknown frame is only a mistake, so it breaks the connection itself at last."""

    states = ("accepted", "started", "speaking")
    patience_s = 3

    async def reach(self, state):
        if state == "accepted":
            return
        await self.reader.readexactly(19)
        if state == "speaking":
            self.speak()
        await asyncio.sleep(0.3)

    def audio(self, octets):
        for part in (octets[at:at + 60_000] for at in range(0, len(octets), 60_000)):
            self.raw(b"\x10" + struct.pack(">H", len(part)) + part)

    def mark(self, name="m"):
        self.raw(b"\x03\x00\x011")

    def junk(self):
        self.raw(b"\x77\x0f\xff" + bytes(4_095))

    def frame(self, payload, kind=BINARY, first=0x80):
        self.raw(b"\x77\x00\x00")

    def garbage(self):
        return {"noise": b"\x00\xff" + os.urandom(4_096), "a kind with an endless body": b"\x10\xff\xff"}


async def floods(program, message):
    """Sends a message again and again, as fast as it is read."""
    loop = asyncio.get_running_loop()
    end = loop.time() + FLOOD_S
    while loop.time() < end and not program.writer.is_closing():
        for _ in range(100):
            message()
        await asyncio.wait_for(program.writer.drain(), program.patience_s)
        await asyncio.sleep(0)


def kill(program):
    """An RST, if the connection is still there."""
    if not program.writer.is_closing():
        program.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    program.writer.transport.abort()


async def fails(program, deed):
    reads = lambda: asyncio.wait_for(program.reader.read(-1), program.patience_s)
    match deed:
        case "kill":
            kill(program)
        case "end in a frame":
            program.raw(b"\x82\x7e\xff\xff" + bytes(1_000))
            program.writer.write_eof()
            await asyncio.sleep(1)
        case "stall":
            program.writer.transport.pause_reading()
            await asyncio.sleep(program.patience_s)
        case "close with 1011":
            program.frame(struct.pack(">H", 1011) + b"out of tokens", CLOSE)
            await reads()
        case "flood of audio":
            await floods(program, lambda: program.audio(bytes(32_000)))
        case "flood of marks":
            await floods(program, program.mark)
        case "flood of junk":
            await floods(program, program.junk)
        case "flood of pings":
            await floods(program, lambda: program.frame(b"p" * 100, PING))
        case _:
            program.raw(program.garbage()[deed])
            await reads()


DEEDS = ("kill", "end in a frame", "stall", "close with 1011", "flood of audio", "flood of marks", "flood of junk",
         "flood of pings")
KINDS = {"own": Own, "many": Many, "twilio": Twilio, "chan_websocket": Asterisk, "audiosocket": AudioSocket}


def endless(kind):
    """Each state with each deed, again and again."""
    deeds = [*DEEDS, *KINDS[kind].garbage(None)]
    return itertools.cycle(itertools.product(KINDS[kind].states, deeds))


async def serve(at):
    async def took(kind, plan, reader, writer):
        program, (state, deed) = KINDS[kind](reader, writer), next(plan)
        with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.IncompleteReadError, StopIteration):
            await program.reach(state)
            print(f"{kind}: {state}: {deed}", flush=True)
            await fails(program, deed)
        kill(program)

    host, port = at.rsplit(":", 1)
    for n, kind in enumerate(KINDS):
        plan = endless(kind)
        await asyncio.start_server(lambda *ends, kind=kind, plan=plan: took(kind, plan, *ends), host, int(port) + n)
    print("UP", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    os.nice(10)
    asyncio.run(serve(sys.argv[1]))

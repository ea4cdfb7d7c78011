"""A voice agent that a stranger on the telephone has talked into something."""

import base64
import hashlib
import json

import sip
import world as worlds
from attack import attack
from webserver import Web

# RFC 6455 §1.3.
MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Agent(Web):
    """Ends each call with this transfer."""

    def __init__(self, one, world):
        self.target = ""
        super().__init__(one, world, self._stop, port=8001)

    def _stop(self, connection, head):
        key = next(line.split(":", 1)[1].strip() for line in head.splitlines() if line.lower().startswith("sec-websocket-key"))
        proof = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
        connection.sendall(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           f"Sec-WebSocket-Accept: {proof}\r\n\r\n".encode())
        # `start`, before anything else.
        connection.recv(65536)
        text = json.dumps({"type": "stop", "transfer": self.target}).encode()
        length = bytes([len(text)]) if len(text) < 126 else b"\x7e" + len(text).to_bytes(2, "big")
        connection.sendall(b"\x81" + length + text)
        while connection.recv(65536):
            pass


@attack("agent", "2nd H3", "a voice agent transfers a restricted caller to hosts, gateways and numbers",
        counters=('b2b_abuse_total{kind="not_followed"}',))
def agent(one, world):
    word = f"{worlds.DEAR}{sip.fresh('')[:8]}"
    targets = [
        f"sip:{word}@{world.at(91)}:5060", f"gateway/carrier/{word}", f"sip:{word}@{world.at(80)}", word, f"tel:{word}",
        f"sip:{word.replace('+', '%2B')}@{world.at(80)};user=phone", f"sip:{word}@{world.at(1)};maddr={world.at(80)}",
    ]
    taken, talked = [], 0
    with Agent(one, world) as liar, one.attacker(world, 0) as caller:
        caller.register()
        for liar.target in targets:
            call = caller.call(f"84{one.place:02d}")
            call.ended.wait(3)
            call.bye(wait=False)
            if any(world.carrier_saw(word[1:], who) for who in ("carrier", "elsewhere")):
                taken.append(liar.target)
                break
        talked = liar.asked
    if not talked:
        raise RuntimeError("the agent got no call")
    return taken, f"calls by {taken}" if taken else f"{talked} transfers, nothing dialled"

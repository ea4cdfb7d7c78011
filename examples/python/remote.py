#!/usr/bin/env python3
"""Takes the calls that come to `remote/NAME`: answers, plays a tone, and asks for a digit. Who presses 1
goes to TARGET, like user/1002 or queue/sales; everybody else goes to the fallback.
usage: remote.py 127.0.0.1:8080 NAME TARGET [TOKEN]
Needs nothing but Python 3. See docs/control.md."""

import json, signal, sys, threading
from voice_agent import CLOSE, PING, PONG, TEXT, connect, receive, send

def main(address, name, target, token=None):
    sock, stream = connect(address, f"/remote/{name}", token)
    one_at_a_time, quiet = threading.Lock(), threading.Event()

    def say(kind, data):
        with one_at_a_time:
            send(sock, kind, data)

    def tell(**words):
        say(TEXT, json.dumps(words).encode())

    def signs_of_life():
        while not quiet.wait(5):
            tell(ping=1)

    threading.Thread(target=signs_of_life, daemon=True).start()
    while True:
        kind, data = receive(stream)
        if kind == PING:
            say(PONG, data)
        elif kind == CLOSE:
            return quiet.set()
        elif kind == TEXT:
            message = json.loads(data)
            if message["type"] != "pong":
                print(data.decode(), flush=True)
            # The id of a command says what it was for, and which leg has it.
            what, _, leg = str(message.get("id")).partition("-")
            if message["type"] == "offer":
                tell(command="answer", leg=message["leg"], id=f"answer-{message['leg']}")
            elif message["type"] == "command_completed" and what == "answer":
                tell(command="play_and_collect", leg=int(leg), id=f"ask-{leg}", barge_in=True,
                     sound={"tone": 440, "ms": 500}, max=1, first_s=10)
            elif message["type"] == "command_completed" and message["result"]["digits"] == "1":
                tell(decision="transfer_to", leg=int(leg), to=target)
            elif message["type"] in ("command_completed", "command_failed"):
                tell(decision="fallback", leg=int(leg))

if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main(*sys.argv[1:])

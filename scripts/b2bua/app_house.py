"""A server with applications, and the load of examples/app_load around it."""

import json
import math
import os
import struct
import wave
from pathlib import Path

from machine import BUILT, LAST_CORE, wait_for

LOAD = Path(os.environ.get("B2B_APP_LOAD", BUILT / "examples/app_load"))


def prompt(path, hz, seconds):
    """A tone as a prompt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        samples = (int(6000 * math.sin(n * hz * math.tau / 8000)) for n in range(int(8000 * seconds)))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


def load(house, name, server, *words, **more):
    """The load at work."""
    return house.start(name, [LOAD, words[0], server.address, *words[1:]], LAST_CORE, **more)


def up(process, patience=120, word="UP"):
    """Waits until it says so."""
    wait_for(lambda: word in process.log.read_text() or not process.is_alive(), f"{word} of the load", patience)
    if not process.is_alive():
        raise SystemExit(f"the load has ended:\n{process.log.read_text()[-3000:]}")


def counted(process):
    """What it printed last, as JSON."""
    lines = process.log.read_text().splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        raise SystemExit(f"the load says nothing that can be read:\n{chr(10).join(lines[-30:])}") from None

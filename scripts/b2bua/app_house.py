"""Prompts, and loads by the plans beside the scripts."""

import math
import random
import struct
import wave
from string import Template

from machine import BINARY, LAST_CORE


def prompt(path, hz, seconds):
    """A tone as a prompt."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        samples = (int(6000 * math.sin(n * hz * math.tau / 8000)) for n in range(int(8000 * seconds)))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


def load(house, name, plan, *flags, **filled):
    """A load by this plan, with what it has for `$name` filled in; its report is in the folder of that name."""
    (house.path / f"{name}.toml").write_text(Template(plan.read_text()).substitute(filled, seed=random.getrandbits(32)))
    return house.start(name, [BINARY, "--role", "load", "--plan", f"{name}.toml", "--report", name, *flags], LAST_CORE)

"""What the bots of this folder have in place of services: sounds, an ear, and counts.
usage: services.py LOG CALLS     checks what the bots have counted, after as many calls"""

import audioop, json, math, struct, sys

GREETING, ANSWER, KEY, KEY_HZ = 1.0, 12.0, 1.0, 1200  # seconds, and the sound that answers the key 5
LOUD, START, STOP = 150, 0.1, 0.6  # RMS of 16-bit samples; s of sound that begin a turn, and of silence that end it


def sound(seconds, rate, hz=None):
    """16-bit samples: syllables, or a tone; a quarter of a second, again and again."""
    def sample(at):
        t = at / rate
        if hz:
            return 8000 * math.sin(2 * math.pi * hz * t)
        voice = sum(math.sin(2 * math.pi * 168 * n * t) / n for n in range(1, 6))
        return 5000 * voice * (0.65 + 0.35 * math.sin(2 * math.pi * 4 * t))
    return b"".join(struct.pack("<h", int(sample(at))) for at in range(rate // 4)) * int(seconds * 4)


def to_ulaw(pcm):
    return audioop.lin2ulaw(pcm, 2)


def of_ulaw(octets):
    return audioop.ulaw2lin(octets, 2)


class Ear:
    """Tells when a caller begins to speak, and when they have stopped."""

    def __init__(self, rate):
        self.rate, self.speaking, self.so_far = rate, False, 0.0

    def hears(self, pcm):
        loud = audioop.rms(pcm, 2) > LOUD
        self.so_far = self.so_far + len(pcm) / 2 / self.rate if loud != self.speaking else 0.0
        if self.so_far < (STOP if self.speaking else START):
            return None
        self.speaking, self.so_far = not self.speaking, 0.0
        return "started" if self.speaking else "stopped"


class Counts:
    """Of one call; `done` prints them, once."""

    def __init__(self):
        self.heard = self.said = self.interrupted = 0.0
        self.digits, self.printed = "", False

    def done(self):
        if not self.printed:
            self.printed = True
            print("COUNTS", json.dumps({k: v for k, v in vars(self).items() if k != "printed"}), flush=True)


def check(log, calls):
    lines = open(log, errors="replace").read().splitlines()
    counts = [json.loads(line.split(" ", 1)[1]) for line in lines if line.startswith("COUNTS ")]
    total = {key: sum(call[key] for call in counts) for key in ("heard", "said", "interrupted")}
    digits = [call["digits"] for call in counts if call["digits"]]
    print(f"{len(counts)} calls, heard {total['heard']:.0f} s, said {total['said']:.0f} s, "
          f"interrupted {total['interrupted']:.0f} times, keys {' '.join(digits) or 'none'}")
    wrong = [line for line in lines if line.startswith("WRONG")]
    for line in wrong[:3]:
        print(line)
    missed = len(counts) != calls or total["interrupted"] < 2 or digits != ["5#", "5#"] or total["heard"] < calls
    return 1 if wrong or missed else 0


if __name__ == "__main__":
    sys.exit(check(sys.argv[1], int(sys.argv[2])))

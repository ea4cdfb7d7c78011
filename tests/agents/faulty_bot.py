#!/usr/bin/env python3
"""A deterministic voice agent that speaks in tones, and has one fault, or none (docs/voice-agents.md).
usage: faulty_bot.py [--port PORT] [--fault NAME]     faulty_bot.py --list
Needs the Python package websockets. scripts/sandbox-faults.py runs it with the callers of sandbox.toml."""

import argparse, array, asyncio, json, math, sys
from collections import Counter
from functools import lru_cache
import websockets

FAULTS = {
    "no-greeting": "does not greet its caller",
    "mute": "never answers",
    "late": "answers after six seconds",
    "second-turn": "is silent in the second turn",
    "clips-start": "loses the first 200 ms of what it says",
    "half-way": "stops in the middle of an answer",
    "twice": "gives an answer twice",
    "one-of-two": "answers only the first of two questions in one turn",
    "short-word": "does not hear a word of a quarter of a second",
    "pause": "takes a pause between two words for the end of the turn",
    "over-caller": "answers while its caller still speaks",
    "nags": "speaks unasked when its caller is silent for two seconds",
    "noise": "takes noise for speech, and answers it",
    "own-echo": "takes its own voice for its caller's, and answers it",
    "deaf": "does not stop when it is interrupted",
    "slow-stop": "stops two seconds after it is interrupted",
    "after-clear": "sends clear, and then the rest of its sentence",
    "restarts": "begins its sentence again after an interruption",
    "lost-turn": "stops when it is interrupted, and forgets what it was asked",
    "choppy": "every fifth frame is silent",
    "fast": "plays at twice the rate",
    "slow": "plays at half the rate",
    "soft": "is 40 dB too soft",
    "distorted": "is so loud that it clips",
    "click": "ends what it says with a loud click",
    "byte-order": "sends big-endian samples",
    "no-digits": "ignores digits",
    "digits-twice": "takes each digit twice",
    "wrong-target": "transfers to another number",
    "no-transfer": "promises a transfer, and does nothing",
    "keeps-line": "does not hang up after its goodbye",
    "cuts-goodbye": "hangs up before its goodbye is heard",
    "crashes": "closes the connection with 1011 when it is asked something",
    "stops-reading": "stops reading once it was asked something",
    "garbage": "sends its audio as text that is not JSON",
    "last-call": "gives an answer of the call before",
    "mixes": "sends what it says to all its calls",
    "after-hang-up": "says nothing in the calls after one that was hung up while it spoke",
    "hold": "is stuck once its caller was on hold",
    "greets-mailbox": "speaks at once when it calls somebody, into the greeting of a mailbox",
    "no-message": "waits for a person, and leaves a mailbox no message",
}

ASK, ASK_LONG, BYE, HUMAN, BEEP = WORDS = 900, 1300, 1500, 1700, 1100  # what a caller says, Hz
SAYS = {  # what it says: tones, and ms
    "greeting": ((1000, 200), (700, 800)),
    ASK: ((1000, 200), (600, 1200), (800, 200)),
    ASK_LONG: ((1000, 200), (500, 3800), (800, 200)),
    BYE: ((1000, 200), (440, 800)),
    HUMAN: ((1000, 200), (560, 600)),
    "message": ((1000, 200), (640, 1200)),
    "are you there": ((1000, 200), (700, 400)),
}
VOICE = sorted({hz for says in SAYS.values() for hz, _ in says})
FRAME_MS, END_OF_TURN, WORD = 20, 35, 3  # frames of silence that end a turn, and of a tone that are a word
fault, calls = "", set()
memory = {"answer": None, "dead": False}  # what must not outlive a call, and does with a fault


@lru_cache(maxsize=None)
def tones(says, rate, with_fault):
    """The samples of tones."""
    samples = array.array("h")
    level = {"soft": 80, "distorted": 60_000}.get(with_fault, 8_000)
    for hz, ms in says:
        hz *= {"fast": 2, "slow": 0.5}.get(with_fault, 1)
        count = int(rate * ms / 1000 * {"fast": 0.5, "slow": 2}.get(with_fault, 1))
        wave = (level * math.sin(2 * math.pi * hz * n / rate) for n in range(count))
        samples.extend(int(max(-32_767, min(32_767, it))) for it in wave)
    frame = rate * FRAME_MS // 1000
    if with_fault == "clips-start":
        samples = samples[10 * frame:]
    elif with_fault == "half-way":
        samples = samples[:len(samples) // 2]
    elif with_fault == "choppy":
        for at in range(0, len(samples) - frame, 5 * frame):
            samples[at:at + frame] = array.array("h", bytes(2 * frame))
    elif with_fault == "click":
        samples.extend([0] * (40 * frame) + [32_000] * (frame // 3) + [0] * frame)
    if with_fault == "byte-order":
        samples.byteswap()
    return samples.tobytes()


def word_of(samples, rate):
    """The word in a frame: the tone that has most of its energy; "voice": one of its own; "noise": other sound."""
    samples = samples[::rate // 8_000]
    energy = sum(it * it for it in samples)
    if energy < len(samples) * 200**2:
        return None
    for hz in WORDS + (tuple(VOICE) if fault == "own-echo" else ()):
        turn = 2 * math.cos(2 * math.pi * hz / 8_000)
        one = two = 0.0
        for sample in samples:
            one, two = sample + turn * one - two, one
        power = one * one + two * two - turn * one * two
        if 2 * power / len(samples) > 0.6 * energy:
            return hz if hz in WORDS else "voice"
    return "noise"


class Call:
    def __init__(self, socket, start):
        self.socket, self.rate = socket, start["format"]["rate_hz"]
        self.outgoing = start["caller"].startswith("callee-") or start["called"].startswith("callee-")
        self.seen, self.turn, self.quiet, self.answered = Counter(), [], 0, 0
        self.talks, self.marks, self.digits, self.silence = None, 0, "", 0
        self.then, self.stuck = None, False

    async def send(self, **message):
        await self.socket.send(json.dumps(message))

    async def say(self, what, then=None):
        """Says something; `then` is sent once it was heard."""
        says = tuple(it for one in what for it in SAYS[one])
        audio = tones(says, self.rate, fault)
        self.talks, self.then, self.marks = what, then, self.marks + 1
        if fault == "garbage":
            return await self.socket.send("audio " + audio.hex()[:2_000])
        for call in calls if fault == "mixes" else [self]:
            await call.socket.send(audio)
        await self.send(type="mark", name=str(self.marks))

    async def stop_talking(self):
        rest, self.talks = self.talks, None
        if fault == "slow-stop":
            await asyncio.sleep(2)
        await self.send(type="clear")
        if fault == "after-clear":
            await self.socket.send(tones(SAYS[rest[-1]], self.rate, ""))
        return rest

    async def begin(self):
        if fault == "greets-mailbox" and self.outgoing:
            await self.say(["message"])
        elif not self.outgoing and fault != "no-greeting":
            await self.say(["greeting"])

    async def answer(self, turn):
        """Answers what was said in a turn."""
        self.answered += 1
        if fault == "mute" or fault == "second-turn" and self.answered == 2:
            return
        if fault == "crashes":
            return await self.socket.close(1011, "internal error")
        if fault == "stops-reading":
            self.socket.transport.pause_reading()
            return await asyncio.sleep(20)
        if fault == "late":
            await asyncio.sleep(6)
        if self.outgoing:
            # a person has said something short, a mailbox its greeting and a beep
            if fault != "no-message" or BEEP not in turn:
                await self.say(["message"], {"type": "stop"})
            return
        if fault == "one-of-two":
            turn = turn[:1]
        if fault == "last-call":
            memory["answer"], turn = turn, memory["answer"] or turn
        if turn[-1] == BYE:
            if fault == "cuts-goodbye":
                await self.say(turn)
                await asyncio.sleep(0.4)
                await self.send(type="stop")
                return await self.send(type="clear")
            return await self.say(turn, None if fault == "keeps-line" else {"type": "stop"})
        if turn[-1] == HUMAN:
            to = "2001" if fault == "wrong-target" else "2000"
            return await self.say(turn, None if fault == "no-transfer" else {"type": "stop", "transfer": to})
        await self.say(turn)
        if fault == "twice":
            await self.say(turn)

    async def digit(self, digit):
        if fault == "no-digits":
            return
        if digit != "#":
            self.digits += digit * (2 if fault == "digits-twice" else 1)
            return
        # how many there were, as a tone
        SAYS["digits", len(self.digits)] = ((1000, 200), (400 + 50 * len(self.digits), 800))
        await self.say([("digits", len(self.digits))])
        self.digits = ""

    async def frame(self, data):
        """Takes 20 ms of what the caller says."""
        if self.stuck or memory["dead"]:
            return
        word = word_of(array.array("h", data), self.rate)
        if word == "voice" or word == fault:
            word = ASK
        if word in WORDS:
            await self.hears(word)
        else:
            await self.hears_nothing()

    async def hears(self, word):
        self.quiet = self.silence = 0
        self.seen[word] += 1
        if self.seen[word] == (20 if fault == "short-word" else WORD) and self.turn[-1:] != [word]:
            self.turn.append(word)
        if self.talks and self.turn and fault not in ("deaf", "over-caller"):
            rest = await self.stop_talking()
            if fault == "restarts":
                self.turn = [rest[-1]] if rest[-1] in WORDS else self.turn
            elif fault == "lost-turn" and rest[-1] in WORDS:
                self.turn = []
        if fault == "over-caller" and self.seen[word] == 40 and not self.talks:
            await self.answer(self.turn)

    async def hears_nothing(self):
        self.quiet += 1
        self.silence += 1
        if self.quiet == (10 if fault == "pause" else END_OF_TURN):
            turn, self.turn = self.turn, []
            self.seen.clear()
            if turn and not (self.talks and fault in ("deaf", "over-caller")):
                await self.answer(turn)
        if fault == "hold" and not self.talks and self.silence == 100:
            self.stuck = True
        if fault == "nags" and not self.talks and not self.outgoing and self.silence == 100:
            await self.say(["are you there"])

    async def told(self, message):
        if message["type"] == "dtmf":
            await self.digit(message["digit"])
        elif message["type"] == "mark" and message["name"] == str(self.marks):
            # not played, and not cleared: its caller has hung up
            memory["dead"] |= fault == "after-hang-up" and bool(self.talks) and not message["played"]
            self.talks, self.silence, then, self.then = None, 0, self.then if message["played"] else None, None
            if then:
                await self.send(**then)


async def talk(socket):
    call = None
    try:
        async for message in socket:
            if isinstance(message, bytes):
                await call.frame(message)
            elif (message := json.loads(message))["type"] == "start":
                call = Call(socket, message)
                calls.add(call)
                print(message, flush=True)
                if not memory["dead"]:
                    await call.begin()
            elif message["type"] == "error":
                print(message, flush=True)
            elif message["type"] == "stop":
                break
            else:
                await call.told(message)
    except websockets.ConnectionClosed:
        pass
    finally:
        calls.discard(call)


async def main():
    global fault
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=9000)
    arguments.add_argument("--fault", default="", choices=["", *FAULTS], metavar="NAME")
    arguments.add_argument("--list", action="store_true", help="names the faults")
    arguments = arguments.parse_args()
    if arguments.list:
        return print("\n".join(f"{name:<16} {what}" for name, what in FAULTS.items()))
    fault = arguments.fault
    async with websockets.serve(talk, "127.0.0.1", arguments.port, compression=None, max_queue=1024):
        await asyncio.Future()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit()

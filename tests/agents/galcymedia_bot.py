"""A bot with galcymedia, for chan_websocket.  usage: galcymedia_bot.py PORT"""

import asyncio, sys
from galcymedia import serve

from services import ANSWER, GREETING, KEY, KEY_HZ, Counts, Ear, of_ulaw, sound, to_ulaw


class Bot:
    """A voice provider of the library."""

    def __init__(self, session):
        self.session, self.counts, self.ear, self.busy_until = session, Counts(), Ear(8000), 0.0

    async def say(self, seconds, hz=None):
        self.counts.said += seconds
        self.busy_until = self.counts.heard + seconds
        await self.session.send_audio(to_ulaw(sound(seconds, 8000, hz)))
        mark = await self.session.mark()
        asyncio.create_task(self.spoken(mark, seconds, self.counts.heard, self.counts.interrupted))

    async def spoken(self, mark, seconds, since, interrupted):
        """The mark has come back: not before the sound can have been played, or it was flushed."""
        await mark.wait()
        await asyncio.sleep(0.2)  # at the end of the call the library releases all that wait
        if not self.counts.printed and self.counts.interrupted == interrupted and self.counts.heard - since < seconds - 0.2:
            print(f"WRONG: {seconds} s were played in {self.counts.heard - since} s", flush=True)

    async def start(self):
        await self.session.answer()
        await self.say(GREETING)

    async def send_audio(self, chunk):
        self.counts.heard += len(chunk) / 8000
        turn = self.ear.hears(of_ulaw(chunk))
        if turn == "started" and self.counts.heard < self.busy_until:
            self.counts.interrupted += 1
            await self.session.flush()
        elif turn == "stopped":
            await self.say(ANSWER)

    async def on_dtmf(self, digit):
        self.counts.digits += digit
        await (self.session.finish() if digit == "#" else self.say(KEY, KEY_HZ))

    async def close(self):
        self.counts.done()


def told(name, payload):
    if name == "ERROR":
        print("WRONG:", payload, flush=True)


asyncio.run(serve(Bot, port=int(sys.argv[1]), forward_dtmf=True, on_event=told))

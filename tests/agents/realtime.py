"""Stands in for OpenAI's Realtime API: hears µ-law, answers with sounds, and counts.  usage: realtime.py PORT"""

import asyncio, base64, itertools, json, sys, time
import websockets

from services import ANSWER, GREETING, KEY, KEY_HZ, Counts, Ear, of_ulaw, sound, to_ulaw

CHUNK = 800  # octets of a delta: 100 ms
LATE_MS = 1500  # how much less the caller may have heard than was sent


class Session:
    def __init__(self, socket):
        self.socket, self.counts, self.ear, self.ids = socket, Counts(), Ear(8000), itertools.count(1)
        self.begun = self.interrupted_at = 0.0

    async def send(self, kind, **fields):
        await self.socket.send(json.dumps({"type": kind, "event_id": f"event_{next(self.ids)}", **fields}))

    async def answer(self, seconds, hz=None):
        number = next(self.ids)
        response = {"id": f"resp_{number}", "object": "realtime.response", "status": "in_progress", "output": []}
        item = {"id": f"item_{number}", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        place = {"response_id": response["id"], "output_index": 0}
        await self.send("response.created", response=response)
        await self.send("response.output_item.added", item=item, **place)
        place |= {"item_id": item["id"], "content_index": 0}
        octets = to_ulaw(sound(seconds, 8000, hz))
        self.begun = time.monotonic()
        for at in range(0, len(octets), CHUNK):
            await self.send("response.output_audio.delta", delta=base64.b64encode(octets[at:at + CHUNK]).decode(), **place)
        await self.send("response.output_audio.done", **place)
        await self.send("response.done", response=response | {"status": "completed"})
        self.counts.said += seconds

    async def event(self, event):
        kind = event["type"]
        if kind == "session.update":
            await self.send("session.updated", session=event["session"])
            if not self.counts.said:
                await self.answer(GREETING)
        elif kind == "input_audio_buffer.append":
            octets = base64.b64decode(event["audio"])
            self.counts.heard += len(octets) / 8000
            turn, ms = self.ear.hears(of_ulaw(octets)), int(self.counts.heard * 1000)
            if turn == "started":
                self.interrupted_at = time.monotonic()
                await self.send("input_audio_buffer.speech_started", audio_start_ms=ms, item_id="caller")
            elif turn == "stopped":
                await self.send("input_audio_buffer.speech_stopped", audio_end_ms=ms, item_id="caller")
                await self.answer(ANSWER)
        elif kind == "conversation.item.create":  # the text that stands for a key
            self.counts.digits += event["item"]["content"][0]["text"]
            await self.send("conversation.item.added", item=event["item"] | {"id": f"item_{next(self.ids)}"})
        elif kind == "response.create":
            await self.answer(KEY, KEY_HZ)
        elif kind == "conversation.item.truncate":
            self.counts.interrupted += 1
            # b2b may hear the caller before this ear does
            at = self.interrupted_at if self.interrupted_at > self.begun else time.monotonic()
            heard, sent = event["audio_end_ms"], (at - self.begun) * 1000
            print(f"truncated after {heard} ms, {sent:.0f} ms after the first of it was sent", flush=True)
            if not sent - LATE_MS <= heard <= sent + 100:
                print("WRONG: the caller has not heard this much of it", flush=True)
            await self.send("conversation.item.truncated", **{k: event[k] for k in ("item_id", "content_index", "audio_end_ms")})


async def serve(socket):
    session = Session(socket)
    await session.send("session.created", session={"type": "realtime", "object": "realtime.session", "id": "sess_1"})
    try:
        async for text in socket:
            await session.event(json.loads(text))
    except websockets.ConnectionClosed:
        pass
    session.counts.done()


async def main(port):
    async with websockets.serve(serve, "127.0.0.1", port):
        await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

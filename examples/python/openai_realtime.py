#!/usr/bin/env python3
"""A caller talks to OpenAI's Realtime API, which learns what they have heard when they interrupt.
usage: OPENAI_API_KEY=… openai_realtime.py [PORT]     (9000)
Needs `websockets` (pip install websockets). In b2b.toml: [[voice_agent]] with url = "ws://127.0.0.1:9000/" and
encoding = "PCMU". The key # ends the call. REALTIME_URL names another server. See docs/voice-agents.md."""

import asyncio, base64, json, os, sys
import websockets

URL = os.environ.get("REALTIME_URL", "wss://api.openai.com/v1/realtime?model=gpt-realtime")
SESSION = {
    "type": "realtime",
    "instructions": os.environ.get("INSTRUCTIONS", "You answer the telephone. Be brief."),
    "audio": {
        "input": {"format": {"type": "audio/pcmu"}, "turn_detection": {"type": "server_vad"}},
        "output": {"format": {"type": "audio/pcmu"}},
    },
}


class Talk:
    def __init__(self, caller, model):
        self.caller, self.model = caller, model
        self.items = []  # of this utterance: [its id, ms of audio that came]

    async def hear_caller(self):
        async for message in self.caller:
            if isinstance(message, bytes):
                await self.send("input_audio_buffer.append", audio=base64.b64encode(message).decode())
                continue
            event = json.loads(message)
            if event["type"] == "dtmf":
                key = [{"type": "input_text", "text": event["digit"]}]
                await self.send("conversation.item.create", item={"type": "message", "role": "user", "content": key})
                if event["digit"] == "#":
                    return  # closes the WebSocket: b2b hangs up
                await self.send("response.create")
            elif event["type"] == "utterance" and event["state"] == "interrupted":
                await self.caller.send(json.dumps({"type": "clear"}))
                await self.truncate(event["heard_ms"][0])
            elif event["type"] == "utterance" and event["state"] == "sent":
                self.items = []

    async def truncate(self, heard):
        """Each item is cut where the caller has heard it to, and no later than its audio goes."""
        items, self.items = self.items, []
        for item, ms in items:
            if heard < ms:
                end = max(0, int(heard))
                await self.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=end)
            heard -= ms

    async def send(self, kind, **fields):
        await self.model.send(json.dumps({"type": kind, **fields}))

    async def hear_model(self):
        async for message in self.model:
            event = json.loads(message)
            if event["type"] == "response.output_audio.delta":
                audio = base64.b64decode(event["delta"])
                if not self.items or self.items[-1][0] != event["item_id"]:
                    self.items.append([event["item_id"], 0])
                self.items[-1][1] += len(audio) / 8
                await self.caller.send(audio)
            elif event["type"] == "error":
                print("error:", event["error"].get("message"), flush=True)


async def talk(caller):
    headers = {"Authorization": "Bearer " + os.environ.get("OPENAI_API_KEY", "")}
    async with websockets.connect(URL, additional_headers=headers, max_size=None) as model:
        await model.send(json.dumps({"type": "session.update", "session": SESSION}))
        both = Talk(caller, model)
        ends = [asyncio.create_task(work) for work in (both.hear_caller(), both.hear_model())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()


async def main(port):
    async with websockets.serve(talk, "127.0.0.1", port):
        print(f"READY ws://127.0.0.1:{port}/", flush=True)
        await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 9000))

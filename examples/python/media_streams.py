#!/usr/bin/env python3
"""A program for Twilio's Media Streams: says back what a caller says, a second later, until they press #.
usage: media_streams.py [PORT]     (8765)
Needs `websockets` (pip install websockets). b2b calls it with protocol = "twilio" and url = "ws://127.0.0.1:8765/".
See docs/voice-agents.md."""

import asyncio, collections, json, sys
import websockets

DELAY = 50  # messages of 20 ms

async def talk(socket):
    stream, waiting = None, collections.deque()
    async for text in socket:
        message = json.loads(text)
        if message["event"] == "start":
            stream = message["streamSid"]
            print("a call", message["start"]["callSid"], flush=True)
        elif message["event"] == "media":
            waiting.append(message["media"]["payload"])
            if len(waiting) > DELAY:
                said = {"event": "media", "streamSid": stream, "media": {"payload": waiting.popleft()}}
                await socket.send(json.dumps(said))
        elif message["event"] == "dtmf" and message["dtmf"]["digit"] == "#":
            return  # closes the WebSocket: b2b hangs up

async def main(port):
    async with websockets.serve(talk, "127.0.0.1", port):
        print(f"READY ws://127.0.0.1:{port}/", flush=True)
        await asyncio.Future()

if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8765))

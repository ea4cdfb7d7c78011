"""Bridges Twilio's Media Streams and a session of OpenAI's agents SDK, for Python.  usage: openai_bot.py PORT REALTIME_PORT"""

import asyncio, base64, json, sys
import websockets
from agents.realtime import RealtimeAgent, RealtimePlaybackTracker, RealtimeRunner


async def speak(session, socket, stream, marks):
    """What the model says, and `clear` when the caller interrupts; a mark tells what they have heard."""
    send = lambda event, **fields: socket.send(json.dumps({"event": event, "streamSid": stream, **fields}))
    async for event in session:
        if event.type == "audio":
            name = str(len(marks))
            marks[name] = (event.audio.item_id, event.audio.content_index, event.audio.data)
            await send("media", media={"payload": base64.b64encode(event.audio.data).decode()})
            await send("mark", mark={"name": name})
        elif event.type == "audio_interrupted":
            marks.update(dict.fromkeys(marks))
            await send("clear")
        elif event.type == "error":
            print("WRONG:", event.error, flush=True)


async def call(socket):
    tracker, marks, speaking = RealtimePlaybackTracker(), {}, None
    turns = {"type": "server_vad", "interrupt_response": True, "create_response": True}
    session = await RealtimeRunner(RealtimeAgent(name="bot")).run(model_config={
        "api_key": "none", "url": f"ws://127.0.0.1:{sys.argv[2]}/", "playback_tracker": tracker,
        "initial_model_settings": {"input_audio_format": "g711_ulaw", "output_audio_format": "g711_ulaw", "turn_detection": turns}})
    async for text in socket:
        message = json.loads(text)
        match message["event"]:
            case "start":
                await session.enter()
                speaking = asyncio.create_task(speak(session, socket, message["streamSid"], marks))
            case "media":
                await session.send_audio(base64.b64decode(message["media"]["payload"]))
            case "mark" if played := marks[message["mark"]["name"]]:
                tracker.on_play_bytes(*played)
            case "dtmf":
                await session.send_message(message["dtmf"]["digit"])
                if message["dtmf"]["digit"] == "#":
                    break
            case "stop":
                break
    speaking.cancel()
    await session.close()


async def main():
    async with websockets.serve(call, "127.0.0.1", int(sys.argv[1])):
        await asyncio.Future()


asyncio.run(main())

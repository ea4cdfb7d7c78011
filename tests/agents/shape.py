"""Records which messages of Twilio's protocol come, as an agent that speaks, marks and clears.
usage: shape.py PORT FILE     one line a message, without what is different in each call
       shape.py FILE FILE     tells what is different"""

import asyncio, base64, json, sys
import websockets


def shape(message):
    """Its fields in order, with their types; texts of digits, identifiers and audio as such."""
    def of(value):
        if isinstance(value, dict):
            return {key: of(inside) for key, inside in value.items()}
        if isinstance(value, str):
            kind = value[:2] if len(value) == 34 and value[:2] in ("AC", "CA", "MZ") else None
            return kind and kind + "*" or ("digits" if value.isdigit() and len(value) > 1 else value[:16])
        return value
    return of(message)


async def record(port, path):
    over = asyncio.Event()

    async def call(socket):
        seen, last, stream, log = set(), {}, None, []
        send = lambda event, **fields: socket.send(json.dumps({"event": event, "streamSid": stream, **fields}))
        sound = base64.b64encode(bytes(800)).decode()  # 100 ms
        async for text in socket:
            message = json.loads(text)
            event, order = message["event"], int(message.get("sequenceNumber", 0))
            if event != "connected" and order != last.get("order", 0) + 1:
                log.append(f"sequenceNumber {order} after {last['order']}")
            last["order"] = order
            if event == "media":
                chunk, at = int(message["media"]["chunk"]), int(message["media"]["timestamp"])
                if "chunk" in last and (chunk, at) != (last["chunk"] + 1, last["at"] + 20):
                    log.append("chunk or timestamp leaps")
                if "chunk" not in last:
                    log.append(f"first chunk {chunk}, timestamp {at}")
                last["chunk"], last["at"], octets = chunk, at, len(base64.b64decode(message["media"]["payload"]))
                message["media"] |= {"chunk": "11", "timestamp": "11", "payload": f"{octets} octets"}
                if chunk == 10:  # a mark that is played, and one that is cleared
                    await send("media", media={"payload": sound})
                    await send("mark", mark={"name": "played"})
                elif chunk == 40:
                    for _ in range(20):
                        await send("media", media={"payload": sound})
                    await send("mark", mark={"name": "cleared"})
                    await send("clear")
            elif event == "start":
                stream = message["streamSid"]
            if "sequenceNumber" in message:
                message["sequenceNumber"] = "11"
            line = json.dumps(shape(message), sort_keys=True)
            if line not in seen:
                seen.add(line)
                log.append(line)
        log.append(f"closed with {socket.close_code}")
        open(path, "w").write("\n".join(log) + "\n")
        over.set()

    async with websockets.serve(call, "127.0.0.1", port):
        print("READY", flush=True)
        await over.wait()
        await asyncio.sleep(1)


if __name__ == "__main__":
    if sys.argv[1].isdigit():
        asyncio.run(record(int(sys.argv[1]), sys.argv[2]))
    else:
        ours, theirs = (open(path).read().splitlines() for path in sys.argv[1:])
        for line in ours + theirs:
            if (line in ours) != (line in theirs):
                print("<" if line in ours else ">", line)

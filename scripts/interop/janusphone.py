"""A WebRTC phone at the SIP plug-in of a Janus: run it with a Python that has aiortc (Debian: python3-aiortc).

usage: janusphone.py URL USER PASSWORD DOMAIN PROXY HZ WAV EXPIRES_S auto|manual [SRTP]

It registers, sends a tone in every call, and writes the incoming audio. It executes its input, one command per line:
`dial URI`, `answer`, `refuse`, `hangup`, `hold`, `resume`, `transfer URI`, `info DIGITS`, `quit`; `event …` reports
events.
"""

import asyncio
import fractions
import json
import math
import os
import sys
import urllib.request
import wave

import numpy
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame

RATE, SAMPLES = 8000, 160
# Read by the judges in a capture.
CODECS = ("audio/PCMU", "audio/PCMA")


class Tone(MediaStreamTrack):
    """A tone, one packet every 20 ms."""

    kind = "audio"

    def __init__(self, hz):
        super().__init__()
        self.hz, self.sent, self.begun = hz, 0, None

    async def recv(self):
        loop = asyncio.get_running_loop()
        self.begun = self.begun or loop.time()
        await asyncio.sleep(max(0, self.begun + self.sent / RATE - loop.time()))
        at = numpy.arange(self.sent, self.sent + SAMPLES)
        sound = (11000 * numpy.sin(2 * math.pi * self.hz * at / RATE)).astype(numpy.int16)
        frame = AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.sent, fractions.Fraction(1, RATE)
        self.sent += SAMPLES
        return frame


class Phone:
    def __init__(self, url, user, password, domain, proxy, hz, wav, expires_s, answers, srtp=None):
        self.url, self.user, self.password, self.domain, self.proxy = url, user, password, domain, proxy
        self.hz, self.expires_s, self.answers, self.srtp = float(hz), int(expires_s), answers == "auto", srtp
        self.ears = wave.open(wav, "wb")
        self.ears.setnchannels(1)
        self.ears.setsampwidth(2)
        self.ears.setframerate(RATE)
        self.call, self.offer, self.count = None, None, 0

    # ---- Janus over HTTP

    async def ask(self, path, **words):
        self.count += 1
        body = json.dumps({**words, "transaction": str(self.count)}).encode()
        request = urllib.request.Request(f"{self.url}{path}", body, {"Content-Type": "application/json"})
        return await asyncio.to_thread(lambda: json.load(urllib.request.urlopen(request, timeout=20)))

    async def say(self, request, jsep=None, **words):
        """A request to the plug-in; its result is an event."""
        more = {"jsep": jsep} if jsep else {}
        said = await self.ask(self.path, janus="message", body={"request": request, **words}, **more)
        if said.get("janus") not in ("ack", "success"):
            print("event trouble", json.dumps(said), flush=True)

    async def run(self):
        session = (await self.ask("", janus="create"))["data"]["id"]
        handle = (await self.ask(f"/{session}", janus="attach", plugin="janus.plugin.sip"))["data"]["id"]
        self.path = f"/{session}/{handle}"
        await self.say(
            "register",
            username=f"sip:{self.user}@{self.domain}",
            authuser=self.user,
            secret=self.password,
            proxy=f"sip:{self.domain}",
            outbound_proxy=self.proxy,
            register_ttl=self.expires_s,
            force_tcp="transport=tcp" in self.proxy,
        )
        hears = asyncio.create_task(self.events(f"{self.url}/{session}?maxev=1"))
        does = asyncio.create_task(self.commands())
        done, _ = await asyncio.wait((hears, does), return_when=asyncio.FIRST_COMPLETED)
        self.ears.close()
        for it in done:
            it.result()
        # A thread still waits for an event, for as long as Janus lets it.
        os._exit(0)

    async def events(self, url):
        while True:
            event = await asyncio.to_thread(lambda: json.load(urllib.request.urlopen(url, timeout=40)))
            if event.get("janus") != "event":
                continue
            data = event["plugindata"]["data"]
            result = data.get("result", {})
            name, jsep = result.get("event") or data.get("error", "nothing"), event.get("jsep")
            print("event", name, result.get("code", ""), flush=True)
            if name == "incomingcall":
                self.offer = jsep
                if self.answers:
                    await self.answer()
            elif jsep and jsep["type"] == "answer" and self.call:
                await self.call.setRemoteDescription(RTCSessionDescription(**self.described(jsep)))
            elif name == "hangup":
                await self.end()

    # ---- WebRTC

    @staticmethod
    def described(jsep):
        return {"sdp": jsep["sdp"], "type": jsep["type"]}

    def connection(self):
        # Without configured servers it would use one of Google's.
        self.call = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.call.on("track", lambda track: asyncio.ensure_future(self.hear(track)))
        return self.call

    async def hear(self, track):
        try:
            while True:
                frame = await track.recv()
                samples = frame.to_ndarray().reshape(-1)
                self.ears.writeframes(samples[:: len(frame.layout.channels) * frame.sample_rate // RATE].tobytes())
        except (MediaStreamError, ValueError):
            # The call is over, or the file is closed.
            return

    def speak(self):
        sender = self.call.addTrack(Tone(self.hz))
        known = [it for it in RTCRtpSender.getCapabilities("audio").codecs if it.mimeType in CODECS]
        for it in self.call.getTransceivers():
            if it.sender is sender:
                it.setCodecPreferences(known)

    async def end(self):
        call, self.call = self.call, None
        if call:
            await call.close()

    def local(self):
        return {"type": self.call.localDescription.type, "sdp": self.call.localDescription.sdp}

    async def dial(self, uri):
        self.connection()
        self.speak()
        await self.call.setLocalDescription(await self.call.createOffer())
        more = {"srtp": self.srtp} if self.srtp else {}
        await self.say("call", self.local(), uri=uri, **more)

    async def answer(self):
        self.connection()
        await self.call.setRemoteDescription(RTCSessionDescription(**self.described(self.offer)))
        self.speak()
        await self.call.setLocalDescription(await self.call.createAnswer())
        await self.say("accept", self.local())

    async def commands(self):
        while True:
            match (await asyncio.to_thread(sys.stdin.readline)).split():
                case ["dial", uri]:
                    await self.dial(uri)
                case ["answer"]:
                    await self.answer()
                case ["refuse"]:
                    await self.say("decline", code=486)
                case ["hold"]:
                    await self.say("hold", direction="sendonly")
                case ["resume"]:
                    await self.say("unhold")
                case ["hangup"]:
                    await self.say("hangup")
                case ["transfer", uri]:
                    await self.say("transfer", uri=uri)
                case ["info", digits]:
                    for it in digits:
                        await self.say("dtmf_info", digit=it, duration=160)
                        await asyncio.sleep(0.4)
                case ["quit"] | []:
                    return


if __name__ == "__main__":
    asyncio.run(Phone(*sys.argv[1:]).run())

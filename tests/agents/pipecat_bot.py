"""A bot with Pipecat, its VAD and turns, and services that make tones.  usage: pipecat_bot.py twilio|b2b PORT"""

import sys
import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    EndWorkerFrame, InputAudioRawFrame, InputDTMFFrame, InterruptionFrame, LLMContextFrame, LLMFullResponseEndFrame,
    LLMFullResponseStartFrame, LLMRunFrame, LLMTextFrame, TranscriptionFrame, TTSAudioRawFrame, TTSSpeakFrame)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair, LLMUserAggregatorParams
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.runner.utils import parse_telephony_websocket
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.tts_service import TTSService
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.utils.time import time_now_iso8601
from pipecat.workers.runner import WorkerRunner

from b2b_pipecat import B2bFrameSerializer
from services import ANSWER, GREETING, KEY, KEY_HZ, Counts, sound


class Recogniser(SegmentedSTTService):
    async def run_stt(self, audio):
        yield TranscriptionFrame(f"{len(audio)} octets", "", time_now_iso8601())


class Model(FrameProcessor):
    """Greets, answers each turn at length, and does what keys say."""

    def __init__(self, counts):
        super().__init__()
        self.counts, self.text = counts, "greeting"

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMContextFrame):
            for out in (LLMFullResponseStartFrame(), LLMTextFrame(self.text), LLMFullResponseEndFrame()):
                await self.push_frame(out)
            self.text = "answer"
            return
        if isinstance(frame, InterruptionFrame):
            self.counts.interrupted += 1
        elif isinstance(frame, InputAudioRawFrame):
            self.counts.heard += len(frame.audio) / 2 / frame.sample_rate
        elif isinstance(frame, InputDTMFFrame):
            self.counts.digits += frame.button.value
            await self.push_frame(EndWorkerFrame() if frame.button.value == "#" else TTSSpeakFrame("key"))
        await self.push_frame(frame, direction)


class Voice(TTSService):
    def __init__(self, counts):
        super().__init__(push_start_frame=True, push_stop_frames=True)
        self.counts = counts

    async def run_tts(self, text, context_id):
        seconds, hz = {"greeting": (GREETING, None), "key": (KEY, KEY_HZ)}.get(text.strip(), (ANSWER, None))
        self.counts.said += seconds
        yield TTSAudioRawFrame(sound(seconds, self.sample_rate, hz), self.sample_rate, 1, context_id=context_id)


app = FastAPI()


@app.websocket("/")
async def call(websocket: WebSocket):
    await websocket.accept()
    counts, rate, serializer = Counts(), 16000, B2bFrameSerializer()
    if sys.argv[1] == "twilio":
        kind, told = await parse_telephony_websocket(websocket)
        if kind != "twilio":
            print("WRONG: Pipecat takes it for", kind, flush=True)
        by_closing = TwilioFrameSerializer.InputParams(auto_hang_up=False)  # there is no REST interface of Twilio's
        serializer, rate = TwilioFrameSerializer(told["stream_id"], told["call_id"], params=by_closing), 8000
    params = FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer)
    transport = FastAPIWebsocketTransport(websocket, params)
    strategies = UserTurnStrategies(stop=[SpeechTimeoutUserTurnStopStrategy()])
    user = LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer(), user_turn_strategies=strategies)
    user, assistant = LLMContextAggregatorPair(LLMContext(), user_params=user)
    stages = [transport.input(), Recogniser(), user, Model(counts), Voice(counts), transport.output(), assistant]
    worker = PipelineWorker(Pipeline(stages), params=PipelineParams(audio_in_sample_rate=rate, audio_out_sample_rate=rate))

    @transport.event_handler("on_client_connected")
    async def connected(transport, websocket):
        await worker.queue_frames([LLMRunFrame()])

    @transport.event_handler("on_client_disconnected")
    async def disconnected(transport, websocket):
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    counts.done()


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")

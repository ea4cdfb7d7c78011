"""b2b's own protocol for Pipecat (pip install "pipecat-ai[websocket]"): give it to a WebSocket transport as its serializer,
with audio_in_sample_rate and audio_out_sample_rate as rate_hz in [[voice_agent]]. See docs/voice-agents.md.

    FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=B2bFrameSerializer())"""

import json

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    AudioRawFrame, CancelFrame, EndFrame, InputAudioRawFrame, InputDTMFFrame, InterruptionFrame,
    OutputTransportMessageFrame, OutputTransportMessageUrgentFrame,
)
from pipecat.serializers.base_serializer import FrameSerializer


class B2bFrameSerializer(FrameSerializer):
    """Audio is binary in both directions, an interruption is `clear`, the end is `stop`. Messages of the transport are sent
    as they are: `{"type": "mark", "name": "a"}`. `start` is the first message, once it has come."""

    def __init__(self):
        super().__init__()
        self.start = None

    async def deserialize(self, data):
        if isinstance(data, bytes):
            return InputAudioRawFrame(audio=data, sample_rate=self._rate(), num_channels=1)
        message = json.loads(data)
        if message["type"] == "start":
            self.start = message
        elif message["type"] == "dtmf" and message["digit"] in list(KeypadEntry):  # Pipecat knows no A to D
            return InputDTMFFrame(KeypadEntry(message["digit"]))
        return None

    async def serialize(self, frame):
        if isinstance(frame, (EndFrame, CancelFrame)):
            return json.dumps({"type": "stop"})
        if isinstance(frame, InterruptionFrame):
            return json.dumps({"type": "clear"})
        if isinstance(frame, (OutputTransportMessageFrame, OutputTransportMessageUrgentFrame)):
            return None if self.should_ignore_frame(frame) else json.dumps(frame.message)  # RTVI is for web clients
        if isinstance(frame, AudioRawFrame):
            if frame.sample_rate != self._rate():
                raise ValueError(f"{frame.sample_rate} Hz; set audio_out_sample_rate={self._rate()}")
            return frame.audio
        return None

    def _rate(self):
        return self.start["format"]["rate_hz"] if self.start else 16000

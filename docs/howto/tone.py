"""A WAV file with two seconds of a tone: python3 tone.py HZ FILE"""
import math
import struct
import sys
import wave

hz, path = float(sys.argv[1]), sys.argv[2]
with wave.open(path, "wb") as file:
    file.setparams((1, 2, 8000, 0, "NONE", ""))
    samples = (int(9000 * math.sin(2 * math.pi * hz * at / 8000)) for at in range(16000))
    file.writeframes(b"".join(struct.pack("<h", it) for it in samples))

"""Checks of messages on the wire and of audio: tones in RTP and in WAV files, messages by tshark."""

import array
import bisect
import collections
import math
import socket
import struct
import subprocess
import wave
from pathlib import Path

RATE = 8000
# A tone is judged in pieces of this many samples: 100 ms.
PIECE = 800
Message = collections.namedtuple("Message", "frame time source target line")


def _ulaw(octet):
    octet = ~octet & 0xFF
    value = (((octet & 0x0F) << 3) + 0x84 << ((octet & 0x70) >> 4)) - 0x84
    return -value if octet & 0x80 else value


def _alaw(octet):
    octet ^= 0x55
    value, shift = (octet & 0x0F) << 4, (octet & 0x70) >> 4
    value = value + 8 if shift == 0 else (value + 0x108) << (shift - 1)
    return value if octet & 0x80 else -value


# ITU-T G.711, by RTP payload type.
TABLES = {0: [_ulaw(it) for it in range(256)], 8: [_alaw(it) for it in range(256)]}


def share(samples, hz, rate=RATE):
    """The share of the energy of these samples at this frequency (Goertzel), 0 to 1; 0 for silence."""
    energy = sum(it * it for it in samples)
    if energy < len(samples) * 100 * 100:
        return 0.0
    step = 2 * math.cos(2 * math.pi * hz / rate)
    one = two = 0.0
    for it in samples:
        one, two = it + step * one - two, one
    power = one * one + two * two - step * one * two
    return min(1.0, 2 * power / (len(samples) * energy))


def tone_seconds(samples, hz, rate=RATE):
    """How long this tone dominates the samples."""
    piece = PIECE * rate // RATE
    found = sum(share(samples[at : at + piece], hz, rate) > 0.5 for at in range(0, len(samples) - piece + 1, piece))
    return found * PIECE / RATE


def read_wav(path, channel=-1):
    """Samples (one channel) and their rate. The file of a killed program may lack its length."""
    octets = Path(path).read_bytes()
    if len(octets) < 44:
        return array.array("h"), RATE
    channels, rate = struct.unpack_from("<HI", octets, 22)
    at = octets.find(b"data") + 8
    body = octets[at:]
    samples = array.array("h", body[: len(body) // (2 * channels) * 2 * channels])
    return samples[channel % channels :: channels], rate


def wav_tone(path, hz, after=0.0, channel=-1):
    """Seconds of this tone in a WAV file, from that second on."""
    samples, rate = read_wav(path, channel)
    return tone_seconds(samples[int(after * rate) :], hz, rate)


def write_tone(path, hz, seconds=60, rate=RATE):
    """A mono WAV file with a tone at a third of full scale."""
    cycle = array.array("h", (int(11000 * math.sin(2 * math.pi * hz * n / rate)) for n in range(rate)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        for _ in range(seconds):
            file.writeframes(cycle.tobytes())
    return path


# ITU-T Q.23: a digit is one tone of its row and one of its column.
ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
KEYS = {it: (ROWS[n // 4], COLUMNS[n % 4]) for n, it in enumerate("123A456B789C*0#D")}


def said(hz, seconds, digits=""):
    """Samples of a tone, then of digits with 100 ms each and 100 ms between them, then the same length of the tone
    again."""

    def sound(part, *tones):
        return [int(sum(11000 * math.sin(2 * math.pi * it * n / RATE) for it in tones) / (len(tones) or 1)) for n in range(int(part * RATE))]

    found = sound(seconds, hz)
    for digit in digits:
        found += sound(0.1) + sound(0.1, *KEYS[digit])
    return found + sound(0.1) + (sound(seconds * 4, hz) if digits else [])


def digits(samples):
    """Digits that are tones in these samples, each once."""
    found, last = "", None
    for at in range(0, len(samples) - 239, 240):
        piece = samples[at : at + 240]
        now = next((it for it, tones in KEYS.items() if all(share(piece, hz) > 0.3 for hz in tones)), None)
        if now and now != last:
            found += now
        last = now
    return found


def write_g711(path, samples, kind=0):
    """Samples as PCMU (0) or PCMA (8) without a header: the nearest code of each."""
    order = sorted((value, code) for code, value in enumerate(TABLES[kind]))
    values = [it[0] for it in order]

    def code(sample):
        at = bisect.bisect_left(values, sample)
        return min(order[max(0, at - 1) : at + 1], key=lambda it: abs(it[0] - sample))[1]

    codes = {it: code(it) for it in set(samples)}
    Path(path).write_bytes(bytes(codes[it] for it in samples))
    return path


class Capture:
    """A capture file, read when it is complete."""

    def __init__(self, path):
        self.path, self.read, self.found = Path(path), None, {}

    def packets(self):
        """(time, source, source port, target, target port, payload) of every UDP datagram."""
        if self.read is None:
            self.read = list(_datagrams(self.path))
        return self.read

    def rtp(self, source, target, after=0.0, before=None):
        """(payload type, payload, time) of RTP from one address to another, without a router's duplicates."""
        seen = set()
        for time, one, one_port, other, other_port, octets in self.packets():
            if (one, other) != (source, target) or time < after or (before and time > before):
                continue
            if len(octets) < 13 or octets[0] >> 6 != 2 or 64 <= octets[1] & 0x7F < 96:
                continue
            key = (one_port, other_port, octets[2:12])
            if key not in seen:
                seen.add(key)
                yield octets[1] & 0x7F, octets[12 + 4 * (octets[0] & 15) :], time

    def samples(self, source, target, after=0.0, before=None):
        found = array.array("h")
        for kind, payload, _ in self.rtp(source, target, after, before):
            if kind in TABLES:
                found.extend(TABLES[kind][it] for it in payload)
        return found

    def tone_seconds(self, source, target, hz, after=0.0, before=None):
        return tone_seconds(self.samples(source, target, after, before), hz)

    def sounds(self, source, target, after=0.0, before=None):
        """As text: packets and payload types of RTP from one address to another."""
        kinds = collections.Counter(kind for kind, _, _ in self.rtp(source, target, after, before))
        return ", ".join(f"{count} packets of type {kind}" for kind, count in kinds.items()) or "no RTP"

    def events(self, source, target, kinds=(101,)):
        """Digits of RFC 4733 from one address to another, each once."""
        found, last = "", None
        for time, one, _, other, _, octets in self.packets():
            if (
                (one, other) == (source, target)
                and len(octets) == 16
                and octets[0] >> 6 == 2
                and octets[1] & 0x7F in kinds
            ):
                stamp = octets[4:12]
                if stamp != last and octets[12] < 16:
                    found, last = found + "0123456789*#ABCD"[octets[12]], stamp
        return found

    def messages(self, filter_):
        """SIP messages that match this display filter."""
        if filter_ not in self.found:
            names = (
                "frame.number",
                "frame.time_epoch",
                "ip.src",
                "ipv6.src",
                "ip.dst",
                "ipv6.dst",
                "sip.Request-Line",
                "sip.Status-Line",
            )
            words = ["tshark", "-n", "-r", self.path, "-Y", f"sip && ({filter_})", "-T", "fields", "-E", "separator=|"]
            for name in names:
                words += ["-e", name]
            out = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
            if out.returncode:
                raise ValueError(f"tshark: {filter_}: {out.stderr.strip()[-300:]}")
            self.found[filter_] = [self._message(line.split("|")) for line in out.stdout.splitlines()]
        return self.found[filter_]

    @staticmethod
    def _message(cells):
        cells += [""] * (8 - len(cells))
        return Message(int(cells[0]), float(cells[1]), cells[2] or cells[3], cells[4] or cells[5], cells[6] or cells[7])


def _datagrams(path):
    octets = path.read_bytes()
    if len(octets) < 24:
        return
    order = "<" if octets[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    unit = 1e9 if octets[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1e6
    link = struct.unpack_from(order + "I", octets, 20)[0] & 0xFFFF
    # Length of a link header and position of its protocol: Ethernet, Linux cooked 1 and 2.
    skip, kind = {1: (14, 12), 113: (16, 14), 276: (20, 0)}[link]
    at = 24
    while at + 16 <= len(octets):
        seconds, part, length, _ = struct.unpack_from(order + "IIII", octets, at)
        frame = octets[at + 16 : at + 16 + length]
        at += 16 + length
        protocol, body = frame[kind : kind + 2], frame[skip:]
        if protocol == b"\x08\x00" and len(body) > 28 and body[9] == 17 and not int.from_bytes(body[6:8]) & 0x1FFF:
            head = (body[0] & 15) * 4
            source, target = socket.inet_ntoa(body[12:16]), socket.inet_ntoa(body[16:20])
        elif protocol == b"\x86\xdd" and len(body) > 48 and body[6] == 17:
            head = 40
            source, target = (socket.inet_ntop(socket.AF_INET6, body[it : it + 16]) for it in (8, 24))
        else:
            continue
        ports = struct.unpack_from("!HH", body, head)
        yield seconds + part / unit, source, ports[0], target, ports[1], body[head + 8 :]

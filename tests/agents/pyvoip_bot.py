"""A bot with pyVoIP, registered at a server.  usage: pyvoip_bot.py SERVER_PORT SIP_PORT"""

import audioop, collections, sys, time
from pyVoIP.VoIP import CallState, VoIPPhone

from services import ANSWER, GREETING, KEY, KEY_HZ, Counts, Ear, sound

FRAME = 160  # of its samples: 8 bits, unsigned, at 8 kHz


def call(call):
    counts, ear, queue = Counts(), Ear(8000), collections.deque()

    def say(seconds, hz=None):
        counts.said += seconds
        pcm = audioop.bias(audioop.lin2lin(sound(seconds, 8000, hz), 2, 1), 1, 128)
        queue.extend(pcm[at:at + FRAME] for at in range(0, len(pcm), FRAME))

    call.answer()
    say(GREETING)
    due = time.monotonic()
    while call.state == CallState.ANSWERED:
        if queue:
            call.write_audio(queue.popleft())
        # where packets have no audio, as while a key is pressed, it reads zeros, which are its loudest sample
        octets = call.read_audio(FRAME, blocking=False).replace(b"\x00", b"\x80")
        turn = ear.hears(audioop.lin2lin(audioop.bias(octets, 1, -128), 1, 2))
        counts.heard += FRAME / 8000
        if turn == "started" and queue:
            counts.interrupted += 1
            queue.clear()
        elif turn == "stopped":
            say(ANSWER)
        digit = call.get_dtmf()
        counts.digits += digit
        if digit == "#":
            call.hangup()
        elif digit:
            say(KEY, KEY_HZ)
        due += FRAME / 8000
        time.sleep(max(0, due - time.monotonic()))
    counts.done()


server, port = map(int, sys.argv[1:])
phone = VoIPPhone("127.0.0.1", server, "bot", "correct-horse-1", myIP="127.0.0.1", callCallback=call, sipPort=port)
phone.start()
print("REGISTERED", flush=True)
while True:
    time.sleep(1)

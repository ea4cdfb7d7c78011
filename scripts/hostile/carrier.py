"""The honest parties to which nobody may be led: the carrier, a neighbour gateway, an uninvolved host. They answer
every request, echo a caller's audio, and log every request."""

import contextlib
import os
import select
import signal
import socket
import sys
import threading

import sip
import sound
import world as worlds


def diary(world, who):
    def write(phone, message):
        world.note(who, method=message.method, uri=message.uri, text=message.text, source=list(message.source))
        # Like a carrier that knows b2b by its address: no authentication.
        return False

    return write


def echo(world, who, ear):
    """Returns everything to its source. Attackers' audio is recognised packet by packet."""
    while True:
        select.select([ear], [], [])
        with contextlib.suppress(OSError):
            while True:
                octets, source = ear.recvfrom(2048)
                ear.sendto(octets, source)
                if sound.read(octets) is not None:
                    world.note(who, method="RTP", uri=f"{source[0]}:{source[1]}", text="")


def doors(world, who, ip):
    """TCP, too: connections are logged."""
    listener = socket.create_server((ip, 5060))
    while True:
        connection, source = listener.accept()
        connection.settimeout(2)
        with contextlib.suppress(OSError), connection:
            octets = connection.recv(65536).decode(errors="replace")
            world.note(who, method=octets.split(" ")[0], uri="tcp", text=octets, source=list(source))


def main():
    world = worlds.World.read(sys.argv[1])
    for who, last in (("carrier", 80), ("neighbour", 71), ("elsewhere", 91)):
        ear = sound.pair(world.at(last))
        threading.Thread(target=echo, args=(world, who, ear), daemon=True).start()
        phone = sip.Phone(world.server, world.at(last), who, port=5060, media_port=ear.getsockname()[1])
        phone.on_request = diary(world, who)
        threading.Thread(target=doors, args=(world, who, world.at(last)), daemon=True).start()
    print("UP", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)


if __name__ == "__main__":
    main()

"""One running cell of the table: its folder, its capture, b2b, and the checks when it is over."""

import shutil
import signal
import time
from pathlib import Path

import judge
from ourphone import OurPhone
from server import Server
from world import SERVER, SERVER6, Gone


def _ours(address):
    """b2b's address as seen from this one."""
    return SERVER6 if ":" in address else SERVER


class Case:
    """A scenario with a peer. `gone` is the reason of its failure, None until then."""

    def __init__(self, world, binary, folder, peer, scenario):
        self.world, self.binary, self.peer, self.scenario = world, binary, peer, scenario
        self.folder = Path(folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.checks, self.capture, self.server = [], None, None
        self.before = len(world.processes)

    def serve(self, changes=None, more="", text=None):
        """b2b with these changes to its configuration (server.configuration), or with a complete one."""
        self.server = Server(self.world, self.binary, self.folder, changes, more, text)
        return self.server

    def listen(self):
        """Starts the capture of everything that b2b sends and receives."""
        path = self.folder / "capture.pcap"
        self.listener = self.world.start(
            "server",
            ["dumpcap", "-q", "-P", "-i", "any", "-f", "udp or tcp", "-B", "16", "-w", path],
            self.folder / "dumpcap.log",
        )
        # "Capturing on" comes before the socket is open, "File:" after.
        self.listener.says("File: ", 10)
        self.capture = judge.Capture(path)

    def our(self, name, steps, **more):
        return OurPhone(self, name, steps, **more)

    def registered(self, name):
        """Waits until b2b reports that this user is registered."""
        self.server.process.says(rf"{name}@\S+ is registered from", 15)

    def later(self, check):
        """A check of the capture, run when the capture is complete: it raises `Gone`."""
        self.checks.append(check)

    @staticmethod
    def now():
        return time.time()

    @staticmethod
    def pause(seconds):
        """Waits; the audio of this time is judged."""
        time.sleep(seconds)

    # ---- expectations, all for the complete capture

    def hears(self, address, hz, after=0.0, before=None, at_least=0.4):
        """RTP (G.711) from b2b to this address has this tone for at least these seconds within that time."""

        def check():
            found = self.capture.tone_seconds(_ours(address), address, hz, after, before)
            if found < at_least:
                heard = self.capture.sounds(_ours(address), address, after, before)
                raise Gone(f"{hz} Hz is not in the RTP to {address}: {found:.1f} s of {at_least} s; there is {heard}")

        self.later(check)

    def hears_digits(self, address, digits):
        """RTP (G.711) from b2b to this address has these digits as tones, and not as events."""

        def check():
            found = judge.digits(self.capture.samples(_ours(address), address))
            events = self.capture.events(_ours(address), address, range(96, 128))
            if found != digits or events:
                raise Gone(f"the tones to {address} are the digits `{found}`, the events `{events}`, not {digits}")

        self.later(check)

    def hears_before_answer(self, address, hz, at_least=0.4):
        """RTP to our phone at this address has this tone before the 200 to its INVITE."""

        def check():
            answers = self.capture.messages(
                f"sip.Status-Code == 200 && sip.CSeq.method == INVITE && ip.dst == {address}"
            )
            found = self.capture.tone_seconds(SERVER, address, hz, 0.0, answers[0].time) if answers else 0.0
            if found < at_least:
                raise Gone(f"{hz} Hz is not in the RTP to {address} before the answer: {found:.1f} s")

        self.later(check)

    def silent(self, address, hz, after, before):
        """This tone is not in the RTP to this address in that time."""

        def check():
            found = self.capture.tone_seconds(_ours(address), address, hz, after, before)
            if found > 0.3:
                raise Gone(f"{hz} Hz goes to {address} for {found:.1f} s where it should not")

        self.later(check)

    def message(self, what, filter_, count=1):
        """At least this many messages that match this display filter of tshark; `what` names them."""

        def check():
            found = self.capture.messages(filter_)
            if len(found) < count:
                raise Gone(f"{what}: {len(found)} messages, {count} are wanted ({filter_})")

        self.later(check)

    def no_message(self, what, filter_):
        def check():
            found = self.capture.messages(filter_)
            if found:
                raise Gone(f"{what}: frame {found[0].frame}, {found[0].line}")

        self.later(check)

    # ---- the end

    def end(self):
        """Ends everything that the scenario has started; the capture last."""
        server = [it for it in (self.server and self.server.process, getattr(self, "listener", None)) if it]
        for process in reversed(self.world.processes[self.before :]):
            if process not in server:
                process.end()
        if self.server:
            if not self.server.process.alive():
                raise Gone("b2b has ended by itself")
            self.server.process.end(patience=8)
        if self.capture:
            time.sleep(0.3)
            self.listener.end(signal.SIGINT)
        del self.world.processes[self.before :]

    def judge(self):
        for check in self.checks:
            check()
        log = (self.folder / "b2b.log").read_text() if self.server else ""
        if "panicked at" in log:
            raise Gone("b2b has panicked: " + log[log.index("panicked at") :][:160])

    def last_words(self):
        """For a failure: the message of the capture that most likely explains it."""
        if not self.capture:
            return ""
        found = self.capture.messages(
            "sip.Status-Code >= 300 && sip.Status-Code != 401 && sip.Status-Code != 407 " "&& sip.Status-Code != 487"
        )
        # The first refusal is the cause; without one, the last message.
        found = found[:1] or self.capture.messages("sip")[-1:]
        if not found:
            return "no SIP message in the capture"
        return f"frame {found[0].frame} {found[0].source} > {found[0].target}: {found[0].line}"

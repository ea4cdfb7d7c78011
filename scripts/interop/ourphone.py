"""b2b's own phone (`--role phone`) as the other party of a call: it sends a tone, checks for another, and reports
it."""

import json

from server import password
from world import SERVER, SERVER6, Gone, wait_for


class OurPhone:
    """A registered phone that runs its steps (docs/client.md) in sequence."""

    def __init__(self, case, name, steps, codecs="pcmu,pcma", srtp="off", six=False, last=None):
        self.case, self.name = case, name
        last = last or int(name[-2:]) + 10
        address = case.world.address("phones", last)
        machine = case.world.host("phones", last)
        secret = case.folder / f"{name}.password"
        secret.write_text(password(name) + "\n")
        host, bind = (
            (f"[{SERVER6}]", f"[{case.world.address('phones', last, six=True)}]:0") if six else (SERVER, f"{address}:0")
        )
        self.process = case.world.start(
            machine,
            [
                case.binary,
                "--role",
                "phone",
                "--identity",
                f"sip:{name}@{host}:5060",
                "--password-file",
                secret,
                "--sip-bind",
                bind,
                "--codecs",
                codecs,
                "--srtp",
                srtp,
                "--steps",
                steps,
                "--json",
            ],
            case.folder / f"phone-{name}.log",
            cwd=case.folder,
        )
        case.registered(name)

    def events(self):
        found = []
        for line in self.process.text.splitlines():
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
        return found

    def saw(self, **fields):
        return [it for it in self.events() if all(it.get(key) == value for key, value in fields.items())]

    def cue(self, name, seconds=40):
        """Waits until its steps have reached this cue."""
        wait_for(
            f"cue {name} of our phone {self.name}",
            lambda: self.saw(event="step", cue=name, ok=True) or self._over(),
            seconds,
        )

    def _over(self):
        failed = self.saw(event="step", ok=False)
        if failed:
            raise Gone(f"our phone {self.name}: `{failed[0]['step']}`: {failed[0].get('cause')}")
        if not self.process.alive():
            raise Gone(f"our phone {self.name} has ended: {self._last()}")
        return None

    def _last(self):
        summary = self.saw(event="summary")
        return summary[0].get("cause") if summary else self.process.text[-200:]

    def done(self, seconds=60):
        """Waits for its end; `Gone` unless every step was right."""
        code = self.process.wait(seconds)
        if code:
            self._over()
            raise Gone(f"our phone {self.name} ended with {code}: {self._last()}")
        return self.events()

    def digits(self):
        return "".join(it["digit"] for it in self.saw(event="digit"))

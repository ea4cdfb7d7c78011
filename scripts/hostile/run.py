"""See scripts/hostile.sh."""

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "b2bua"))

import machine  # noqa: E402
from machine import House, Process  # noqa: E402

import attack as attacks  # noqa: E402
import table  # noqa: E402
import world as worlds  # noqa: E402

CORES = f"0-{machine.LAST_CORE}"


class Server(machine.Server):
    """The server under attack, with a token for the judging processes."""

    def __init__(self, house, world, binary, chosen):
        self.world, self.http = world, world.http
        changes = {}
        for one in chosen:
            for section, lines in one.changes(world.base).items():
                changes.setdefault(section, []).extend(it for it in lines if it not in changes.get(section, []))
        config = house.path / "b2b.toml"
        config.write_text(worlds.configuration(world, attacks.ALL.values(), changes))
        # Like a service with default file limits.
        command = ["sh", "-c", 'umask 022; exec "$@"', "sh", binary, "--role", "b2bua", "--config", config]
        Process.__init__(self, house, "server", command, CORES)
        self.ready("READY role=b2bua", 120)

    def get(self, path):
        fields = {"Authorization": f"Bearer {self.world.token}"} if self.world.token else {}
        request = urllib.request.Request(f"http://{self.http}{path}", headers=fields)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read().decode()

    def counted(self):
        """/metrics, or nothing if the server cannot answer."""
        try:
            return self.metrics()
        except OSError:
            return {}


def house_with(options, chosen, calls=0, token=True, together=False):
    """A folder, its world, the carrier and the server."""
    house = House()
    try:
        with socket.create_server(("127.0.0.1", 0)) as free:
            http_port = free.getsockname()[1]
        world = worlds.World.new(house.path, http_port, calls, options.quick, options.base, options.lan)
        world.known["together"] = together
        world.known["gift"] = attacks.ALL["rtp-digits"].number(0)
        if token:
            world.known.update(token=secrets.token_hex(16), reader=secrets.token_hex(16))
        world = worlds.World(world.known)
        world.path = world.write()
        Process(house, "carrier", [sys.executable, "-B", HERE / "carrier.py", world.path], CORES).ready("UP")
        server = Server(house, world, options.binary, chosen)
    except BaseException:
        house.close()
        raise
    return house, world, server


def attacker(house, world, one, seconds):
    """An attacking process, for this long."""
    command = [sys.executable, "-B", HERE / "attack.py", world.path, one.name, seconds]
    errors = (house.path / f"attack-{one.name}.err").open("w")
    log = house.path / f"attack-{one.name}.log"
    # An attacker's own work is not done by the machine that it attacks.
    command = ["chrt", "--idle", "0", *map(str, command)]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log.open("w"), stderr=errors)
    process = Process.__new__(Process)
    process.child, process.pid, process.log, process.errors = child, child.pid, log, Path(errors.name)
    house.callback(process.end, signal.SIGKILL)
    return process


def told(process):
    lines = process.log.read_text().splitlines()
    return json.loads(lines[-1]) if lines else None


def risen(before, after, beginnings):
    """Which of the counters that should have increased did."""
    return {
        name: after[name] - before.get(name, 0) for name in after
        if any(name.startswith(it) for it in beginnings) and after[name] > before.get(name, 0)
    }


def alone(options, one):
    """One attack against a separate server; returns the outcome."""
    house, world, server = house_with(options, [one], token=one.name != "http-proxied")
    with house:
        before = server.counted()
        process = attacker(house, world, one, 0)
        try:
            process.child.wait(120)
        except subprocess.TimeoutExpired:
            process.end()
        result = told(process) or {"wins": 0, "got": "the attack did not end", "errors": 1, "error": "no end"}
        time.sleep(0.2)
        after = server.counted() if server.is_alive() else {}
        if not server.is_alive():
            last = server.log.read_text(errors="replace").strip().splitlines()[-2:]
            result.update(wins=1, got="the process ended: " + " ".join(last)[:120])
        result.update(
            finding=one.finding, title=one.title, won=bool(result["wins"]), held=one.held,
            counters=risen(before, after, one.counters),
        )
        if options.verbose:
            print(process.errors.read_text(), server.log.read_text()[-4000:])
        if options.keep:
            print(subprocess.run(["cp", "-r", house.path, options.keep], capture_output=True))
        return result


def apart(options, one):
    """The same in a network namespace."""
    addresses = "".join(f"ip -6 addr add {it}/64 dev lo nodad\n" for it in (worlds.IPV6, *worlds.NEIGHBOURS))
    setup = f'ip link set lo up\nip addr add {worlds.LAN}.1/16 dev lo\n{addresses}exec "$@"'
    with tempfile.NamedTemporaryFile(suffix=".json") as told:
        command = ["unshare", "-rn", "sh", "-ec", setup, "sh", sys.executable, "-B", __file__, "--lan", "--only", one.name,
                   "--binary", options.binary, "--json", told.name, *(["--base"] if options.base else [])]
        subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL)
        return json.loads(Path(told.name).read_text())["attacks"][one.name]


def each(options):
    """Every attack alone."""
    names = options.only or list(attacks.ALL)
    results = {}
    for name in names:
        one = attacks.ALL[name]
        results[name] = apart(options, one) if one.lan and not options.lan else alone(options, one)
        it = results[name]
        print(f"{name:18} {'WINS' if it['won'] else 'held':5} {it['got']}"
              + (f"   ERROR {it['error']}" if it["error"] else "")
              + (f"   {it['counters']}" if it["counters"] else ""), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(
            {"machine": machine.machine(), "binary": str(options.binary), "base": options.base, "attacks": results},
            indent=1) + "\n")
    return results


def main():
    words = argparse.ArgumentParser(prog="scripts/hostile.sh")
    words.add_argument("minutes", nargs="?", default="60", help="or `quick`: one minute, fewer calls")
    words.add_argument("--only", action="append", help="these attacks by themselves")
    words.add_argument("--together", action="store_true", help="with --only: these beside honest calls")
    words.add_argument("--each", action="store_true", help="every attack by itself")
    words.add_argument("--lan", action="store_true", help=argparse.SUPPRESS)
    words.add_argument("--list", action="store_true", help="names them")
    words.add_argument("--base", action="store_true", help="the binary is of before issue 15: no keys that it does not know")
    words.add_argument("--binary", default=os.environ.get("B2B_BINARY", machine.BINARY), type=Path)
    words.add_argument("--calls", type=int, help="honest calls at once; 200, quick: 40")
    words.add_argument("--json", help="where the results go")
    words.add_argument("--table", nargs=2, metavar=("BEFORE", "AFTER"), help="two results of --each as a table")
    words.add_argument("--write", action="store_true", help="with --table: into docs/security.md")
    words.add_argument("--verbose", action="store_true")
    words.add_argument("--keep", help="copies the folder of the run there")
    options = words.parse_args()
    options.quick = options.minutes in ("quick", "1")
    options.minutes = 1.0 if options.quick else float(options.minutes)
    attacks.load()
    if options.table:
        return table.show(*options.table, write=options.write)
    if options.list:
        for one in attacks.ALL.values():
            print(f"{one.name:18} {one.finding:14} {one.title}")
        return
    options.binary = options.binary.resolve()
    if options.only and not options.together or options.each:
        results = each(options)
        sys.exit(any(it["won"] or it["errors"] for it in results.values()))
    # It needs the whole of this module.
    import together

    sys.exit(together.run(options))


if __name__ == "__main__":
    sys.modules["run"] = sys.modules["__main__"]
    main()

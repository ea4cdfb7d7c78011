"""Debian's SIPVicious, which scans for servers, users and passwords."""

import re
import shutil
import subprocess

import scenarios
from world import Gone

TOOLS = ("svmap", "svwar", "svcrack")


class Scanner:
    """It has its own address, and b2b's users are 1001 to 1004 and 1011 (server.py)."""

    name, title, quick = "sipvicious", "SIPVicious (scanner)", False
    NOT = {row.name: "a scanner" for row in scenarios.ALL if row.name != "scan"}

    @staticmethod
    def here():
        return all(shutil.which(f"{it}") for it in TOOLS)

    @staticmethod
    def version():
        text = subprocess.run(["svmap", "--version"], capture_output=True, text=True, check=False).stdout
        return f"SIPVicious {re.search(r'([0-9.]+)', text).group(1)}"

    @classmethod
    def prepare(cls, world, folder):
        """Nothing is shared."""

    def scan(self, case):
        case.serve()
        case.listen()
        callee = case.our("1003", "answer; say 750 Hz; hears 600 Hz within 30 s; hung up within 30 s")
        machine = case.world.host("peers", 70)

        def run(tool, *words):
            log = case.folder / f"{tool}.log"
            process = case.world.start(machine, [tool, *words, "10.9.0.1"], log, cwd=case.folder)
            process.wait(60)
            return process.text

        run("svmap", "-p5060")
        found = run("svwar", "-e1000-1020", "-m", "REGISTER") + run("svwar", "-e1000-1020", "-m", "INVITE", "--force")
        # Its table of supposed users.
        users = sorted(set(re.findall(r"\| (1\d{3}) ", found)))
        if users and users != [str(it) for it in range(1000, 1021)]:
            raise Gone(f"it tells users from others: {users}")
        if "The password for" in run("svcrack", "-u1002", "-r1-300", "-z4"):
            raise Gone("it has found a password")
        # No other party is affected.
        ours = case.our("1002", "dial 1003; say 600 Hz; hears 750 Hz within 15 s; wait 1; hang up")
        ours.done()
        callee.done()
        case.no_message("a 200 to the scanner but to OPTIONS", 'sip.Status-Code == 200 && ip.dst == 10.9.1.70 && sip.CSeq.method != "OPTIONS"')

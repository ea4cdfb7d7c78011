"""Users that a load registers at the real binary with passwords, and keeps registered (docs/load.md)."""

import time

from load import Load
from machine import House, wait_for

# REGISTERs a second; those that answer a challenge come on top.
RATE = 1000
REFRESHED = 'b2b_registrar_total{result="refreshed"}'


def besides(server):
    """Requests that came once and have brought no refresh yet."""
    told = server.metrics()
    return told["b2b_sip_requests_received_total"] - told["b2b_sip_absorbed_total"] - told[REFRESHED]


def measure(count, check):
    """Registers `count` users, and waits for their refreshes; the server keeps them in SQLite."""
    # Refreshes come at 0.45 to 0.5 of this, one by one as the users were registered: all are by then.
    expires = max(8, round(count / RATE * 2.4))
    with House() as house:
        users = "".join(f'[[user]]\nname = "u{n}"\npassword = "secret-{n}"\n' for n in range(count))
        lines = f'[registrar]\nmax_bindings = {count + 10}\nmin_expires_s = 1\nkeep_alive = "off"\n{users}'
        keys = 'store = "sqlite:bindings.sqlite"\nrealm = "b2b.example"'
        server = house.server(lines, server=keys, trusted="", http="on")
        (house.path / "users.csv").write_text("user,password\n" + "".join(f"u{n},secret-{n}\n" for n in range(count)))
        rss, cpu, begun = server.rss(), server.cpu(), time.monotonic()
        plan = (
            f'[load]\ndomain = "b2b.example"\n[callee]\nsteps = ["answer", "hung up"]\nusers = "users.csv"\n'
            f'registrar = "sip:{server.address}"\nregister_per_s = {RATE}\nexpires_s = {expires}\n'
        )
        phones = Load(house, "phones", plan=plan, patience=count / RATE * 2 + 40)
        registering, took = (server.cpu() - cpu) * 1e3 / count, time.monotonic() - begun
        grown, others = (server.rss() - rss) / 1024 / count, besides(server)
        refreshed = lambda: server.metrics()[REFRESHED]
        wait_for(lambda: refreshed() > count / 10, "refreshes", expires * 2, 0.2)
        runs, rate = [], 0
        for _ in range(3):
            before, cpu, begun = refreshed(), server.cpu(), time.monotonic()
            wait_for(lambda: refreshed() - before >= min(count / 5, 10_000), "refreshes", expires * 2, 0.2)
            spent, seconds, done = server.cpu() - cpu, time.monotonic() - begun, refreshed() - before
            runs.append(spent * 1e3 / done)
            rate = max(rate, done / seconds)
        # A refresh that is challenged or put off is a request more; some are on their way to the disk.
        wait_for(lambda: besides(server) - others <= count / 1000 + 3, "refreshes that are not challenged or put off", 10)
        told = phones.end()["registrations"]
        check(told["registered"] == count, f"{told['registered']} of {count} users were registered at the end")
        server.stop()
        return {
            "held": told["registered"],
            "ms_per_refresh": round(sorted(runs)[1], 4),
            "ms_per_refresh_runs": [round(run, 4) for run in runs],
            "ms_per_registration": round(registering, 4),
            "registrations_per_s": round(count / took),
            "rss_kb_per_binding": round(grown, 2),
            "failures": told["failures"],
            "refreshes_per_s": round(rate),
        }

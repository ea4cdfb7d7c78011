"""docs/interop.md: the table of what a run has seen, reasons of red cells, versions."""

import time

import reasons
import scenarios


def outcome(cell):
    """What stands in the table."""
    if cell is None:
        return "not tried"
    return {"ok": "ok", "n/a": "n/a", "not tried": "not tried"}.get(cell["state"], f"FAIL {cell.get('number')}")


def number(peers, cells):
    """Numbers for red cells, in the order of the table."""
    keys = [(peer.name, row.name) for row in scenarios.ALL for peer in peers]
    red = [cells[key] for key in keys if cells.get(key, {}).get("state") == "FAIL"]
    for count, cell in enumerate(red, 1):
        cell["number"] = count


def text(peers, cells, about):
    """The page. `cells`: (peer, scenario) to its result; `about`: when, how long, with which options."""
    number(peers, cells)
    tried = [it for it in cells.values() if it["state"] in ("ok", "FAIL")]
    yield "# b2b and programs of others"
    yield ""
    yield "Written by `scripts/interop.sh` (`scripts/interop/README.md`): nothing here is older than the run below. Each cell"
    yield "is one run of one scenario; sound is judged at both ends by tones, messages by tshark. `not tried` is not `ok`;"
    yield "`n/a`: this program does not do that. The numbers are below the table."
    yield ""
    yield f"Run of {about['when']}, {about['seconds'] / 60:.0f} minutes: {about['what']}. b2b {about['b2b']}."
    yield f"{sum(it['state'] == 'ok' for it in tried)} of {len(tried)} cells that were run are ok."
    yield ""
    yield "| scenario | " + " | ".join(it.title for it in peers) + " |"
    yield "|---|" + "---|" * len(peers)
    for row in scenarios.ALL:
        yield f"| {row.title} | " + " | ".join(outcome(cells.get((it.name, row.name))) for it in peers) + " |"
    yield ""
    yield "## Red cells"
    yield ""
    red = sorted(((cell["number"], key, cell) for key, cell in cells.items() if cell["state"] == "FAIL"))
    if not red:
        yield "None."
    for count, key, cell in red:
        yield f"{count}. **{key[0]}, {key[1]}**: {reasons.REASONS.get(key, 'no reason is known.')}"
        yield f"   Seen: {cell['why']}; {cell['message'] or 'no capture'} (`{cell['folder']}/capture.pcap`)."
    aside = sorted((key, cell) for key, cell in cells.items() if cell["state"] == "n/a" and cell.get("why"))
    if aside:
        yield ""
        yield "## Not applicable, and why"
        yield ""
        for key, cell in aside:
            yield f"- {key[0]}, {key[1]}: {cell['why']}"
    yield ""
    yield "## Versions"
    yield ""
    for line in about["versions"]:
        yield f"- {line}"


def when():
    return time.strftime("%Y-%m-%d", time.gmtime())

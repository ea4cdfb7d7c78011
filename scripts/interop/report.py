"""docs/interop.md: the table of a run's results, reasons of red cells, versions."""

import textwrap
import time

import reasons
import scenarios


def outcome(cell):
    """The text of a cell."""
    if cell is None:
        return "not tried"
    return {"ok": "ok", "n/a": "n/a", "not tried": "not tried"}.get(cell["state"], f"FAIL {cell.get('number')}")


def number(peers, cells):
    """Numbers the failed cells, in the order of the table."""
    keys = [(peer.name, row.name) for row in scenarios.ALL for peer in peers]
    red = [cells[key] for key in keys if cells.get(key, {}).get("state") == "FAIL"]
    for count, cell in enumerate(red, 1):
        cell["number"] = count


def wrapped(words, first="", further=""):
    return textwrap.wrap(
        " ".join(words.split()),
        108,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )


def text(peers, cells, about):
    """The page. `cells` maps (peer, scenario) to its result; `about`: when, how long, with which options."""
    number(peers, cells)
    tried = [it for it in cells.values() if it["state"] in ("ok", "FAIL")]
    yield "# Interoperability"
    yield ""
    yield from wrapped(
        "Written by `scripts/interop.sh` (`scripts/interop/README.md`) from the run named below. Each cell is one run of "
        "one scenario, with b2b's own phones on the other side. Tones at both ends check the audio, tshark checks the "
        "messages. `not tried`: no result; `n/a`: the program does not support this, the reason is below. A number "
        "after `FAIL` refers to the list below the table."
    )
    yield ""
    yield from wrapped(
        f"Run of {about['when']}, {about['seconds'] / 60:.0f} minutes: {about['what']}. b2b {about['b2b']}. "
        f"{sum(it['state'] == 'ok' for it in tried)} of {len(tried)} cells that ran are ok."
    )
    yield ""
    yield "| scenario | " + " | ".join(it.title for it in peers) + " |"
    yield "|---|" + "---|" * len(peers)
    for row in scenarios.ALL:
        yield f"| {row.title} | " + " | ".join(outcome(cells.get((it.name, row.name))) for it in peers) + " |"
    yield ""
    yield "## Failed cells"
    yield ""
    red = sorted((cell["number"], key) for key, cell in cells.items() if cell["state"] == "FAIL")
    if not red:
        yield "None."
    for count, key in red:
        cell = cells[key]
        yield from wrapped(
            f"**{' '.join(key)}**: {reasons.of(key, cell) or 'the reason is not known.'}", f"{count}. ", "   "
        )
        yield from wrapped(
            f"Seen: {cell['why']}; {cell['message'] or 'no capture'} (`{cell['folder']}/capture.pcap`).", "   ", "   "
        )
    late = [" ".join(key) for key, cell in cells.items() if cell["state"] == "ok" and cell.get("tries", 1) > 1]
    yield ""
    yield from wrapped(f"Passed only in a second attempt: {', '.join(late) or 'none'}.")
    yield ""
    yield "## Not applicable, or not written"
    yield ""
    for peer in peers:
        groups = {}
        for row in scenarios.ALL:
            cell = cells.get((peer.name, row.name), {})
            if cell.get("why") and cell.get("state") in ("n/a", "not tried"):
                groups.setdefault(cell["why"], []).append(f"`{row.name}`")
        if groups:
            yield from wrapped(
                f"{peer.title}: " + "; ".join(f"{', '.join(names)}: {why}" for why, names in groups.items()) + ".",
                "- ",
                "  ",
            )
    yield ""
    yield "## Versions"
    yield ""
    for line in about["versions"]:
        yield f"- {line}"


def when():
    return time.strftime("%Y-%m-%d", time.gmtime())

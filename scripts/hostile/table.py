"""Results of two versions side by side, as docs/security.md has them."""

import json
from pathlib import Path

DOC = Path(__file__).resolve().parents[2] / "docs/security.md"
BEGIN, END = "<!-- attacks: written by scripts/hostile.sh --table -->", "<!-- end of attacks -->"


def cell(result):
    if result is None:
        return "not run"
    words = result["got"].replace("|", "/") or result["error"]
    return f"**{words}**" if result["won"] else words


def lines(before, after):
    yield "| attack | finding | what it does | before: what the attacker got | after |"
    yield "|---|---|---|---|---|"
    for name, new in after["attacks"].items():
        old = before["attacks"].get(name)
        yield f"| `{name}` | {new['finding']} | {new['title']} | {cell(old)} | {cell(new)} |"


def show(before, after, write):
    before, after = (json.loads(Path(it).read_text()) for it in (before, after))
    table = "\n".join(lines(before, after))
    print(table)
    if write:
        text = DOC.read_text()
        head, rest = text.split(BEGIN, 1)
        DOC.write_text(head + BEGIN + "\n\n" + table + "\n\n" + END + rest.split(END, 1)[1])

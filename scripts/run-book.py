#!/usr/bin/env python3
"""Runs the shell blocks of the book, page by page, as a reader would.

usage: scripts/run-book.py [--binary PROGRAM] [--examples FOLDER] [--write] [--jobs N] [PAGE...]

Each page has its own network and process namespaces and a copy of the repository's files, so ports 5060 and 8080 are
free and what a block has started ends with the page. The blocks of a page share one bash. Annotations of a page:

    # expect: text                    in a block: its output has this, within 10 s; `…` stands for anything
    <!-- output -->                   above a ```text block: so does the block before print, line for line in this order
    <!-- printed -->                  these lines and no others, in any order and with other numbers; --write puts them there
    <!-- ladder -->                   the same, with others between them
    <!-- terminals -->                above a block: each line is for a terminal of its own
    <!-- before: commands -->         lines of what a reader of this page has already, such as a call that is up
    <!-- not run: reason -->          above a block: why it does not run here

A block fails if one of its commands exits non-zero. `cargo run` and `cargo build` mean the given program and
examples. Exit code 77: no namespace can be created here.
"""
import argparse
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ["assets", "docs", "examples", "packaging", "plans", "scripts", "tests/sipp", "Cargo.toml"]
LONGEST_S = 90
PRINTED = ("<!-- printed -->", "<!-- ladder -->")
CARGO = """#!/bin/sh
case "$*" in
"run -- "*) shift 2; exec b2b "$@" ;;
build | "build --release") exit 0 ;;
"run --example "*) name=$3; shift 3; [ "$1" != -- ] || shift; exec "$B2B_EXAMPLES/$name" "$@" ;;
esac
echo "cargo $*: nothing that the book's run has" >&2
exit 1
"""
# A program without keyboard input.
TERMINAL = "sleep infinity | {{ {0}; }} &{1}"
# Reads names of files with blocks, and prints the result of each; a failed block ends it.
SHELL = r"""
exec 8<&0 9>&1 </dev/null >&2
ip link set lo up || exit 1
trap 'echo "failed $? $LINENO" >&9' ERR
set -eE
while read -r block output <&8; do
    . "$block" >>"$output" 2>&1 8<&- </dev/null
    echo "ok 0 0" >&9
done
"""


class Block:
    def __init__(self, line, text, reason=None, hidden=False):
        self.line, self.text, self.reason, self.hidden, self.outputs = line, text, reason, hidden, []


def pages(names):
    if names:
        return [Path(name).resolve().relative_to(ROOT) for name in names]
    summary = (ROOT / "docs/SUMMARY.md").read_text()
    return [Path("docs") / name for name in re.findall(r"\]\(([^)]+\.md)\)", summary)]


def blocks_of(text):
    """The command blocks of a page, each with its expected output: (kind, first line, last line, lines)."""
    blocks, note, fence, inside, begun = [], "", None, [], 0
    for number, line in enumerate(text.splitlines(), 1):
        if fence == "before" and line.strip() == "-->":
            blocks.append(Block(begun, inside, hidden=True))
            fence, note = None, ""
        elif fence != "before" and line.lstrip().startswith("```"):
            if fence is None:
                fence, inside, begun = line.strip()[3:], [], number
                continue
            if fence == "sh":
                reason = re.match(r"<!-- not run: (.*) -->", note)
                if note == "<!-- terminals -->":
                    inside = [TERMINAL.format(*re.match(r"(.*?)(\s*#.*)?$", line).groups("")) for line in inside]
                blocks.append(Block(begun, inside, reason and reason[1]))
            elif note in ("<!-- output -->", *PRINTED):
                blocks[-1].outputs.append((note, begun, number, inside))
            fence, note = None, ""
        elif fence is not None:
            inside.append(line)
        elif line.strip() == "<!-- before:":
            fence, inside, begun = "before", [], number
        elif line.strip():
            note = line.strip()
    return blocks


def like(text):
    """A pattern for a line of a page: `…` stands for anything, and the amount of blanks does not matter."""
    parts = [r"[ \t]+".join(map(re.escape, part.split())) for part in text.split("…")]
    return r"[ \t]*.*?[ \t]*".join(parts)


def missing(kind, wanted, printed):
    """The first of these lines that is not printed, or the first printed one that is not among them."""
    if kind in PRINTED:
        here, there = ({plain(line) for line in lines} for lines in (wanted, printed.splitlines()))
        more = () if kind == "<!-- ladder -->" else printed.splitlines()
        return next((line for line in wanted if plain(line) not in there), None) or next(
            (f"only there: {line}" for line in more if plain(line) not in here), None)
    at = 0
    for line in filter(str.strip, wanted):
        found = re.compile(like(line)).search(printed, at)
        if not found:
            return line
        at = found.end()
    return None


def plain(line):
    return " ".join(re.sub(r"[0-9][0-9.]*", "0", line).split())


def run(page, program, examples, write, times):
    """Runs a page; returns the number of blocks run, those not run, and the failures."""
    text = (ROOT / page).read_text()
    blocks = blocks_of(text)
    if all(block.reason or block.hidden for block in blocks):
        return 0, blocks, None
    folder = Path(tempfile.mkdtemp(prefix="b2b-book-"))
    shell = None
    try:
        work, tools = folder / "b2b", folder / "bin"
        for part in COPIED:
            (work / part).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, work / part)
        tools.mkdir()
        for profile in ("debug", "release"):
            (work / "target" / profile).mkdir(parents=True)
            (work / "target" / profile / "b2b").symlink_to(program)
        (tools / "b2b").symlink_to(program)
        (tools / "cargo").write_text(CARGO)
        (tools / "cargo").chmod(0o755)
        commands, says = os.pipe(), os.pipe()
        environment = dict(os.environ, PATH=f"{tools}:{os.environ['PATH']}", HOME=str(folder), B2B_EXAMPLES=str(examples),
                           LC_ALL="C.UTF-8")
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        shell = subprocess.Popen(["unshare", *user, "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c",
                                  SHELL], cwd=work, env=environment, stdin=commands[0], stdout=says[1])
        os.close(commands[0]), os.close(says[1])
        printed = {}
        for number, block in enumerate(it for it in blocks if not it.reason):
            source, output, begun = folder / f"block-{number}.sh", folder / f"output-{number}", time.monotonic()
            source.write_text("\n".join(block.text) + "\n")
            output.touch()
            os.write(commands[1], f"{source} {output}\n".encode())
            ready, _, _ = select.select([says[0]], [], [], LONGEST_S)
            said = os.read(says[0], 100).decode().split() if ready else ["failed", "of time", "0"]
            if not said or said[0] != "ok":
                line = block.line + int(said[2]) if said else block.line
                return number, blocks, f"{page}:{line}: exit {said[1] if said else '?'}\n{last(output)}"
            ended = time.monotonic()
            settle("\n".join(block.text), output)
            if times:
                print(f"  {page}:{block.line}: {ended - begun:.1f} s, then {time.monotonic() - ended:.1f} s", flush=True)
            wanted = [(block.line + at, [line.split("# expect:", 1)[1].strip()], "<!-- output -->")
                      for at, line in enumerate(block.text, 1) if "# expect:" in line]
            if write:
                printed.update({it[1]: output for it in block.outputs if it[0] in PRINTED})
            else:
                wanted += [(begun, lines, kind) for kind, begun, _, lines in block.outputs]
            for line, lines, kind in wanted:
                gone = time.monotonic() + 10
                while (absent := missing(kind, lines, output.read_text(errors="replace"))) and time.monotonic() < gone:
                    time.sleep(0.1)
                if absent:
                    return number, blocks, f"{page}:{line}: not printed: {absent}\n{last(output)}"
        if printed:
            rewrite(page, text, blocks, printed)
        return len([it for it in blocks if not (it.reason or it.hidden)]), blocks, None
    finally:
        if shell:
            shell.kill()
            shell.wait()
        shutil.rmtree(folder, ignore_errors=True)


def last(output):
    return "\n".join(output.read_text(errors="replace").splitlines()[-40:])


def settle(text, output):
    """Waits until background programs are ready: servers print READY, phones with a password register."""
    text = re.sub(r"<<'?(\w+)'?(.*)\n(?:.*\n)*?\1\b", r"\2", text)
    commands = re.sub(r"\\\n|\"[^\"]*\"|'[^']*'", " ", text)
    background = re.findall(r"[^\n;&]*(?<!&)&(?![&>])", commands)
    servers = len([it for it in background if re.search(r"\bb2b (--role )?(b2bua|load|media|sink|mixer)\b", it)])
    phones = len([it for it in background if re.search(r"\bb2b (--role )?phone\b", it) and "--password-file" in it and "--no-register" not in it])
    begun = time.monotonic()
    while background and time.monotonic() < begun + 10:
        said = output.read_text(errors="replace")
        if said.count("READY") >= servers and len(re.findall(r"state.{1,3}registered", said)) >= phones:
            break
        time.sleep(0.05)
    # Other programs get a moment.
    time.sleep(0.3 if len(background) > servers + phones else 0)


def rewrite(page, text, blocks, printed):
    lines = text.splitlines()
    outputs = [it for block in blocks for it in block.outputs if it[1] in printed]
    for _, begun, end, _ in sorted(outputs, key=lambda it: -it[1]):
        lines[begun:end - 1] = [line.rstrip() for line in printed[begun].read_text().rstrip("\n").splitlines()]
    (ROOT / page).write_text("\n".join(lines) + "\n")


def main():
    flags = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    flags.add_argument("--binary", default=ROOT / "target" / os.environ.get("B2B_PROFILE", "debug").replace("dev", "debug") / "b2b", type=Path)
    flags.add_argument("--examples", default=ROOT / "target/debug/examples", type=Path)
    flags.add_argument("--write", action="store_true")
    flags.add_argument("--jobs", default=3, type=int, help="pages at once")
    flags.add_argument("--times", action="store_true", help="how long each block took")
    flags.add_argument("page", nargs="*")
    given = flags.parse_args()
    if subprocess.run(["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net", "true"]).returncode:
        print("no network namespace can be made here")
        sys.exit(77)
    if not given.binary.exists():
        sys.exit(f"{given.binary} is not there: cargo build, or --binary")
    ran, reasons, failed, again = 0, [], [], []

    def timed(page):
        begun = time.monotonic()
        return page, *run(page, given.binary.resolve(), given.examples.resolve(), given.write, given.times), time.monotonic() - begun

    def told(page, count, blocks, problem, took):
        shown = len([block for block in blocks if not block.hidden])
        if shown:
            print(f"{page}: {count} of {shown} blocks, {took:.1f} s", flush=True)
        if problem:
            print(problem, flush=True)
        return problem

    # A page mostly waits for calls, so several run at once. A failed one is retried alone.
    with ThreadPoolExecutor(given.jobs) as pool:
        for result in pool.map(timed, pages(given.page)):
            page, count, blocks = result[:3]
            reasons += [(page, block) for block in blocks if block.reason]
            ran += count
            if problem := told(*result):
                if given.jobs > 1 and len(again) < 2:
                    again.append(page)
                else:
                    failed.append(problem.partition("\n")[0])
    for page, block in reasons:
        print(f"not run: {page}:{block.line}: {block.reason}")
    for page in again:
        print(f"---- again, by itself: {page}")
        result = timed(page)
        ran += result[1]
        if problem := told(*result):
            failed.append(problem.partition("\n")[0])
    print(f"{ran} blocks ran, {len(reasons)} did not, {len(failed)} pages failed")
    sys.exit("\n".join(failed) or 0)


main()

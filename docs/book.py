#!/usr/bin/env python3
"""mdBook preprocessor: what a page links to outside of docs/ becomes a chapter of its own, and the link leads there.

So the same link works in the book and where the repository is browsed. A chapter of a file that is not Markdown is a block
of code, that of a folder a list.
"""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
KINDS = {".rs": "rust", ".py": "python", ".toml": "toml", ".sh": "sh", ".json": "json", ".service": "ini"}
LINK = re.compile(r'(\]\(|src="|href=")([^)"\s]+)')


def chapter_of(target):
    """Where the file of this path from the root is in the book, by its path from docs/."""
    target = Path(target)
    if target.parts[:1] == ("docs",) and (target.suffix != ".md" or (ROOT / target).exists()):
        return str(Path(*target.parts[1:]))
    return "repository/" + str(target).removesuffix(".md").lower() + ".md"


def rewritten(text, file, chapter, outside):
    """The text of that file with its links as they are in the book; adds files outside of docs/ to `outside`."""

    def link(found):
        begin, target = found.groups()
        path, mark, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not path:
            return found[0]
        there = os.path.relpath(ROOT / Path(file).parent / path, ROOT)
        if there.startswith(".."):
            return found[0]
        if not there.startswith("docs" + os.sep):
            outside.append(there)
        return begin + os.path.relpath(chapter_of(there), Path(chapter).parent) + mark + anchor

    code, lines = False, []
    for line in text.splitlines(keepends=True):
        fence = line.lstrip().startswith("```")
        code ^= fence
        lines.append(line if code or fence else LINK.sub(link, line))
    return "".join(lines)


def page_of(target):
    """The Markdown of a file or folder outside of docs/."""
    path = ROOT / target
    if path.is_dir():
        files = subprocess.check_output(["git", "ls-files", "."], cwd=path, text=True).split()
        own = [name for name in files if name.endswith(".md")] or [name for name in files if "/" not in name]
        return f"# {target}/\n\n" + "".join(f"- [{name}]({name})\n" for name in own), target + "/index.md"
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".md":
        return text, target
    return f"# {target}\n\n````{KINDS.get(path.suffix, 'text')}\n{text}\n````\n", target


def main():
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0)
    _, book = json.load(sys.stdin)
    items = book["items" if "items" in book else "sections"]       # sections: mdbook before 0.5
    wanted = []

    def walk(items):
        for item in items:
            chapter = item.get("Chapter") if isinstance(item, dict) else None
            if chapter and chapter["path"]:
                own = chapter["path"]
                chapter["content"] = rewritten(chapter["content"], f"docs/{own}", own, wanted)
            if chapter:
                walk(chapter["sub_items"])

    walk(items)
    done, files = set(), []
    while wanted:
        target = wanted.pop().rstrip("/")
        if target in done or not (ROOT / target).exists():
            continue
        done.add(target)
        text, file = page_of(target)
        chapter = chapter_of(target)
        content = rewritten(text, file, chapter, wanted) if text and file.endswith(".md") else text
        files.append({"Chapter": {"name": target, "content": content, "number": None, "sub_items": [], "path": chapter,
                                  "source_path": None, "parent_names": ["Files of the repository"]}})
    files.sort(key=lambda it: it["Chapter"]["name"])
    # The contents go by numbers, which are not shown.
    for at, file in enumerate(files, 1):
        file["Chapter"]["number"] = [99, at]
    if files:
        items.append({"PartTitle": "The repository"})
        items.append({"Chapter": {"name": "Files of the repository", "content": "", "number": [99],
                                  "sub_items": files, "path": None, "source_path": None, "parent_names": []}})
    json.dump(book, sys.stdout)


main()

#!/usr/bin/env python3
"""Checks that each link of the built book leads to an existing page and anchor: scripts/check-links.py [target/book]"""
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src") and tag in ("a", "img", "link", "script") and value:
                self.links.append(value)
            elif name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)


def main():
    book = Path(sys.argv[1] if len(sys.argv) > 1 else "target/book").resolve()
    # The print page repeats them; the 404 page has links from the site's root.
    files = [it for it in book.rglob("*.html") if it.name not in ("print.html", "404.html", "toc.html")]
    pages = {it: Page(it.read_text(encoding="utf-8")) for it in files}
    seen, dead = 0, []
    for file, page in pages.items():
        for link in page.links:
            at = urlsplit(link)
            if at.scheme or at.netloc:
                continue
            seen += 1
            target = (file.parent / unquote(at.path)).resolve() if at.path else file
            there = pages.get(target)
            if not target.is_file() or (at.fragment and there and unquote(at.fragment) not in there.anchors):
                dead.append(f"{file.relative_to(book)}: {link}")
    print(f"{len(pages)} pages, {seen} links, {len(dead)} of them dead")
    print("\n".join(sorted(set(dead))))
    sys.exit(1 if dead or len(pages) < 60 else 0)


main()

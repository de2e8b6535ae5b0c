"""Check that every link inside the built site leads to a file, and to a place in it: `make docs-links`.

Sphinx checks what it resolves itself. This reads what a browser gets, so that templates, the contents at the
side and raw HTML are checked as well. Run as a program:

    python tools/site_links.py .docs/html
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the places that links may name."""

    def __init__(self, path: Path) -> None:
        """Read the page."""
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = {"", "top"}
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect, as the parser meets a tag."""
        for name, value in attrs:
            if value and name in ("id", "name"):
                self.places.add(value)
            if value and name in ("href", "src") and tag != "base":
                self.links.add(value)


def lost(root: Path) -> list[str]:
    """Return each link that leads nowhere, with its page."""
    pages = {path.resolve(): Page(path) for path in sorted(root.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            if not target.is_file() or (known and unquote(parts.fragment) not in known.places):
                found.append(f"{path.relative_to(root.resolve())}: {link}")
    return found


if __name__ == "__main__":
    nowhere = lost(Path(sys.argv[1]))
    print(*nowhere, sep="\n", end="\n" if nowhere else "")
    sys.exit(f"{len(nowhere)} links lead nowhere" if nowhere else 0)

"""Frees the pages that `asv publish` wrote from the network: `python tools/asv_page/offline.py .asv/html`.

Holds: where each script and style sheet that asv's page loads from other hosts lies on this machine (in the
packages of requirements-asv-page.txt, or in this folder, for small scripts that no package carries), and the
rewriting of the page's tags. A tag that it does not know is an error, never a page that works only with a
network. Knows nothing of the benchmarks or of alexpy. One pass over the page.
"""

from __future__ import annotations

import re
import shutil
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent

FLOT = ("js.jquery-flot", "js/jquery_flot/resources")
# What the page asks for, by the file's name without its version: the package that carries it, and the folder
# therein.
PACKAGED = {
    "jquery.min.js": ("XStatic-jQuery", "xstatic/pkg/jquery/data"),
    "jquery.flot.min.js": FLOT,
    "jquery.flot.time.min.js": FLOT,
    "jquery.flot.selection.min.js": FLOT,
    "jquery.flot.categories.min.js": FLOT,
    "bootstrap.min.js": ("js.bootstrap", "js/bootstrap/resources/js"),
    "bootstrap.min.css": ("js.bootstrap", "js/bootstrap/resources/css"),
}
# What no package carries: the script of this folder that does what asv asks of it.
OURS = {
    "jquery.flot.orderBars.js": "orderbars.js",
    "stupidtable.min.js": "stupidtable.js",
    "md5.min.js": "md5.js",
}

SCRIPT_OR_STYLE = re.compile(r"<(?:script|link)\b[^>]*>", re.IGNORECASE)
# A reference to another host, with its scheme or without; the integrity beside it is of that host's file.
ELSEWHERE = re.compile(r"""\b(src|href)=["']((?:https?:)?//[^"']*)["']""", re.IGNORECASE)
OF_ELSEWHERE = re.compile(r"""\s(?:integrity|crossorigin|referrerpolicy)=["'][^"']*["']""", re.IGNORECASE)


class UnknownScriptError(Exception):
    """The page loads something that PACKAGED and OURS do not name."""


def offline(page: str) -> tuple[str, list[str]]:
    """The page with every script and style sheet beside it, and the names of those that must be put there."""
    names: list[str] = []

    def beside(tag: re.Match[str]) -> str:
        address = ELSEWHERE.search(tag[0])
        if address is None:
            return tag[0]
        name = re.sub(r"-\d+(?:\.\d+)*(?=\.)", "", address[2].rsplit("/", 1)[-1])
        if name not in PACKAGED and name not in OURS:
            raise UnknownScriptError(
                f"asv's page loads {address[2]}, which would need a network: name a package that carries it "
                "in tools/asv_page/offline.py, and add that package to the group asv-page in pyproject.toml"
            )
        names.append(name)
        return OF_ELSEWHERE.sub("", ELSEWHERE.sub(rf'\1="{name}"', tag[0]))

    return SCRIPT_OR_STYLE.sub(beside, page), names


def source(name: str) -> Path:
    """The file on this machine that stands in for the one that the page calls `name`."""
    if name in OURS:
        return HERE / OURS[name]
    package, folder = PACKAGED[name]
    return Path(str(metadata.distribution(package).locate_file(folder))) / name


def main(folder: Path) -> None:
    """Put what `folder`/index.html loads beside it, then rewrite it: a failure leaves it as it is."""
    index = folder / "index.html"
    page, names = offline(index.read_text(encoding="utf-8"))
    for name in names:
        shutil.copyfile(source(name), folder / name)
    index.write_text(page, encoding="utf-8")
    print(f"{index} loads nothing from another host; `asv preview` shows it (it reads its data by http)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

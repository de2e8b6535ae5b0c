"""A self-contained HTML page of one run: the plots inside it, the tables of docs/performance.md as HTML."""

from __future__ import annotations

import base64
import html
import re
from typing import TYPE_CHECKING, Any

from .text import markdown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_STYLE = """
:root { color-scheme: light; } body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff;
max-width: 1240px; margin: 2rem auto;
  padding: 0 1.5rem; }
h1 { font-size: 1.9rem; margin-bottom: .3rem; } h2 { margin-top: 2.4rem; border-bottom: 1px solid #ddd; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; margin: .6rem 0; } th, td {
padding: .28rem .6rem; border-bottom: 1px solid #e5e5e5; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; white-space:
normal;
  min-width: 19rem; }
th { vertical-align: bottom; background: #f6f6f6; } tr:hover td { background: #faf6f0; }
td strong { color: #b34700; } img { max-width: 100%; } figure { margin: 1.2rem 0; }
figcaption { color: #555; font-size: 13px; }
code, pre { background: #f4f4f4; padding: .1rem .3rem; border-radius: 3px; } pre { padding: .7rem; }
"""


def page(run: Mapping[str, Any], plots: Sequence[tuple[Path, str]], raw: str) -> str:
    """Return the page. `plots` are (path, caption); `raw` names the JSON file that it was made from."""
    data = [
        (f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}", caption)
        for path, caption in plots
    ]
    body = _as_html(markdown(run, data, raw))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>alexpy: performance</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _as_html(text: str) -> str:
    """Turn the Markdown that `text` writes, and no other, into HTML."""
    return "\n".join(_block(block) for block in text.strip().split("\n\n"))


def _block(block: str) -> str:
    if block.startswith("```"):
        return f"<pre>{html.escape(block.strip('`').removeprefix('console').strip())}</pre>"
    if heading := re.match(r"(#+) (.*)", block):
        level = len(heading[1])
        return f"<h{level}>{_inline(heading[2])}</h{level}>"
    if block.startswith("|"):
        return _table(block.splitlines())
    if block.startswith("- "):
        items = re.split(r"\n(?=- )", block)
        return "<ul>" + "".join(f"<li>{_inline(item[2:])}</li>" for item in items) + "</ul>"
    if image := re.fullmatch(r"!\[(.*)\]\((.*)\)", block):
        return f'<figure><img alt="{html.escape(image[1])}" src="{image[2]}"></figure>'
    return f"<p>{_inline(block)}</p>"


def _table(lines: Sequence[str]) -> str:
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in split[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in cells) + "</tr>" for cells in split[2:]
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _inline(text: str) -> str:
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    escaped = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", escaped)
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", escaped)

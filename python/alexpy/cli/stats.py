"""`alexpy stats`: what a store holds, and what space it takes."""

from __future__ import annotations

from dataclasses import asdict

import click

from . import output, text
from .opening import reader
from .options import as_json, examples, store_path


@click.command(
    "stats",
    short_help="Show what a store holds and takes.",
    epilog=examples("alexpy stats flights", "alexpy stats flights --json"),
)
@store_path
@as_json
def stats(store: str, *, json: bool) -> None:
    """Show how many keys the store holds, and what it takes on disk and in memory."""
    with reader(store) as opened:
        chosen = {"key_kind": opened.key_kind, "codec": opened.codec_name, "compression": opened.compression}
        figures = {**chosen, **asdict(opened.stats())}
    if json:
        output.write(text.json_line(figures))
        return
    width = max(map(len, figures))
    for name, value in figures.items():
        output.write_text(f"{name:<{width}}  {_shown(name, value)}")


def _shown(name: str, value: object) -> str:
    if value is None:
        return "-"
    if not isinstance(value, int):
        return str(value)
    return f"{value:,} ({text.byte_count(value)})" if name.endswith("_bytes") else f"{value:,}"

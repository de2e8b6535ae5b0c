"""`alexpy stats`: what a store holds, and what space it takes."""

from __future__ import annotations

from dataclasses import asdict

import click

import alexpy

from . import output, text
from .options import as_json, config_from_env, store_path


@click.command("stats", short_help="Show what a store holds and takes.")
@store_path
@as_json
def stats(store: str, *, json: bool) -> None:
    """Show how many keys the store holds, and what it takes on disk and in memory."""
    with alexpy.open(store, read_only=True, config=config_from_env()) as opened:
        figures = asdict(opened.stats())
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

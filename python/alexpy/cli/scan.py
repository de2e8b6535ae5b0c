"""`alexpy scan`: the items of a key range, in order."""

from __future__ import annotations

import click

from . import keys, output
from .meaning import meaning_of
from .opening import reader
from .options import as_json, examples, start_option, stop_option, store_path


@click.command(
    "scan",
    short_help="Show a range of items in key order.",
    epilog=examples(
        "alexpy scan flights",
        "alexpy scan flights --start 2 --stop 4",
        "alexpy scan flights --reverse --limit 1      # the last one",
        "alexpy scan flights --json",
        "alexpy scan readings --start 2026-11-29 --stop 2026-11-30    # a day",
    ),
)
@store_path
@start_option
@stop_option
@click.option("--reverse", is_flag=True, help="From the highest key down; START and STOP keep their meaning.")
@click.option("--limit", type=click.IntRange(min=0), help="At most so many items.")
@as_json
def scan(
    store: str, start: str | None, stop: str | None, limit: int | None, *, reverse: bool, json: bool
) -> None:
    r"""Show the items with START <= key < STOP in key order, a line each: key, tab, value.

    A value that is not one line of text is shown as Python writes bytes. With --json a line is
    {"key": ..., "value": ...}, or for a value that is not UTF-8 {"key": ..., "value_base64": ...}. Values of
    stores of JSON, arrays and records (alexpy.codecs) are shown as JSON, and are JSON in that of --json.
    """
    with reader(store) as opened:
        meaning = meaning_of(opened)
        line = meaning.json if json else meaning.line
        found = opened.scan(*keys.bounds(start, stop, opened.key_kind), reverse=reverse, limit=limit)
        output.write_lines(line(key, value) for key, value in found)

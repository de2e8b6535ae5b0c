"""`alexpy checkpoint`: make the next opening fast."""

from __future__ import annotations

import click

from . import output, text
from .opening import writer
from .options import as_json, examples, store_path


@click.command(
    "checkpoint",
    short_help="Write an image of the index, for fast opening.",
    epilog=examples("alexpy checkpoint flights"),
)
@store_path
@as_json
def checkpoint(store: str, *, json: bool) -> None:
    """Write an image of STORE's index, so that the next opening starts from it instead of reading the log.

    Writers do this by themselves; this is for a store whose writer was killed, or before it is copied.
    """
    with writer(store) as opened:
        before = opened.stats().tail_bytes
        opened.checkpoint()
        after = opened.stats().tail_bytes
    if json:
        output.report_json({"tail_bytes_before": before, "tail_bytes": after})
    else:
        output.report(
            f"the next opening of {store} reads {text.byte_count(after)} of log "
            f"(before: {text.byte_count(before)})"
        )

"""`alexpy compact`: gives the disk space of overwritten and deleted values back."""

from __future__ import annotations

from dataclasses import asdict

import click

from . import output, text
from .opening import writer
from .options import as_json, examples, store_path
from .progress import progress


@click.command(
    "compact",
    short_help="Give the space of dead values back.",
    epilog=examples("alexpy compact flights", "alexpy compact flights --json"),
)
@store_path
@as_json
def compact(store: str, *, json: bool) -> None:
    """Copy STORE's live values together and remove the files that hold only dead ones.

    Needs free space for one more file; a store that is being written by another program is refused.
    """
    with (
        writer(store) as opened,
        progress("compacting", "bytes", quiet=json) as show,
    ):
        before = opened.stats().disk_bytes
        report = opened.compact(show)
        after = opened.stats().disk_bytes
    if json:
        output.report_json({**asdict(report), "disk_bytes_before": before, "disk_bytes": after})
        return
    output.report(
        f"removed {text.count(report.freed_segments, 'file')}, moved {text.byte_count(report.moved_bytes)}; "
        f"the store takes {text.byte_count(after)} (before: {text.byte_count(before)})"
    )

"""`alexpy compact`: gives the disk space of overwritten and deleted values back."""

from __future__ import annotations

from dataclasses import asdict

import click

import alexpy

from . import output, text
from .options import as_json, config_from_env, store_path
from .progress import byte_progress


@click.command("compact", short_help="Give the space of dead values back.")
@store_path
@as_json
def compact(store: str, *, json: bool) -> None:
    """Copy STORE's live values together and remove the files that hold only dead ones.

    Needs free space for one more file; a store that is being written by another program is refused.
    """
    with (
        alexpy.open(store, create=False, config=config_from_env()) as opened,
        byte_progress("compacting", quiet=json) as progress,
    ):
        before = opened.stats().disk_bytes
        report = opened.compact(progress)
        after = opened.stats().disk_bytes
    if json:
        output.write(text.json_line({**asdict(report), "disk_bytes_before": before, "disk_bytes": after}))
        return
    files = "1 file" if report.freed_segments == 1 else f"{report.freed_segments:,} files"
    output.write_text(
        f"removed {files}, moved {text.byte_count(report.moved_bytes)}; "
        f"the store takes {text.byte_count(after)} (before: {text.byte_count(before)})"
    )

"""`alexpy repair`: copies what can be read of a damaged store into a new one."""

from __future__ import annotations

from typing import Literal

import click

import alexpy

from . import output, text
from .options import BAD_INPUT, Stopped, as_json, store_path
from .progress import byte_progress


@click.command("repair", short_help="Copy what can be read of a damaged store into a new one.")
@store_path
@click.argument("dest")
@click.option(
    "--mode",
    type=click.Choice(["point_in_time", "salvage"]),
    default="point_in_time",
    show_default=True,
    help="Keep what was there before the first damage, or every value that can be read.",
)
@as_json
def repair(store: str, dest: str, mode: Literal["point_in_time", "salvage"], *, json: bool) -> None:
    """Copy what can be read of STORE, which is not changed, into a new store in the directory DEST.

    "salvage" also reads after damage and without a manifest; if the record of a deletion is damaged, that
    key comes back.
    """
    try:
        with byte_progress("repairing", quiet=json) as progress:
            report = alexpy.repair(store, dest, mode=mode, progress=progress)
    except ValueError as error:
        raise Stopped(str(error), BAD_INPUT) from error
    places = [{"path": str(path), "offset": offset, "length": size} for path, offset, size in report.damaged]
    if json:
        figures = {"kept": report.kept, "lost": report.lost, "damaged": places}
        output.write(text.json_line({**figures, "salvage_keeps": report.salvage_keeps}))
        return
    for place in places:
        output.write_text(f"{place['path']} is damaged at offset {place['offset']}, {place['length']} bytes")
    output.write_text(f"{report.kept:,} keys kept in {dest}, {report.lost:,} records lost")
    if report.salvage_keeps is not None:
        output.write_text(f"--mode salvage, into another directory, keeps {report.salvage_keeps:,} keys")

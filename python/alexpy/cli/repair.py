"""`alexpy repair`: copies what can be read of a damaged store into a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

import alexpy

from . import output, text
from .opening import no_directory_for, no_store
from .options import BAD_INPUT, NOT_FOUND, Stopped, as_json, completed_as, examples, store_path
from .progress import progress


@click.command(
    "repair",
    short_help="Copy what can be read of a damaged store into a new one.",
    epilog=examples(
        "alexpy repair flights before-the-damage",
        "alexpy repair flights all-that-is-readable --mode salvage",
    ),
)
@store_path
@click.argument("dest", shell_complete=completed_as("dir"))
@click.option(
    "--mode",
    type=click.Choice(["point_in_time", "salvage"]),
    default="point_in_time",
    show_default=True,
    help="Keep what was there before the first damage, or every value that can be read.",
)
@click.option(
    "--codec",
    metavar="NAME",
    help="What the values are, if both copies of the manifest are gone, which alone name it: text, json ...",
)
@as_json
def repair(
    store: str, dest: str, mode: Literal["point_in_time", "salvage"], codec: str | None, *, json: bool
) -> None:
    """Copy what can be read of STORE, which is not changed, into a new store in the directory DEST.

    "salvage" also reads after damage and without a manifest; if the record of a deletion is damaged, that
    key comes back. If there was damage, the exit code is 1.
    """
    try:
        with progress("repairing", "bytes", quiet=json) as show:
            report = alexpy.repair(store, dest, mode=mode, codec=codec, progress=show)
    except FileNotFoundError as error:
        if not Path(store).exists():
            raise no_store(store) from error
        raise (error if Path(dest).absolute().parent.exists() else no_directory_for(dest)) from error
    except ValueError as error:
        raise Stopped(str(error), BAD_INPUT) from error
    places = [{"path": str(path), "offset": offset, "length": size} for path, offset, size in report.damaged]
    if json:
        figures = {"kept": report.kept, "lost": report.lost, "damaged": places}
        output.report_json({**figures, "salvage_keeps": report.salvage_keeps})
    else:
        for place in places:
            output.write_text(
                f"{place['path']} is damaged at offset {place['offset']}, {place['length']} bytes"
            )
        output.report(
            f"{text.count(report.kept, 'key')} kept in {dest}, {text.count(report.lost, 'record')} lost; "
            f"{store} was not changed"
        )
    if not report or report.salvage_keeps is not None:
        raise Stopped(_lost(report), NOT_FOUND)


def _lost(report: alexpy.RepairReport) -> str:
    lost = "there is damage, and nobody knows what was there"
    if report.lost:
        lost = f"{text.count(report.lost, 'record')} could not be kept"
    if report.salvage_keeps is None:
        return lost
    return f"{lost}; --mode salvage, into another directory, keeps {text.count(report.salvage_keeps, 'key')}"

"""`alexpy verify`: checks whether every byte of a store is what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

import alexpy
from alexpy import _alexpy
from alexpy.errors import CorruptionError

from . import output, text
from .options import STORE_ERROR, Stopped, as_json, config_from_env, store_path
from .progress import byte_progress

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command("verify", short_help="Check every byte of a store.")
@store_path
@as_json
def verify(store: str, *, json: bool) -> None:
    """Check every byte of STORE's files against its checksum, and the index against the log; change nothing.

    Prints each damaged place and exits with 3 if there is any. A store that is too damaged to be opened is
    checked file by file.
    """
    with byte_progress("verifying", quiet=json) as progress:
        report = _verify(store, progress)
    places = [_place(error) for error in report.errors]
    if json:
        figures = {"ok": report.ok, "records": report.records, "bytes": report.bytes, "errors": places}
        output.write(text.json_line(figures))
    else:
        for place in places:
            output.write_text(str(place["error"]))
        output.write_text(f"{report.records:,} records, {text.byte_count(report.bytes)} read")
    if not report.ok:
        damage = "1 damaged place" if len(places) == 1 else f"{len(places):,} damaged places"
        raise Stopped(f"{store} has {damage}", STORE_ERROR)


def _verify(store: str, progress: Callable[[int, int], object]) -> alexpy.VerifyReport:
    try:
        with alexpy.open(store, read_only=True, config=config_from_env()) as opened:
            return opened.verify(progress)
    except CorruptionError as error:
        records, size, errors = _alexpy._verify_files(store, progress)  # noqa: SLF001
        # The store can be damaged even if each file is whole by itself.
        return alexpy.VerifyReport(records, size, tuple(errors) or (error,))


def _place(error: Exception) -> dict[str, object]:
    return {
        "error": str(error),
        "path": None if (path := getattr(error, "path", None)) is None else str(path),
        "offset": getattr(error, "offset", None),
    }

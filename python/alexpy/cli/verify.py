"""`alexpy verify`: checks whether every byte of a store is what was written."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

import alexpy
from alexpy import _alexpy
from alexpy.errors import CorruptionError

from . import output, text
from .messages import damage
from .opening import reader
from .options import STORE_ERROR, Stopped, as_json, examples, store_path
from .progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command(
    "verify",
    short_help="Check every byte of a store.",
    epilog=examples("alexpy verify flights", "alexpy verify flights --json"),
)
@store_path
@as_json
def verify(store: str, *, json: bool) -> None:
    """Check every byte of STORE's files against its checksum, and the index against the log; change nothing.

    Prints "ok" and what was read; or each damaged place, and exits with 3. A store that is too damaged to be
    opened is checked file by file.
    """
    with progress("verifying", "bytes", quiet=json) as show:
        report = _verify(store, show)
    places = [_place(error) for error in report.errors]
    if json:
        figures = {"ok": report.ok, "records": report.records, "bytes": report.bytes, "errors": places}
        output.write(text.json_line(figures))
    else:
        for place in places:
            output.write_text(str(place["error"]))
        ok = "ok: " if report.ok else ""
        read = f"{text.count(report.records, 'record')}, {text.byte_count(report.bytes)} read"
        output.write_text(f"{ok}{read}")
    if not report.ok:
        raise Stopped(
            f"{store} has {text.count(len(places), 'damaged place')}; nothing was changed; "
            f"`alexpy repair {shlex.quote(store)} NEW --mode salvage` copies every value that can be read",
            STORE_ERROR,
        )


def _verify(store: str, show: Callable[[int, int], object]) -> alexpy.VerifyReport:
    try:
        with reader(store) as opened:
            return opened.verify(show)
    except CorruptionError as error:
        records, size, errors = _alexpy._verify_files(store, show)  # noqa: SLF001
        # The store can be damaged even if each file is whole by itself.
        return alexpy.VerifyReport(records, size, tuple(errors) or (error,))


def _place(error: Exception) -> dict[str, object]:
    return {
        "error": damage(error) if isinstance(error, CorruptionError) else str(error),
        "path": None if (path := getattr(error, "path", None)) is None else str(path),
        "offset": getattr(error, "offset", None),
    }

"""Progress of long work on standard error: a bar on a terminal, else a plain line now and then.

Knows rows and bytes; must not know stores. Standard output is for results only.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress as Bar
    from rich.progress import ProgressColumn

_SECONDS_BETWEEN_LINES = 5.0

Unit: TypeAlias = Literal["bytes", "rows"]


class Progress(Protocol):
    """Called after each step with how far the work is."""

    def __call__(self, rows: int, bytes_read: int) -> None:
        """Show that `rows` rows are done and `bytes_read` bytes of the input read, both in all."""


def _is_watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def load_progress(title: str, bytes_total: int | None, *, quiet: bool) -> Iterator[Progress]:
    """Show the progress of a load: nothing if `quiet`, a bar on a terminal, else plain lines."""
    if quiet:
        yield lambda rows, bytes_read: None  # noqa: ARG005 - the names belong to the protocol
    elif _is_watched():
        with _bar("bytes", rows_too=True) as bar:
            task = bar.add_task(title, total=bytes_total, rows=0)
            yield lambda rows, bytes_read: bar.update(task, completed=bytes_read, rows=rows)
    else:
        say = _lines(title)

        def show(rows: int, bytes_read: int) -> None:
            share = f", {bytes_read / bytes_total:.0%} of the file" if bytes_total else ""
            say(f"{rows:,} rows{share}")

        yield show


@contextmanager
def progress(title: str, unit: Unit, *, quiet: bool) -> Iterator[Callable[[int, int], object]]:
    """Like `load_progress`, for work whose end is known: called with what is done and the total."""
    if quiet:
        yield lambda done, total: None  # noqa: ARG005 - the names belong to the protocol
    elif _is_watched():
        with _bar(unit) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        say = _lines(title)
        yield lambda done, total: say(f"{done / max(total, 1):.0%}")


def _bar(unit: Unit, *, rows_too: bool = False) -> Bar:
    # Imported only if a bar is drawn: importing rich takes longer than a small load.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True) if unit == "bytes" else MofNCompleteColumn(),
    ]
    if unit == "rows":
        columns.append(TextColumn("rows"))
    if rows_too:
        columns.append(TextColumn("{task.fields[rows]:,} rows"))
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)


def _lines(title: str) -> Callable[[str], None]:
    """Return what says a line, but not more often than every few seconds."""
    next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    def say(how_far: str) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            click.echo(f"{title}: {how_far}", err=True)

    return say

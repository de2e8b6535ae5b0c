"""Progress of long work on standard error: a bar on a terminal, else a plain line now and then.

Knows rows and bytes; must not know stores. Standard output is for results only.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SECONDS_BETWEEN_LINES = 5.0


class Progress(Protocol):
    """Called after each step with how far the work is."""

    def __call__(self, rows: int, bytes_read: int) -> None:
        """Show that `rows` rows are done and `bytes_read` bytes of the input read, both in all."""


def _is_watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def progress(title: str, bytes_total: int | None, *, quiet: bool) -> Iterator[Progress]:
    """Show the progress of one piece of work: nothing if `quiet`, a bar on a terminal, else plain lines."""
    if quiet:
        yield lambda rows, bytes_read: None  # noqa: ARG005 - the names belong to the protocol
    elif _is_watched():
        with _bar(title, bytes_total) as show:
            yield show
    else:
        yield _lines(title, bytes_total)


@contextmanager
def byte_progress(title: str, *, quiet: bool) -> Iterator[Callable[[int, int], object]]:
    """Like `progress`, for work that counts bytes only: called with the bytes done and the total."""
    if quiet:
        yield lambda done, total: None  # noqa: ARG005 - the names belong to the protocol
    elif _is_watched():
        with _byte_bar(title) as show:
            yield show
    else:
        next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

        def show_line(done: int, total: int) -> None:
            nonlocal next_line
            if time.monotonic() >= next_line:
                next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
                click.echo(f"{title}: {done / max(total, 1):.0%}", err=True)

        yield show_line


@contextmanager
def _byte_bar(title: str) -> Iterator[Callable[[int, int], object]]:
    # Imported late, as in `_bar`.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _bar(title: str, bytes_total: int | None) -> Iterator[Progress]:
    # Imported only if a bar is drawn: importing rich takes longer than a small load.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=bytes_total, rows=0)
        yield lambda rows, bytes_read: bar.update(task, completed=bytes_read, rows=rows)


def _lines(title: str, bytes_total: int | None) -> Progress:
    next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    def show(rows: int, bytes_read: int) -> None:
        nonlocal next_line
        if time.monotonic() < next_line:
            return
        next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        share = f", {bytes_read / bytes_total:.0%} of the file" if bytes_total else ""
        click.echo(f"{title}: {rows:,} rows{share}", err=True)

    return show

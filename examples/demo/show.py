"""What the demo prints, and the count of answers that were wrong."""

from __future__ import annotations

import textwrap
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH = 100


class Checks:
    """Counts answers compared and answers that differ; the demo fails if any does."""

    def __init__(self) -> None:
        self.right = 0
        self.wrong: list[str] = []

    def same(self, what: str, got: object, expected: object) -> bool:
        """Compare one answer with what it must be, and print it only if it is wrong."""
        if got == expected:
            self.right += 1
            return True
        self.wrong.append(what)
        print(f"\nWRONG ANSWER: {what}\n  got      {got!r:.200}\n  expected {expected!r:.200}\n")
        return False


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Put the seconds that the block took into the list."""
    seconds: list[float] = []
    began = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - began)


def heading(title: str) -> None:
    """Begin a part of the demo."""
    print(f"\n{title}\n{'-' * len(title)}")


def say(text: str, indent: int = 0) -> None:
    """Print a paragraph."""
    margin = " " * indent
    print(textwrap.fill(" ".join(text.split()), WIDTH, initial_indent=margin, subsequent_indent=margin))


def duration(seconds: float) -> str:
    """Return a time as people read it."""
    if seconds < 1e-3:  # noqa: PLR2004
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms" if seconds >= 0.01 else f"{seconds * 1e3:.1f} ms"  # noqa: PLR2004
    return f"{seconds:.2f} s"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, its columns aligned: text left, figures right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
        if number == 0:
            rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
            lines.append(f"| {' | '.join(rules)} |")
    return "\n".join(lines)

"""What the examples share: their options, the judge's verdict, and times beside.

An example calls `run` with a function that builds a store and puts its answers beside those of another
program, the judge. Whatever is timed is an answer, and every answer is compared.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Answers = TypeVar("Answers")

ROUNDS = 3
SEED = 20


class Judge:
    """Compares answers with those of another program, and times both sides in turns."""

    def __init__(self, folder: Path, questions: int) -> None:
        self.folder = folder
        self.questions = questions
        self.agrees = True
        self._rows = [("work", "the other way", "its time", "alexpy", "alexpy is")]

    def loaded(self, what: str, began: float) -> None:
        """Say what was loaded since `began`, a value of `time.perf_counter`."""
        print(f"loaded: {what}, in {duration(time.perf_counter() - began)}", flush=True)

    def same(
        self,
        what: str,
        theirs: Iterable[object],
        ours: Iterable[object],
        verdict: str | None = "all equal",
    ) -> None:
        """Compare answers one by one, and print the verdict unless it is None, or what differs."""
        expected, found = list(theirs), list(ours)
        pairs = zip(expected, found, strict=False)
        wrong = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
        if wrong is None and len(expected) == len(found) > 0:
            if verdict is not None:
                print(f"judge:  {len(found):,} {what}, {verdict}", flush=True)
            return
        self.agrees = False
        print(f"WRONG:  {what}: {len(expected):,} answers expected, {len(found):,} found")
        if wrong is not None:
            print(f"  number {wrong:,} is {found[wrong]!r:.200}\n  and should be {expected[wrong]!r:.200}")

    def beside(
        self,
        work: str,
        rival: str,
        theirs: Callable[[], Answers],
        ours: Callable[[], Answers],
        answers: Callable[[Answers], Iterable[object]] = iter,  # type: ignore[assignment]
    ) -> None:
        """Time the same work on both sides in turns, warm, and compare the `answers` of each turn."""
        seconds: tuple[list[float], list[float]] = ([], [])
        gc.collect()
        gc.disable()  # or a collection falls into the time of one side or the other by chance
        for _ in range(1 + ROUNDS):
            results: list[Answers] = []
            for side, took in zip((theirs, ours), seconds, strict=True):
                began = time.perf_counter()
                results.append(side())
                took.append(time.perf_counter() - began)
            self.same(f"{work}, {rival}", answers(results[0]), answers(results[1]), None)
        gc.enable()
        one, other = (statistics.median(took[1:]) for took in seconds)
        ratio = f"{one / other:.1f}x faster" if one >= other else f"{other / one:.1f}x slower"
        if ratio.startswith("1.0x"):
            ratio = "as fast"
        self._rows.append((work, rival, duration(one), duration(other), ratio))

    def disk(self, **paths: list[Path]) -> None:
        """Say what closed stores, and the files of the other side, take on the disk."""
        sizes = {name: sum(map(allocated, files)) / 1e6 for name, files in paths.items()}
        print(f"disk:   {', '.join(f'{name} {size:.1f} MB' for name, size in sizes.items())}")

    def table(self) -> str:
        """Return the times as a Markdown table: text left, figures right."""
        widths = [max(map(len, column)) for column in zip(*self._rows, strict=True)]
        rule = tuple("-" * width for width in widths[:2]) + tuple(
            "-" * (width - 1) + ":" for width in widths[2:]
        )
        lines = []
        for row in (self._rows[0], rule, *self._rows[1:]):
            text = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
            text += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
            lines.append(f"| {' | '.join(text)} |")
        return "\n".join(lines)


def run(about: str, example: Callable[[Judge], None], packages: tuple[str, ...], questions: int) -> int:
    """Read the options, run the example, and return the exit code: 1 if the judge disagrees."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--folder", type=Path, help="a new folder for its stores, which stay; else a temporary one"
    )
    parser.add_argument(
        "--questions", type=int, default=questions, help=f"how many to ask (default {questions:,})"
    )
    options = parser.parse_args()
    if options.folder is not None and options.folder.exists():
        parser.error(f"{options.folder} is already there; --folder takes a new one")
    with tempfile.TemporaryDirectory(prefix="alexpy-real-") as temporary:
        judge = Judge(options.folder or Path(temporary), options.questions)
        judge.folder.mkdir(parents=True, exist_ok=True)
        print(about.splitlines()[0])
        build = alexpy.build_info()
        theirs = ", ".join(f"{name} {version(name)}" for name in packages)
        print(
            f"with:   alexpy {build['version']} ({build['profile']} build, {build['simd']}), {theirs}",
            flush=True,
        )
        example(judge)
    verdict = f"Medians of {ROUNDS} runs in turns, warm, {os.cpu_count()} CPUs; every answer compared."
    print(f"\n{judge.table()}\n\n{verdict if judge.agrees else 'THE JUDGE DISAGREES.'}")
    return 0 if judge.agrees else 1


def allocated(path: Path) -> int:
    """Return the bytes that a file, or all in a folder, takes on the disk."""
    files = [path, *path.rglob("*")]
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file())


def duration(seconds: float) -> str:
    """Return a time as people read it: three digits and a unit."""
    units = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
    unit = next((unit for unit, size in units.items() if seconds >= size), "us")
    digits = f"{seconds / units[unit]:#.3g}".rstrip(".")
    return f"{digits} {unit}"

"""One worker's notebook: clocks, checks, memory and disk. Knows neither engines nor workloads.

A figure is a dict: `seconds` and `count`, or `bytes`, or percentiles in nanoseconds, or `lacks` with a
reason.
"""

from __future__ import annotations

import gc
import statistics
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .engine import Lacks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_T = TypeVar("_T")
_CLOCK_READINGS = 10_000
_ROUNDS = 7
# No further round begins after this: a slow engine gets fewer.
_SECONDS_OF_ROUNDS = 3


class WrongAnswer(Exception):  # noqa: N818 - it is the engine's answer that is wrong
    """An engine gave a wrong answer; the figures of its run are void."""


class Bench:
    """Collects the figures of one engine in one process."""

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, Any]] = {}
        self.checked = 0
        self.memory: dict[str, int] = {}
        # A garbage collection would add to the time of some engine by chance.
        gc.disable()

    def timed(
        self, cell: str, count: int, work: Callable[[], _T], right: Callable[[_T], bool] | None = None
    ) -> None:
        """Time `work` as `count` operations of `cell`; then check its answer, its clock stopped."""
        gc.collect()
        try:
            began = time.perf_counter()
            answer = work()
            seconds = time.perf_counter() - began
        except Lacks as reason:
            self.lacks(cell, str(reason))
            return
        self.seconds(cell, seconds, count)
        if right is not None:
            self.check(cell, right=right(answer))

    def in_turn(self, works: Mapping[str, Callable[[], float]], count: int) -> None:
        """Do the works of some cells in turn, several times over, as `count` operations each.

        A work returns the seconds that counted, and checks its answer itself. Medians are recorded.
        """
        taken: dict[str, list[float]] = {cell: [] for cell in works}
        began = time.perf_counter()
        for number in range(_ROUNDS):
            for cell in list(works)[:: -1 if number % 2 else 1]:
                gc.collect()
                taken[cell].append(works[cell]())
            if time.perf_counter() - began > _SECONDS_OF_ROUNDS:
                break
        for cell, seconds in taken.items():
            self.seconds(cell, statistics.median(seconds), count)

    def seconds(self, cell: str, seconds: float, count: int) -> None:
        """Record a time that was measured elsewhere."""
        self.figures[cell] = {"seconds": seconds, "count": count}

    def lacks(self, cell: str, reason: str) -> None:
        """Record that the engine has no such call."""
        self.figures[cell] = {"lacks": reason}

    def bytes(self, cell: str, count: int) -> None:
        """Record a size."""
        self.figures[cell] = {"bytes": count}

    def number(self, cell: str, count: int) -> None:
        """Record a count of things."""
        self.figures[cell] = {"number": count}

    def bytes_each(self, cell: str, total: int, count: int) -> None:
        """Record a size for each of many."""
        self.figures[cell] = {"bytes": total, "count": count}

    def latencies(self, cell: str, nanoseconds: list[int]) -> None:
        """Record percentiles of single calls, and the cost of reading the clock."""
        taken = np.array(nanoseconds)
        p50, p99, p999 = np.percentile(taken, [50, 99, 99.9]).tolist()
        self.figures[cell] = {
            "p50": p50,
            "p99": p99,
            "p99.9": p999,
            "max": int(taken.max()),
            "count": len(nanoseconds),
            "clock": _clock_nanoseconds(),
        }

    def check(self, what: str, *, right: bool) -> None:
        """Count a right answer; a wrong one ends the run.

        Raises:
            WrongAnswer: it was wrong.

        """
        if not right:
            raise WrongAnswer(what)
        self.checked += 1

    def begin_memory(self) -> None:
        """Exclude the memory of the workload's data from what `end_memory` will report."""
        gc.collect()
        # Sets the high-water mark of the resident set to what is resident now (Linux).
        Path("/proc/self/clear_refs").write_text("5")
        status = _status()
        self._resident, self._anonymous = status["VmRSS"], status["RssAnon"]

    def end_memory(self) -> None:
        """Record by how much memory grew: at its peak with mapped files, and private memory alone."""
        status = _status()
        self.memory = {
            "peak_rss_growth_bytes": status["VmHWM"] - self._resident,
            "private_growth_bytes": status["RssAnon"] - self._anonymous,
            "peak_rss_bytes": status["VmHWM"],
        }


def in_threads(works: Sequence[Callable[[], object]]) -> float:
    """Do each work in a thread of its own, all at once; return the seconds until the last has ended."""
    failures: list[BaseException] = []
    gate = threading.Barrier(len(works) + 1)

    def do(work: Callable[[], object]) -> None:
        gate.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            failures.append(error)

    threads = [threading.Thread(target=do, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failures:
        raise failures[0]
    return seconds


def allocated(folder: Path) -> int:
    """Return the bytes that the files of a folder take on disk: allocated blocks, whatever their length."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def _status() -> dict[str, int]:
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split() for line in lines if line.startswith(("VmRSS", "VmHWM", "RssAnon")))
    return {pair[0].rstrip(":"): int(pair[1]) * 1024 for pair in pairs}


def _clock_nanoseconds() -> float:
    clock = time.perf_counter_ns
    return statistics.median(-(clock() - clock()) for _ in range(_CLOCK_READINGS))

"""Where figures were taken: processor, memory, disk, system, Python, and what memory and disk cost there.

Machines of one kind differ by two to four times in how fast their memory answers, so a figure means little
without that. The costs are measured at the start of each run, in Python alone, so that they are the same work
whatever is measured afterwards.
"""

from __future__ import annotations

import mmap
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy

if TYPE_CHECKING:
    from collections.abc import Mapping

# Far more bytes than any cache holds; and few enough for the first one.
_FAR_BYTES, _NEAR_BYTES = 1 << 27, 1 << 14
_STEPS = 100_000
_ROUNDS = 5
_FAULTED_BYTES = 1 << 26
_FLUSHES = 100
_WORD, _PAGE = 8, mmap.PAGESIZE


def machine(folder: Path) -> dict[str, object]:
    """Describe this machine, and the file system of `folder`."""
    return {
        "processor": _line("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "file_system": _file_system(folder),
        "read_ahead_kib": _read_ahead(folder),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "load_average": os.getloadavg()[0],
        "random_access_ns": _random_access(),
        "page_fault_ns": _page_fault(),
        "flush_us": _flush(folder),
        "alexpy": alexpy.build_info(),
        "commit": _commit(),
    }


def costs(machine: Mapping[str, Any]) -> str:
    """Say what memory and disk cost; nothing where a run of an earlier version did not measure it."""
    if "random_access_ns" not in machine:
        return ""
    return (
        f"random access to memory {machine['random_access_ns']:.0f} ns, a page fault "
        f"{machine['page_fault_ns']:.0f} ns, a flush {machine['flush_us']:.0f} us"
    )


def _random_access() -> float:
    """Return the nanoseconds of a read of a random word of memory that waits for the one before it.

    Each word names the next one. The same steps through a few kilobytes cost what Python does, and that is
    taken off.
    """
    near, far = _circle(_NEAR_BYTES // _WORD), _circle(_FAR_BYTES // _WORD)
    waits = [_steps(far) - _steps(near) for _ in range(_ROUNDS)]
    return max(0.0, statistics.median(waits)) / _STEPS


def _circle(words: int) -> memoryview:
    """Return words of which each names the next one of a circle through all of them, in random order."""
    order = np.random.default_rng(1).permutation(words)
    circle = np.empty(words, np.int64)
    circle[order] = np.roll(order, -1)
    return circle.data


def _steps(circle: memoryview) -> int:
    at = 0
    began = time.perf_counter_ns()
    for _ in range(_STEPS):
        at = circle[at]
    return time.perf_counter_ns() - began


def _page_fault() -> float:
    """Return the nanoseconds of the first write to a small page of private memory."""
    taken = []
    for _ in range(_ROUNDS):
        with mmap.mmap(-1, _FAULTED_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
            pages.madvise(mmap.MADV_NOHUGEPAGE)
            words = np.frombuffer(pages, np.uint8)[::_PAGE]
            spans = []
            for _ in range(2):
                began = time.perf_counter_ns()
                words[:] = 1
                spans.append(time.perf_counter_ns() - began)
            del words
        taken.append(spans[0] - spans[1])
    return statistics.median(taken) / (_FAULTED_BYTES // _PAGE)


def _flush(folder: Path) -> float:
    """Return the microseconds of one page written to a file of zeros and made to survive a power cut."""
    taken = []
    path = folder / "flush"
    with path.open("wb", buffering=0) as file:
        write_zeros(file.fileno(), _FLUSHES * _PAGE)
        for at in range(_FLUSHES):
            began = time.perf_counter_ns()
            os.pwrite(file.fileno(), b"x" * _PAGE, at * _PAGE)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter_ns() - began)
    path.unlink()
    return statistics.median(taken) / 1e3


def write_zeros(file: int, count: int) -> None:
    """Fill a new file with zeros, on the disk when this returns: what is written later only replaces them.

    Reserving blocks is not enough: ext4 notes in its journal that a block has been written first
    (docs/dev/023-zeros-ahead-of-sync-commits.md).
    """
    os.posix_fallocate(file, 0, count)
    os.pwrite(file, bytes(count), 0)
    os.fsync(file)


def _line(path: str, start: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(start)), "")


def _file_system(folder: Path) -> str:
    """Return the type of the file system with the longest mount point above `folder`."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    above = [str(folder.resolve()), *map(str, folder.resolve().parents)]
    found = [(len(mount[1]), mount[2]) for mount in mounts if mount[1] in above]
    return max(found)[1] if found else "unknown"


def _read_ahead(folder: Path, devices: Path = Path("/sys/dev/block")) -> int | None:
    """Return how many KiB the disk of `folder` reads ahead, None where there is no such disk."""
    number = folder.stat().st_dev
    device = (devices / f"{os.major(number)}:{os.minor(number)}").resolve()
    # A partition lies in the directory of its disk, which has the queue.
    queues = [place / "queue/read_ahead_kb" for place in (device, device.parent)]
    return next((int(queue.read_text(encoding="ascii")) for queue in queues if queue.exists()), None)


def _commit() -> str:
    """Return the commit of the checkout that this package is imported from, "+" where it has changes."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", here, "describe", "--always", "--dirty=+", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"

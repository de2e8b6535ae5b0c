"""Where figures were taken: processor, memory, disk, system, Python and what else is comparable of it."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import numpy as np

import alexpy


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
        "alexpy": alexpy.build_info(),
        "commit": _commit(),
    }


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


def _read_ahead(folder: Path) -> int | None:
    """Return how many KiB the disk of `folder` reads ahead, None where there is no such disk."""
    device = folder.stat().st_dev
    queue = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/queue/read_ahead_kb")
    return int(queue.read_text(encoding="ascii")) if queue.exists() else None


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

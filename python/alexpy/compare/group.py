"""A control group of the kernel that limits processes' memory, page cache included; or why there is none.

It is made below this process's own group, so that limits on us still hold, and is removed afterwards. If the
machine keeps groups in one hierarchy (version 2), a group that has processes cannot have limited groups below
it; then the new group is made beside ours, which needs rights on the parent group. Knows no engine.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .engine import Lacks

if TYPE_CHECKING:
    from collections.abc import Iterator

# Name of the limit, of the limit that counts swap too, and what the second is set to: version 1, version 2.
_FILES = {
    "cgroup": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", None),
    "cgroup2": ("memory.max", "memory.swap.max", 0),
}


@contextmanager
def limited(limit: int) -> Iterator[Path]:
    """Make a group of `limit` bytes; `enter` it in a child, which must have ended when this ends.

    Raises:
        Lacks: this machine does not allow it; the message says why.

    """
    kind, parent = _parent()
    group = parent / f"alexpy-compare-{os.getpid()}"
    name, with_swap, swap = _FILES[kind]
    try:
        group.mkdir()
    except OSError as error:
        raise Lacks(f"no control group can be made in {parent}: {error.strerror}") from None
    try:
        try:
            (group / name).write_text(str(limit), encoding="ascii")
        except OSError as error:
            raise Lacks(f"the control group takes no limit of memory: {error.strerror}") from None
        # Missing if the kernel does not count swap.
        with suppress(FileNotFoundError):
            (group / with_swap).write_text(str(limit if swap is None else swap), encoding="ascii")
        yield group
    finally:
        group.rmdir()


def enter(group: Path) -> None:
    """Move this process into a group: what it allocates and reads from files from now on counts."""
    (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")


def _parent() -> tuple[str, Path]:
    """Return the kind of hierarchy that limits memory here, and the group to make ours in."""
    try:
        ours = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError as error:
        raise Lacks(f"no control groups on this system: {error.strerror}") from None
    for _, controllers, path in ours:
        for _, at, kind, options, *_ in mounts:
            if kind == "cgroup" and "memory" in controllers.split(",") and "memory" in options.split(","):
                return kind, Path(at) / path.lstrip("/")
    for _, controllers, path in ours:
        for _, at, kind, *_ in mounts:
            if kind == "cgroup2" and not controllers:
                return kind, _limiting(Path(at) / path.lstrip("/"), Path(at))
    raise Lacks("no control groups of memory on this system")


def _limiting(group: Path, top: Path) -> Path:
    """Return the nearest group, ours or the one above it, whose children can have a limit of memory."""
    for candidate in (group, group.parent) if group != top else (group,):
        with suppress(OSError):
            if "memory" in (candidate / "cgroup.subtree_control").read_text(encoding="ascii").split():
                return candidate
    raise Lacks(f"the control group {group} is not allowed to limit memory")

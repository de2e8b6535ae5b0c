"""Shared by the writer programs: forks a writer for each line of input and reports how it ended.

A fork is much cheaper than a new Python with NumPy. The process that forks never opens a store.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def say(what: str) -> None:
    """Write a line and flush it at once, because a kill may come next."""
    os.write(1, f"{what}\n".encode())


def serve(write: Callable[[str], None]) -> None:
    """Run `write` in a forked process for each line of standard input."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            say(f"pid {os.getpid()}")
            try:
                write(line)
            except BaseException:  # noqa: BLE001 - whatever it is, the test must see it
                say(f"failed {traceback.format_exc()!r}")
            os._exit(1)
        _, status = os.waitpid(child, 0)
        say(f"ended {os.waitstatus_to_exitcode(status)}")

"""Forks: a call in a child; and for the writer programs, a writer for each line of input.

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


def outcome_in_fork(call: Callable[[], object]) -> str:
    """Run `call` in a forked child; return the name of its exception, or the repr of its result."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            outcome = repr(call())
        except BaseException as error:  # noqa: BLE001
            outcome = type(error).__name__
        os.write(send, outcome.encode())
        os._exit(0)
    os.close(send)
    os.waitpid(child, 0)
    with os.fdopen(receive) as pipe:
        return pipe.read()


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

"""Runs the process that forks writers, for the tests that kill them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Writers:
    """Runs a program that forks a writer for each line of input, and passes on what the writers report."""

    def __init__(self, program: str) -> None:
        self._program = Path(__file__).with_name(program)

    def __enter__(self) -> Self:
        # A thread pool of NumPy's must not be there to be forked.
        environ = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(self._program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            # What was forked would go on, and the wait for the end of all of it with it.
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            # Nobody may be in the middle of a line when its reader goes.
            self._process.communicate()
            assert self._process.returncode == 0, "the process that forks writers failed at its end"
        self._process.__exit__(kind, error, trace)

    def start(self, job: str) -> int:
        """Fork a writer and return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(job + "\n")
        self._process.stdin.flush()
        return int(self.line().removeprefix("pid "))

    def line(self) -> str:
        """The next line that the writer reports, with its line end."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that forks writers ended"
        assert not line.startswith("failed"), line
        return line

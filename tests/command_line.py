"""Runs the command line for tests: inside this process, or as a process of its own if a test needs that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alexpy.cli import main

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it wrote."""

    code: int
    out: bytes
    err: str

    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    def fails(self, code: int, *parts: str) -> Ended:
        """Assert the exit code, and one line on standard error that has every part."""
        assert self.code == code, self
        assert self.err.startswith("alexpy: "), self
        assert self.err.count("\n") == 1, self
        assert self.err.endswith("\n"), self
        for part in parts:
            assert part in self.err, self
        return self

    def succeeds(self) -> Ended:
        """Assert the exit code and a silent standard error."""
        assert (self.code, self.err) == (0, ""), self
        return self


class CommandLine:
    """Calls `alexpy.cli.main` and captures what it writes."""

    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture

    def __call__(self, *args: object) -> Ended:
        self._capture.readouterr()
        try:
            main([str(arg) for arg in args])
        except SystemExit as end:
            code = end.code
        captured = self._capture.readouterr()
        assert isinstance(code, int)
        return Ended(code, captured.out, captured.err.decode())


def command(*args: object) -> list[str]:
    """The command line as a process of its own."""
    return [sys.executable, "-m", "alexpy", *map(str, args)]


def run_process(*args: object, input: bytes = b"", **env: str) -> Ended:  # noqa: A002
    done = subprocess.run(
        command(*args), input=input, capture_output=True, check=False, env={**os.environ, **env}, timeout=60
    )
    return Ended(done.returncode, done.stdout, done.stderr.decode())

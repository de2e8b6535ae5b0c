"""Worker processes that are asked line by line, and answer each line by one of JSON. Knows no engine."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Children:
    """Some worker processes at work on the same."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        self._processes = processes

    def ask(self, line: object) -> list[dict[str, Any]]:
        """Send a line to all, and return their answers; they work on them at the same time."""
        for process in self._processes:
            _send(process, line)
        return [_answer(process) for process in self._processes]

    def ask_in_turn(self, line: object) -> list[dict[str, Any]]:
        """Do as `ask`, but each is asked only when the one before it has answered."""
        answers = []
        for process in self._processes:
            _send(process, line)
            answers.append(_answer(process))
        return answers


@contextmanager
def children(specs: Sequence[dict[str, Any]]) -> Iterator[Children]:
    """Start a worker for each spec, which must end when its standard input does.

    Raises:
        RuntimeError: a worker ended with a failure.

    """
    with ExitStack() as stack:
        processes = [stack.enter_context(_started()) for _ in specs]
        for process, spec in zip(processes, specs, strict=True):
            _send(process, spec)
        yield Children(processes)
        for process in processes:
            process.communicate()
            if process.returncode:
                raise RuntimeError(f"a reading process ended with exit code {process.returncode}")


class Doomed:
    """A worker that says things until it is killed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def answer(self) -> dict[str, Any]:
        """Wait for its next answer and return that.

        Raises:
            RuntimeError: it ended before it had answered.

        """
        return _answer(self._process)

    def killed(self) -> list[dict[str, Any]]:
        """Kill it; return what it had said by then and nobody has read."""
        self._process.kill()
        return [json.loads(line) for line in self._process.stdout or ()]


@contextmanager
def doomed(spec: dict[str, Any]) -> Iterator[Doomed]:
    """Start a worker, and kill it in the end."""
    with _started() as process:
        try:
            _send(process, spec)
            yield Doomed(process)
        finally:
            process.kill()


def say(answer: dict[str, Any]) -> None:
    """Answer the parent, in a worker."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _started() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "alexpy.compare.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _send(process: subprocess.Popen[str], line: object) -> None:
    if process.stdin is None:
        raise AssertionError("both pipes were asked for")
    process.stdin.write(json.dumps(line) + "\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    if process.stdout is None:
        raise AssertionError("both pipes were asked for")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a worker process ended before it had answered")
    answer: dict[str, Any] = json.loads(line)
    return answer

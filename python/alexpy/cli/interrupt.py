"""Ctrl-C that waits for the end of a step, so that what was done and what is told about it agree."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType


class CtrlC:
    """Raises KeyboardInterrupt at once, or inside `held` at its end; only for the main thread."""

    def __init__(self) -> None:
        self._held = False
        self._pressed = False

    def __enter__(self) -> Self:
        """Take over the signal."""
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the signal back."""
        signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the step inside run to its end, and raise KeyboardInterrupt after it if Ctrl-C was pressed."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._pressed:
            raise KeyboardInterrupt

    def _press(self, _signal: int, _frame: FrameType | None) -> None:
        self._pressed = True
        if not self._held:
            raise KeyboardInterrupt

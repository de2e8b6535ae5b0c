"""Makes Ctrl-C wait for the end of a step, so that the report agrees with what was done."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType


class CtrlC:
    """Raises KeyboardInterrupt at once, or at the end of a `held` block; only for the main thread."""

    def __init__(self) -> None:
        self._held = False
        self._pressed = False

    def __enter__(self) -> Self:
        """Install the signal handler."""
        self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the signal handler from before."""
        signal.signal(signal.SIGINT, self._before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the block run to its end; raise KeyboardInterrupt after it if Ctrl-C was pressed."""
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

"""A thread that brings a mirror up to date again and again, and tells how far it is."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from alexpy.errors import ClosedError, FencedError

from ._follow import Following
from ._waiting import after_failure, bounded

if TYPE_CHECKING:
    import os

    from ._objects import Place


class Follower:
    """Keeps the directory `dest` up to date with a shipped store, in a thread.

    It looks every `interval` seconds. What a place refuses is tried again, less and less often, until it
    works; `error` says what was last in the way, and `refresh` raises it. After a FencedError nothing is
    tried any more. `dest` is there, and can be opened with `read_only=True`, when this has been made. Leaving
    a `with` block closes it, and `dest` stays as it is. May be used by many threads.

    Raises:
        As `follow`, at once.
        ValueError: the interval is negative.

    Example:
        >>> import alexpy.ship
        >>> s[1] = b"one"
        >>> shipment = alexpy.ship.push(s, folder)
        >>> with alexpy.ship.Follower(folder, dest, interval=5) as follower:
        ...     reader = alexpy.open(dest, read_only=True)
        ...     s[2] = b"two"
        ...     shipment = alexpy.ship.push(s, folder)
        ...     follower.refresh() == reader.refresh() == shipment.seq
        True
        >>> reader[2]
        b'two'
        >>> reader.close()

    """

    def __init__(self, url: Place, dest: str | os.PathLike[str], *, interval: float = 10.0) -> None:
        """Bring `dest` up to date, and start the thread."""
        if not interval >= 0:
            raise ValueError(f"interval is {interval}; give the seconds between two looks, 0 or more")
        self._interval = bounded(interval)
        self._following = Following(url, dest)
        try:
            self._seq = self._following.refresh().seq
        except BaseException:
            self._following.close()
            raise
        self._changed = threading.Condition()
        self._error: Exception | None = None
        self._asked = 0
        self._answered = 0
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="alexpy-follow", daemon=True)
        self._thread.start()

    @property
    def seq(self) -> int:
        """The sequence number that `dest` shows."""
        return self._seq

    @property
    def error(self) -> Exception | None:
        """What the last look failed of; None if it did not."""
        return self._error

    @property
    def closed(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def refresh(self, timeout: float | None = None) -> int:
        """Return once `dest` shows what was shipped before the call; the sequence number that it shows.

        Handles that are open there see it after their own `refresh`.

        Raises:
            FencedError: an epoch has begun without what `dest` shows.
            OSError, AlexError: the look failed; it is tried again by the next call, or by itself.
            TimeoutError: it took longer than `timeout` seconds. It goes on.
            ClosedError: the follower is closed.

        """
        if timeout is not None:
            timeout = bounded(timeout)
        with self._changed:
            if self._ending or self.closed:
                raise self._error or ClosedError("the follower is closed")
            self._asked += 1
            asked = self._asked
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._answered >= asked or self._ending, timeout):
                raise TimeoutError(f"the place was not read within {timeout} seconds; it goes on")
            if self._error is not None:
                raise self._error
            if self._answered < asked:
                raise ClosedError("the follower was closed meanwhile")
            return self._seq

    def close(self) -> None:
        """End the thread, after what it is about. Once closed, it does nothing."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        self._thread.join()
        self._following.close()

    def __enter__(self) -> Self:
        """Return the follower."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()

    def _work(self) -> None:
        wait = self._interval
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ending or self._asked > self._answered, wait)
                if self._ending:
                    return
                asked = self._asked
            error: Exception | None = None
            try:
                self._seq = self._following.refresh().seq
            except Exception as failed:  # noqa: BLE001 - refresh raises it
                error = failed
            with self._changed:
                self._error, self._answered = error, asked
                self._ending |= isinstance(error, FencedError)
                self._changed.notify_all()
            wait = self._interval if error is None else after_failure(wait)

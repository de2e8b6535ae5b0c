"""A thread that ships an open store again and again, and tells how far it is."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakValueDictionary

from alexpy.errors import ClosedError, FencedError, ForkedError

from ._objects import connect
from ._push import Push, push_to
from ._source import folder_of, source
from ._waiting import after_failure, bounded

if TYPE_CHECKING:
    from alexpy._store import Store

    from ._objects import Place
    from ._shipment import Shipment

# Nothing that is tried again ends otherwise.
_FINAL = (FencedError, ClosedError, ForkedError)
# Held while a shipper enters or leaves the list of its store.
_ENTERING = threading.Lock()
# By process and path: one push of a store runs at a time, and its shippers take turns.
_TURNS: WeakValueDictionary[tuple[int, str], threading.Lock] = WeakValueDictionary()


class Shipper:
    """Ships an open store whenever something was committed, at most every `interval` seconds, in a thread.

    What a place refuses is tried again, less and less often, until it works; `error` says what was last in
    the way, and `flush` raises it. After a FencedError nothing is tried any more. `fork=True` is for its
    first shipment, as in `push`; later ones are fenced by whoever has shipped meanwhile. Close it before the
    store; leaving a `with` block ships what is left and closes it. Until then `Store.flush(remote=True)`
    waits for it, and `Store.stats().remote_seq` says how far it is. Several shippers of a store, each to a
    place of its own, push one after another. May be used by many threads.

    Raises:
        As `push`, at once: the place, or what is there, is looked at.
        ValueError: the interval is negative.

    Example:
        >>> import alexpy.ship
        >>> with alexpy.ship.Shipper(s, folder, interval=5) as shipper:
        ...     s[1] = b"one"
        ...     shipper.flush() == s.stats().last_seq
        True

    """

    def __init__(
        self, store: Store[Any, Any], url: Place, *, interval: float = 10.0, fork: bool = False
    ) -> None:
        """Look at the place, and start the thread."""
        if not interval >= 0:
            raise ValueError(f"interval is {interval}; give the least seconds between two pushes, 0 or more")
        self._store = store
        self._url = url
        self._interval = bounded(interval)
        self._fork = fork
        self._objects = connect(url, make=True, outside=folder_of(store))
        self._changed = threading.Condition()
        self._shipped: Shipment | None = None
        self._error: Exception | None = None
        self._asked = 0
        self._answered = 0
        self._ending = False
        # Whether somebody knows of `_error`.
        self._is_told = False
        at = os.getpid(), os.path.realpath(store.path)
        with _ENTERING:
            self._turn = _TURNS.setdefault(at, threading.Lock())
        with self._turn, source(store) as at_rest:
            Push(self._objects, at_rest.memory, str(store.path), fork=fork).check(at_rest.store_id)
        self._thread = threading.Thread(target=self._work, name="alexpy-ship", daemon=True)
        self._thread.start()
        with _ENTERING:
            store._shippers += (self,)  # noqa: SLF001 - `Store.flush(remote=True)` waits for it

    @property
    def seq(self) -> int:
        """The sequence number up to which everything is shipped; 0 before the first push of this object."""
        shipped = self._shipped
        return 0 if shipped is None else shipped.seq

    @property
    def lag(self) -> int:
        """How many sequence numbers the place is behind the store."""
        return max(0, self._store.refresh() - self.seq)

    @property
    def error(self) -> Exception | None:
        """What the last push failed of; None if it did not."""
        return self._error

    @property
    def closed(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def flush(self, timeout: float | None = None) -> int:
        """Return once all that was committed before the call is shipped; the sequence number shipped.

        Raises:
            FencedError: another copy of the store has shipped.
            OSError, AlexError: the push failed; it is tried again by the next call, or by itself.
            TimeoutError: it took longer than `timeout` seconds. It goes on.
            ClosedError: the shipper is closed.

        """
        if timeout is not None:
            timeout = bounded(timeout)
        with self._changed:
            if self._ending or self.closed:
                self._is_told = True
                raise self._error or ClosedError("the shipper is closed")
            target = self._store.refresh()
            self._asked += 1
            asked = self._asked
            self._changed.notify_all()
            reached = self._changed.wait_for(
                lambda: self.seq >= target or self._answered >= asked or self._ending, timeout
            )
            if self.seq >= target:
                return self.seq
            if not reached:
                raise TimeoutError(f"sequence {target} was not shipped within {timeout} seconds; it goes on")
            self._is_told = True
            raise self._error or ClosedError("the shipper was closed meanwhile")

    def close(self) -> None:
        """Ship what is left and end the thread; raises what `flush` raises. Once closed, it does nothing.

        So a FencedError that has ended the thread is raised here, if no `flush` has raised it.
        """
        try:
            if not (self._ending or self.closed):
                self.flush()
            elif isinstance(self._error, _FINAL) and not self._is_told:
                raise self._error
        finally:
            self._end()

    def _end(self) -> None:
        with self._changed:
            self._ending = self._is_told = True
            self._changed.notify_all()
        self._thread.join()
        with _ENTERING:
            left = tuple(one for one in self._store._shippers if one is not self)  # noqa: SLF001 - as above
            self._store._shippers = left  # noqa: SLF001

    def __enter__(self) -> Self:
        """Return the shipper."""
        return self

    def __exit__(self, kind: object, *exc_info: object) -> None:
        """Close it; on an exception nothing more is shipped."""
        if kind is None:
            self.close()
        else:
            self._end()

    def _work(self) -> None:
        wait = self._interval
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ending or self._asked > self._answered, wait)
                if self._ending:
                    return
                asked = self._asked
            error = self._push()
            with self._changed:
                self._error, self._answered = error, asked
                self._ending |= isinstance(error, _FINAL)
                self._changed.notify_all()
            wait = self._interval if error is None else after_failure(wait)

    def _push(self) -> Exception | None:
        try:
            if self._shipped is None or self._store.refresh() > self._shipped.seq:
                with self._turn:
                    if self._ending:
                        # Its block has ended by an exception meanwhile.
                        return None
                    self._shipped = push_to(self._objects, self._store, fork=self._fork)
                    # Asked for once: whoever ships from now on goes on from this copy.
                    self._fork = False
        except Exception as error:  # noqa: BLE001 - flush raises it
            return error
        return None

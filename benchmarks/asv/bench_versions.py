"""Snapshots and open iterators, a reader that follows a writer, and the feed of changes."""

from __future__ import annotations

import tempfile
from collections import deque
from contextlib import ExitStack

import numpy as np

import alexpy

from .data import BATCH, COUNT, SEED, WIDTH, api, keys_of, right, values_of

_SINGLES = 50_000
_TIMES = 20_000


class _Loaded:
    """A store of 200,000 values of 100 bytes, made anew for each measurement."""

    number = 1
    repeat = (3, 7, 3.0)
    warmup_time = 0

    def setup(self) -> None:
        """Load it."""
        # Closed also where the rest of a set-up is skipped.
        self.opened = ExitStack()
        with api():
            folder = self.opened.enter_context(tempfile.TemporaryDirectory(prefix="alexpy-asv-"))
            self.keys, self.values = keys_of("uniform"), values_of()
            self.store = self.opened.enter_context(alexpy.open(f"{folder}/store"))
            self.put_all(self.values)
            self.order = np.random.default_rng(SEED + 1).permutation(COUNT)

    def put_all(self, values: list[bytes]) -> None:
        """Put a value for every key, in batches."""
        for at in range(0, COUNT, BATCH):
            self.store.put_many(self.keys[at : at + BATCH], values[at : at + BATCH])

    def teardown(self) -> None:
        """Check what is left to check, and remove everything."""
        self.opened.close()


class BesideAnIterator(_Loaded):
    """Calls that every commit has."""

    def setup(self) -> None:
        """Open an iterator."""
        super().setup()
        with api():
            self.changed = self.keys[self.order[:_SINGLES]].tolist()
            self.iterator = self.store.scan_keys()
            right(next(self.iterator) == self.keys.min())
            self.opened.callback(self.check)

    def time_single_puts_50k(self) -> None:
        """A commit each, of keys that the iterator has yet to pass."""
        put = self.store.put
        for key, value in zip(self.changed, self.values, strict=False):
            put(key, value)

    def check(self) -> None:
        """See that the iterator passes all other keys."""
        right(sum(1 for _ in self.iterator) == COUNT - 1)


class Snapshots(_Loaded):
    """A snapshot behind which every key changed."""

    def setup(self) -> None:
        """Take it, change everything, and read it."""
        super().setup()
        with api():
            self.snapshot = self.store.snapshot()
            self.put_all(self.values[::-1])
            self.asked = self.keys[self.order]
            expected = b"".join([self.values[at] for at in self.order.tolist()])
            right(self.snapshot.get_array(self.asked, np.uint8, WIDTH).tobytes() == expected)

    def time_take_and_drop_20k(self) -> None:
        """One after another."""
        take = self.store.snapshot
        for _ in range(_TIMES):
            take()

    def time_get_array_200k(self) -> None:
        """Every value as it was."""
        self.snapshot.get_array(self.asked, np.uint8, WIDTH)


class Following(_Loaded):
    """A reader beside the writer, and 200,000 records that it has not seen."""

    def setup(self) -> None:
        """Open the reader, then write."""
        super().setup()
        with api():
            self.reader = self.opened.enter_context(alexpy.open(self.store.path, read_only=True))
            self.seen = self.reader.refresh()
            self.put_all(self.values[::-1])
            right([change.value for change in self.store.changes(self.seen)] == self.values[::-1])
            self.opened.callback(self.check)

    def time_refresh_200k_new(self) -> None:
        """Once."""
        self.reader.refresh()

    def time_changes_200k(self) -> None:
        """The feed of the writer, each change dropped."""
        deque(self.store.changes(self.seen), maxlen=0)

    def check(self) -> None:
        """See that the reader shows everything."""
        self.reader.refresh()
        right(self.reader.get_many(self.keys) == self.values[::-1])


class FollowingNothing(_Loaded):
    """A reader beside a writer that writes nothing."""

    def setup(self) -> None:
        """Open the reader."""
        super().setup()
        with api():
            self.reader = self.opened.enter_context(alexpy.open(self.store.path, read_only=True))
            self.reader.refresh()
            right(self.reader.get_many(self.keys) == self.values)

    def time_refresh_20k(self) -> None:
        """One after another."""
        refresh = self.reader.refresh
        for _ in range(_TIMES):
            refresh()

"""The store by single calls and scans: a returned commit survives a kill, except where it is durable."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque

import numpy as np

import alexpy

from .data import BATCH, COUNT, SEED, api, keys_of, right, values_of

_SINGLES = 50_000
_COMMITS = 500


class Store:
    """A store of 200,000 values of 100 bytes."""

    number = 1
    repeat = (3, 7, 3.0)
    warmup_time = 0.05

    def setup(self) -> None:
        """Load one store, and make room for others."""
        with api():
            self.folder = tempfile.mkdtemp(prefix="alexpy-asv-")
            self.keys, self.values = keys_of("uniform"), values_of()
            self.store = alexpy.open(f"{self.folder}/store")
            for at in range(0, COUNT, BATCH):
                self.store.put_many(self.keys[at : at + BATCH], self.values[at : at + BATCH])
            order = np.random.default_rng(SEED + 1).permutation(COUNT)[:_SINGLES]
            self.singles = self.keys[order].tolist()
            right([self.store[key] for key in self.singles] == [self.values[at] for at in order.tolist()])
            self.other = alexpy.open(f"{self.folder}/other")
            self.durable = alexpy.open(f"{self.folder}/durable", durability="sync")
            self.plain = self.keys[:_SINGLES].tolist()
            self.starts = self.keys[:2000].tolist()

    def teardown(self) -> None:
        """Remove everything."""
        for store in (self.store, self.other, self.durable):
            store.close()
        shutil.rmtree(self.folder)

    def time_single_gets_50k(self) -> None:
        """A call each."""
        get = self.store.get
        for key in self.singles:
            get(key)

    def time_single_puts_50k(self) -> None:
        """A commit each."""
        put = self.other.put
        for key, value in zip(self.plain, self.values, strict=False):
            put(key, value)

    def time_durable_puts_500(self) -> None:
        """A device flush each."""
        put = self.durable.put
        for key, value in zip(self.plain[:_COMMITS], self.values, strict=False):
            put(key, value)

    def time_scan_200k(self) -> None:
        """Every item, dropped."""
        deque(self.store.scan(), maxlen=0)

    def time_ranges_of_100(self) -> None:
        """Two thousand of them."""
        scan = self.store.scan
        for start in self.starts:
            deque(scan(start, limit=100), maxlen=0)

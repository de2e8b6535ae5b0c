"""The index alone: inserts, single and batch lookups, ranges, bulk load."""

from __future__ import annotations

import numpy as np

import alexpy

from .data import BATCH, COUNT, KINDS, SEED, api, keys_of, right

_SINGLES = 50_000
_RANGE = 100


class Index:
    """An `AlexIndex` of 200,000 keys."""

    params = KINDS
    param_names = ("keys",)
    number = 1
    repeat = (3, 7, 3.0)
    warmup_time = 0.05

    def setup(self, kind: str) -> None:
        """Load, and ask for every key once."""
        with api():
            self.keys = keys_of(kind)
            self.positions = np.arange(COUNT, dtype=np.int64)
            self.index = alexpy.AlexIndex(self.keys, self.positions)
            self.order = np.random.default_rng(SEED + 1).permutation(COUNT)
            self.asked = self.keys[self.order]
            self.singles = self.asked[:_SINGLES].tolist()
            self.plain = self.keys[:_SINGLES].tolist()
            right(bool((self.index.get_many(self.asked) == self.order).all()))
            ascending = np.sort(self.keys)
            self.starts = ascending[:-_RANGE:200].tolist()
            self.stops = ascending[_RANGE::200].tolist()
            found, _ = self.index.scan_arrays(self.starts[1], self.stops[1])
            right(bool((found == ascending[200 : 200 + _RANGE]).all()))

    def time_bulk_load_200k(self, kind: str) -> None:
        """Unsorted arrays."""
        del kind
        alexpy.AlexIndex(self.keys, self.positions)

    def time_batch_lookup_200k(self, kind: str) -> None:
        """One call."""
        del kind
        self.index.get_many(self.asked)

    def time_single_lookups_50k(self, kind: str) -> None:
        """A call each."""
        del kind
        get = self.index.get
        for key in self.singles:
            get(key)

    def time_single_inserts_50k(self, kind: str) -> None:
        """A call each, into an empty index."""
        del kind
        put = alexpy.AlexIndex().put
        for key in self.plain:
            put(key, 1)

    def time_batch_inserts_200k(self, kind: str) -> None:
        """In batches of 10,000, into an empty index."""
        del kind
        index = alexpy.AlexIndex()
        for at in range(0, COUNT, BATCH):
            index.put_many(self.keys[at : at + BATCH], self.positions[at : at + BATCH])

    def time_ranges_to_arrays(self, kind: str) -> None:
        """A thousand ranges of 100 keys, a call each, each answer dropped."""
        del kind
        arrays = self.index.scan_arrays
        for start, stop in zip(self.starts, self.stops, strict=True):
            arrays(start, stop)

"""Batch paths of the store: one call for many keys."""

from __future__ import annotations

import shutil
import tempfile

import numpy as np

import alexpy

from .data import BATCH, COUNT, SEED, WIDTH, api, keys_of, right, values_of


class _Loaded:
    """A store of 200,000 values of 100 bytes."""

    number = 1
    repeat = (3, 7, 3.0)
    warmup_time = 0.05

    def setup(self) -> None:
        """Load one store."""
        with api():
            self.folder = tempfile.mkdtemp(prefix="alexpy-asv-")
            self.keys, self.values = keys_of("uniform"), values_of()
            self.store = alexpy.open(f"{self.folder}/store")
            self.store.put_many(self.keys, self.values)
            order = np.random.default_rng(SEED + 1).permutation(COUNT)
            self.asked = self.keys[order]
            right(self.store.get_many(self.asked) == [self.values[at] for at in order.tolist()])
            self.loads = 0

    def teardown(self) -> None:
        """Remove everything."""
        self.store.close()
        shutil.rmtree(self.folder)


class Batch(_Loaded):
    """Calls that every commit has."""

    def time_load_200k_and_flush(self) -> None:
        """Batches of 10,000 into a new store."""
        self.loads += 1
        with alexpy.open(f"{self.folder}/load-{self.loads}") as store:
            for at in range(0, COUNT, BATCH):
                store.put_many(self.keys[at : at + BATCH], self.values[at : at + BATCH])
            store.flush()

    def time_get_many_200k(self) -> None:
        """To a list."""
        self.store.get_many(self.asked)

    def time_contains_many_200k(self) -> None:
        """To an array of bool."""
        self.store.contains_many(self.asked)

    def time_delete_many_and_put_back_10k(self) -> None:
        """One commit each way."""
        self.store.delete_many(self.keys[:BATCH])
        self.store.put_many(self.keys[:BATCH], self.values[:BATCH])


class Arrays(_Loaded):
    """Reads into arrays; apart, for commits that lack these calls."""

    def setup(self) -> None:
        """Load one store, and try the calls."""
        super().setup()
        with api():
            right(self.store.get_array(self.asked, np.uint8, WIDTH).shape == (COUNT, WIDTH))
            right(len(self.store.get_buffers(self.asked)) == COUNT)
            right(sum(len(batch) for batch in self.store.scan_batches()) == COUNT)

    def time_get_array_200k(self) -> None:
        """To one array."""
        self.store.get_array(self.asked, np.uint8, WIDTH)

    def time_get_buffers_200k(self) -> None:
        """To a buffer and offsets."""
        self.store.get_buffers(self.asked)

    def time_scan_batches_200k(self) -> None:
        """Everything, in arrays."""
        for _ in self.store.scan_batches():
            pass

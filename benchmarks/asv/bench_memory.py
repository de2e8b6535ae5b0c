"""Bytes: of the index in memory, and of the store on disk."""

from __future__ import annotations

import tempfile
from pathlib import Path

import alexpy

from .data import BATCH, COUNT, KINDS, api, keys_of, values_of


class Memory:
    """Figures for one key."""

    params = KINDS
    param_names = ("keys",)

    def setup(self, kind: str) -> None:
        """Make the keys."""
        self.keys = keys_of(kind)

    def track_index_bytes_a_key_loaded(self, kind: str) -> float:
        """After a bulk load."""
        del kind
        with api():
            return alexpy.AlexIndex(self.keys).nbytes / COUNT

    def track_index_bytes_a_key_grown(self, kind: str) -> float:
        """After inserts in batches."""
        del kind
        with api():
            index = alexpy.AlexIndex()
            for at in range(0, COUNT, BATCH):
                index.put_many(self.keys[at : at + BATCH], self.keys[at : at + BATCH])
            return index.nbytes / COUNT

    def track_disk_bytes_a_value_of_100(self, kind: str) -> float:
        """Allocated after close."""
        del kind
        with api(), tempfile.TemporaryDirectory(prefix="alexpy-asv-") as folder:
            with alexpy.open(f"{folder}/store") as store:
                store.put_many(self.keys, values_of())
            files = [file for file in Path(folder).rglob("*") if file.is_file()]
            return sum(file.stat().st_blocks for file in files) * 512 / COUNT

    track_index_bytes_a_key_loaded.unit = "bytes"  # type: ignore[attr-defined]
    track_index_bytes_a_key_grown.unit = "bytes"  # type: ignore[attr-defined]
    track_disk_bytes_a_value_of_100.unit = "bytes"  # type: ignore[attr-defined]

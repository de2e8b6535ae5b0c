"""Opening: after a clean close, and after a kill of the writer."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import alexpy

from .data import BATCH, COUNT, api, keys_of, right, values_of


class Recovery:
    """A store of 200,000 values of 100 bytes, closed or killed."""

    params = ("closed", "killed")
    param_names = ("end",)
    number = 1
    repeat = (3, 7, 3.0)
    warmup_time = 0

    def setup(self, end: str) -> None:
        """Write it in a child process, which ends as asked."""
        with api():
            self.folder = tempfile.mkdtemp(prefix="alexpy-asv-")
            self.path = Path(self.folder) / "store"
            self.original = Path(self.folder) / "original"
            self.keys = keys_of("uniform")
            child = os.fork()
            if child == 0:
                self._write(end)
            os.waitpid(child, 0)
            self.key = int(self.keys[-1])
            shutil.copytree(self.original, self.path)
            with alexpy.open(self.path) as store:
                right(len(store) == COUNT and store.get(self.key) == values_of()[-1])
            # Each opening finds the store as the writer left it.
            shutil.rmtree(self.path)
            shutil.copytree(self.original, self.path)

    def _write(self, end: str) -> None:
        values = values_of()
        store = alexpy.open(self.original)
        for at in range(0, COUNT, BATCH):
            store.put_many(self.keys[at : at + BATCH], values[at : at + BATCH])
        store.flush()
        if end == "closed":
            store.close()
        os.kill(os.getpid(), signal.SIGKILL)

    def teardown(self, end: str) -> None:
        """Remove everything."""
        del end
        shutil.rmtree(self.folder)

    def time_open_and_get(self, end: str) -> None:
        """Until the first value is there."""
        del end
        self.store = alexpy.open(self.path, read_only=True)
        self.store.get(self.key)
        self.store.close()

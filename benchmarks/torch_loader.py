"""A training set of 1M samples of 100 bytes in batches of 256, in random order, beside one in LMDB.

Each set is read with 0, 2 and 4 workers of PyTorch's DataLoader, forked and spawned (`--method`), in turn,
`--rounds` times; medians of samples a second, once every worker has started and sent what it reads ahead.
All give the same tensors of 25 float32, under random keys, and in one more store under keys without a gap.
Every epoch is checked: each sample once. What the loader itself takes is shown by two sets that read
nothing: each gives the same tensor again and again, as a batch, or as a sample that the loader collates.
LMDB in four ways: one `get` a sample, collated by PyTorch, as its datasets are mostly written; and in whole
batches, by `get` and by `getmulti`. Memory is the kernel's Pss of all worker processes and this one, which
maps the files, too, with one and with eight: of the store's files, and in all, which is mostly PyTorch.
Needs torch and lmdb: `python benchmarks/torch_loader.py --json FILE`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmdb
import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

import alexpy
from alexpy.torch import AlexDataset
from result import require, write

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 25
BATCH = 256
WORKERS = (0, 2, 4)


# LMDB may be opened once in a process, and not in a child of one that has it open.
OPENED: dict[Path, Any] = {}


class LmdbDataset(Dataset[torch.Tensor]):
    """A sample a key, opened lazily in each worker."""

    def __init__(self, path: Path, keys: list[bytes]) -> None:
        self.path, self.keys, self.transaction, self.process = path, keys, None, 0

    def opened(self) -> Any:
        """Return a transaction of this process."""
        if self.transaction is None or self.process != os.getpid():
            if self.path not in OPENED:
                OPENED[self.path] = lmdb.open(
                    str(self.path), subdir=False, readonly=True, lock=False, readahead=False, max_readers=1
                )
            self.transaction, self.process = OPENED[self.path].begin(buffers=True), os.getpid()
        return self.transaction

    def close(self) -> None:
        """Close what this process opened, before it forks."""
        self.transaction = None
        for path in list(OPENED):
            OPENED.pop(path).close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "transaction": None}

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.frombuffer(self.opened().get(self.keys[index]), np.float32).copy())


class LmdbGets(LmdbDataset):
    """A batch of values, each copied into its row of one array."""

    def __getitem__(self, indices: Any) -> torch.Tensor:
        get, keys, rows = self.opened().get, self.keys, np.empty((len(indices), WIDTH * 4), np.uint8)
        for row, index in zip(rows, indices, strict=True):
            row[:] = get(keys[index])
        return torch.from_numpy(rows.view(np.float32))


class LmdbJoined(LmdbDataset):
    """A batch of values, joined."""

    def __getitem__(self, indices: Any) -> torch.Tensor:
        get, keys = self.opened().get, self.keys
        joined = bytearray().join([get(keys[index]) for index in indices])
        return torch.from_numpy(np.frombuffer(joined, np.float32).reshape(len(indices), WIDTH))


class LmdbMany(LmdbDataset):
    """A batch by LMDB's own call for many keys, which gives them in any order asked."""

    def __getitem__(self, indices: Any) -> torch.Tensor:
        keys = self.keys
        pairs = self.opened().cursor().getmulti([keys[index] for index in indices])
        joined = bytearray().join([value for _, value in pairs])
        return torch.from_numpy(np.frombuffer(joined, np.float32).reshape(len(indices), WIDTH))


class Constant(Dataset[torch.Tensor]):
    """What costs nothing to read: the same batch of 256 for any batch, or the same sample for any."""

    def __init__(self, count: int, *shape: int) -> None:
        self.count, self.given = count, torch.zeros(*shape)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.given


def loaders(folder: Path, keys: np.ndarray) -> dict[str, Callable[..., DataLoader[Any]]]:
    """Each way to an epoch: a loader, given the epoch and the options of the loader."""
    samples = AlexDataset(folder / "alexpy", np.float32, WIDTH)
    dense = AlexDataset(folder / "dense", np.float32, WIDTH)
    names = [key.to_bytes(8, "big") for key in keys.tolist()]

    def batched(kind: type[LmdbDataset]) -> Callable[..., DataLoader[Any]]:
        data = kind(folder / "lmdb", names)

        def loader(epoch: int, **options: Any) -> DataLoader[Any]:
            order = RandomSampler(data, generator=torch.Generator().manual_seed(epoch))
            return DataLoader(
                data, batch_size=None, sampler=BatchSampler(order, BATCH, drop_last=False), **options
            )

        return loader

    plain = LmdbDataset(folder / "lmdb", names)
    count = len(keys)
    batches, sample = Constant(-(-count // BATCH), BATCH, WIDTH), Constant(count, WIDTH)
    return {
        "the same batch each time": lambda epoch, **options: DataLoader(  # noqa: ARG005 - of all loaders
            batches, batch_size=None, **options
        ),
        "the same sample each time, collated": lambda epoch, **options: DataLoader(
            sample, BATCH, shuffle=True, generator=torch.Generator().manual_seed(epoch), **options
        ),
        "alexpy, shuffled().batched()": lambda epoch, **options: DataLoader(
            samples.shuffled(1, epoch).batched(BATCH), batch_size=None, **options
        ),
        "the same, keys without a gap": lambda epoch, **options: DataLoader(
            dense.shuffled(1, epoch).batched(BATCH), batch_size=None, **options
        ),
        "alexpy, shuffle=True": lambda epoch, **options: DataLoader(
            samples,
            BATCH,
            shuffle=True,
            generator=torch.Generator().manual_seed(epoch),
            **options,
        ),
        "LMDB, a get a sample, shuffle=True": lambda epoch, **options: DataLoader(
            plain, BATCH, shuffle=True, generator=torch.Generator().manual_seed(epoch), **options
        ),
        "LMDB, batches by get into rows": batched(LmdbGets),
        "LMDB, batches by get, joined": batched(LmdbJoined),
        "LMDB, batches by getmulti": batched(LmdbMany),
    }


def epoch_rate(loader: DataLoader[Any], count: int) -> float:
    """Samples a second after the first batches, of an epoch that is checked."""
    batches = iter(loader)
    # Two of each worker are read ahead.
    seen = [next(batches)[:, 0] for _ in range(max(1, 2 * loader.num_workers))]
    early = sum(map(len, seen))
    begun = time.perf_counter()
    total = torch.zeros((), dtype=torch.float64)
    for batch in batches:
        seen.append(batch[:, 0])
        total += batch[0, -1].double()
    took = time.perf_counter() - begun
    if isinstance(loader.dataset, Constant):
        return (sum(map(len, seen)) - early) / took
    numbers = torch.cat(seen).sort().values
    require(torch.equal(numbers, torch.arange(count, dtype=torch.float32)), "a sample is missing or twice")
    return (count - early) / took


def pss(process: int, folder: Path) -> tuple[int, int]:
    """The bytes of a process, each page divided by how many share it: of files in a folder, and in all."""
    own, of_folder, inside = 0, 0, False
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            inside = rest[-1].startswith(f"{folder}/")
        elif name == "Pss:":
            own += int(rest[0]) * 1024
            of_folder += int(rest[0]) * 1024 * inside
    return of_folder, own


def memory(
    make: Callable[..., DataLoader[Any]], workers: int, count: int, method: str, folder: Path
) -> list[int]:
    """The Pss of all workers and of this process, once nearly all was read: of the files, and in all."""
    loader = make(99, num_workers=workers, multiprocessing_context=method, prefetch_factor=1)
    batches = iter(loader)
    for _ in range(count // BATCH - 4 * workers):
        next(batches)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    each = [pss(int(process), folder) for process in (os.getpid(), *children)]
    return [sum(sizes) for sizes in zip(*each, strict=True)]


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--method", choices=["fork", "spawn", "forkserver"], nargs="*", default=["fork", "spawn"]
    )
    parser.add_argument("--workers", type=int, nargs="*", default=WORKERS)
    parser.add_argument("--only", nargs="*", help="ways to read whose names contain one of these")
    parser.add_argument("--no-memory", action="store_true", help="leave out the memory of worker processes")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    count = arguments.samples
    folder = Path(tempfile.mkdtemp(prefix="alexpy-torch-"))
    try:
        random = np.random.default_rng(3)
        keys = np.sort(random.choice(np.int64(1) << 60, count, replace=False))
        rows = np.repeat(np.arange(count, dtype=np.float32)[:, None], WIDTH, axis=1)
        with alexpy.open(folder / "alexpy") as store:
            store.put_many(keys, rows)
        with alexpy.open(folder / "dense") as store:
            store.put_many(range(count), rows)
        loaded = lmdb.open(str(folder / "lmdb"), subdir=False, map_size=1 << 32)
        with loaded.begin(write=True) as transaction:
            cursor = transaction.cursor()
            pairs = zip(keys.tolist(), rows, strict=True)
            cursor.putmulti([(key.to_bytes(8, "big"), row.tobytes()) for key, row in pairs], append=True)
        loaded.close()
        ways = loaders(folder, keys)
        asked = arguments.only or [""]
        read = {name: make for name, make in ways.items() if any(part in name for part in asked)}
        found: dict[str, dict[str, Any]] = {}
        for workers in arguments.workers:
            for method in arguments.method if workers else [None]:
                place = f"{workers} workers" + (f", {method}" if method else "")
                rates: dict[str, list[float]] = {name: [] for name in read}
                for epoch in range(arguments.rounds):
                    for name, make in read.items():
                        loader = make(epoch, num_workers=workers, multiprocessing_context=method)
                        rates[name].append(epoch_rate(loader, count))
                        if isinstance(loader.dataset, LmdbDataset):
                            loader.dataset.close()
                medians = {name: statistics.median(rate) for name, rate in rates.items()}
                found[place] = medians
                print(place)
                for name, rate in medians.items():
                    print(f"  {name:40} {rate / 1e6:6.2f} M samples/s", flush=True)
        for method in [] if arguments.no_memory else arguments.method:
            make = ways["alexpy, shuffled().batched()"]
            one, eight = (memory(make, workers, count, method, folder) for workers in (1, 8))
            found[f"memory of workers, {method}"] = {"one": one, "eight": eight}
            print(
                f"1 and 8 workers, {method}: {one[0] / 1e6:.0f} and {eight[0] / 1e6:.0f} MB of the files, "
                f"{one[1] / 1e6:.0f} and {eight[1] / 1e6:.0f} MB in all (Pss)"
            )
        if arguments.json:
            versions = {"torch": torch.__version__, "lmdb": lmdb.__version__}
            write(
                arguments.json,
                {"samples": count, "rounds": arguments.rounds, "versions": versions, "rates": found},
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

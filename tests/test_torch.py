"""`alexpy.torch`: a store as a training set, in one process and in PyTorch's workers."""

from __future__ import annotations

import copy
import doctest
import pickle
import re
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alexpy

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")

from torch.utils.data import DataLoader, random_split  # noqa: E402 - after the import that may skip

import alexpy.torch  # noqa: E402
from alexpy.torch import AlexDataset  # noqa: E402

KEYS = 1_000
WIDTH = 5
ROWS = np.arange(KEYS * WIDTH, dtype=np.float32).reshape(KEYS, WIDTH)
# More than a hundred keys apart, so that no key follows from its position.
SPARSE = np.arange(KEYS) * 137 - 40_000
RECORD = np.dtype([("image", np.uint8, (2, 3)), ("label", np.int64)])

# PyTorch starts threads before it forks workers, and names the machine's two processors too few.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning"),
]


@pytest.fixture(params=["dense", "sparse", "uint64", "datetime64[us]", "uuid"])
def kind(request: pytest.FixtureRequest) -> str:
    """Keys without a gap, with gaps, and of the other kinds."""
    return str(request.param)


def keys_of(kind: str) -> Any:
    if kind == "dense":
        return np.arange(KEYS) - 7
    if kind == "uint64":
        return np.arange(KEYS, dtype=np.uint64) + np.uint64(2**63 - 5)
    if kind == "datetime64[us]":
        return np.arange(KEYS).astype("M8[us]")
    if kind == "uuid":
        return [uuid.UUID(int=number << 70) for number in range(KEYS)]
    return SPARSE


@pytest.fixture
def path(store_path: Path, kind: str) -> Path:
    """A store of rows of WIDTH floats."""
    with alexpy.open(store_path, key="int64" if kind in ("dense", "sparse") else kind) as store:  # type: ignore[call-overload]
        store.put_many(keys_of(kind), ROWS)
    return store_path


@pytest.fixture
def sparse(store_path: Path) -> Path:
    """A store of rows of WIDTH floats under keys with gaps."""
    with alexpy.open(store_path) as store:
        store.put_many(SPARSE, ROWS)
    return store_path


def numbers(batches: Any) -> list[int]:
    """Which samples came, by the first float of each row, after a look at all of them."""
    found = np.concatenate([np.asarray(batch) for batch in batches])
    which = (found[:, 0] // WIDTH).astype(int)
    assert (found == ROWS[which]).all()
    return [int(number) for number in which]


def test_samples_are_rows_in_key_order_one_by_one_in_lists_and_in_batches(path: Path) -> None:
    samples = AlexDataset(path, np.float32, WIDTH)
    assert len(samples) == KEYS
    assert torch.equal(samples[3], torch.from_numpy(ROWS[3]))
    assert torch.equal(samples[-1], torch.from_numpy(ROWS[-1]))
    assert samples[[]].shape == (0, WIDTH)
    for many in ([5, 2, 2, -1], np.array([5, 2, 2, -1]), torch.tensor([5, 2, 2, -1])):
        assert torch.equal(samples[many], torch.from_numpy(ROWS[[5, 2, 2, -1]]))
    assert numbers([torch.stack(list(samples))]) == list(range(KEYS))
    assert numbers(samples.batched(300)) == list(range(KEYS))


def test_a_shuffle_of_any_kind_of_keys_is_the_same_samples_in_the_order_of_positions(path: Path) -> None:
    samples = AlexDataset(path, np.float32, WIDTH)
    order = numbers(samples.shuffled(seed=3, epoch=5).batched(256))
    assert sorted(order) == list(range(KEYS))
    assert order != list(range(KEYS))
    assert order == numbers(AlexDataset(path, np.float32, WIDTH).shuffled(seed=3, epoch=5).batched(7))
    assert order != numbers(samples.shuffled(seed=3, epoch=6).batched(256))
    assert order[400:] == numbers(samples.shuffled(seed=3, epoch=5)[400:].batched(256))
    shares = [numbers(samples.shuffled(seed=3, epoch=5)[rank::3].batched(64)) for rank in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(KEYS))


def test_keys_of_samples_are_those_of_the_store(path: Path) -> None:
    samples = AlexDataset(path, np.float32, WIDTH)[::-1]
    with alexpy.open(path, read_only=True) as store:
        assert (samples.keys(range(KEYS)) == store.keys_array()[::-1]).all()
        assert samples.keys([0]).dtype == store.keys_array().dtype


def test_given_keys_say_which_samples_there_are_and_in_which_order(path: Path, kind: str) -> None:
    chosen = [7, 3, 3, 999]
    keys = keys_of(kind)
    samples = AlexDataset(path, np.float32, WIDTH, keys=[keys[place] for place in chosen])
    assert numbers([samples[[0, 1, 2, 3]]]) == chosen
    assert numbers(samples.batched(3)) == chosen


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("workers", [0, 2, 4])
def test_workers_read_every_sample_once_without_any_set_up(sparse: Path, method: str, workers: int) -> None:
    samples = AlexDataset(sparse, np.float32, WIDTH)
    context = method if workers else None
    for epoch in range(2):
        shuffled = samples.shuffled(1, epoch)
        batched = DataLoader(
            shuffled.batched(64), batch_size=None, num_workers=workers, multiprocessing_context=context
        )
        batches = list(batched)
        assert {type(batch) for batch in batches} == {torch.Tensor}
        assert numbers(batches) == numbers([shuffled[np.arange(KEYS)]])
        plain = DataLoader(
            samples, batch_size=64, shuffle=True, num_workers=workers, multiprocessing_context=context
        )
        assert sorted(numbers(plain)) == list(range(KEYS))


def test_an_epoch_goes_on_where_it_was_left_with_any_number_of_workers(sparse: Path) -> None:
    samples = AlexDataset(sparse, np.float32, WIDTH).shuffled(seed=9, epoch=0)
    whole = numbers(DataLoader(samples.batched(50), batch_size=None, num_workers=2))
    assert whole[350:] == numbers(DataLoader(samples[350:].batched(50), batch_size=None))
    assert whole[350:] == numbers(DataLoader(samples.batched(50)[7:], batch_size=None, num_workers=3))


def test_records_are_dicts_of_tensors_also_from_workers(store_path: Path) -> None:
    records = np.zeros(100, RECORD)
    records["image"] = np.arange(600).reshape(100, 2, 3) % 251
    records["label"] = np.arange(100)
    with alexpy.open(store_path, codec=alexpy.codecs.numpy(RECORD)) as store:
        store.put_many(range(100), records)
    samples = AlexDataset(store_path)
    assert samples[4]["label"] == 4
    assert torch.equal(samples[4]["image"], torch.from_numpy(records["image"][4]))
    for workers in (0, 2):
        for loader in (
            DataLoader(samples.shuffled(1).batched(16), batch_size=None, num_workers=workers),
            DataLoader(samples, batch_size=16, num_workers=workers),
        ):
            seen = []
            for batch in loader:
                assert torch.equal(batch["image"], torch.from_numpy(records["image"][batch["label"]]))
                seen += batch["label"].tolist()
            assert sorted(seen) == list(range(100))


def test_values_of_no_fixed_length_are_samples_and_a_transform_makes_tensors_of_them(
    store_path: Path,
) -> None:
    with alexpy.open(store_path) as store:
        store.put_many(range(20), [b"x" * length for length in range(20)])
    samples = AlexDataset(store_path)
    assert samples[3] == b"xxx"
    assert samples[[3, 1]] == [b"xxx", b"x"]
    lengths = AlexDataset(store_path, transform=len)
    assert lengths[7] == 7
    assert torch.equal(lengths[[7, 2]], torch.tensor([7, 2]))
    assert torch.cat(list(DataLoader(lengths, batch_size=6, num_workers=2))).tolist() == list(range(20))
    assert torch.cat(list(DataLoader(lengths.batched(6), batch_size=None))).tolist() == list(range(20))


def test_a_transform_of_batches_gets_whole_batches(sparse: Path) -> None:
    sums = AlexDataset(sparse, np.float32, WIDTH).batched(100, transform=lambda batch: batch.sum(dim=1))
    assert len(sums) == 10
    assert torch.equal(torch.cat(list(sums)), torch.from_numpy(ROWS.sum(axis=1)))


@pytest.mark.parametrize(
    ("dtype", "numpy_dtype"),
    [
        (torch.float32, np.float32),
        (torch.bfloat16, np.int16),
        (torch.float8_e4m3fn, np.int8),
        (torch.uint8, np.uint8),
        (torch.float64, ">f8"),
        ("<i4", np.int32),
        (">u2", ">u2"),
    ],
)
def test_types_of_either_library_in_either_byte_order_are_read(
    store_path: Path, dtype: Any, numpy_dtype: Any
) -> None:
    stored = np.arange(24).astype(numpy_dtype).reshape(8, 3)
    read = stored if not isinstance(dtype, torch.dtype) else stored.astype(stored.dtype.newbyteorder("<"))
    with alexpy.open(store_path) as store:
        store.put_many(range(8), read)
    samples = AlexDataset(store_path, dtype, 3)
    expected = torch.from_numpy(read.astype(read.dtype.newbyteorder("=")))
    if isinstance(dtype, torch.dtype):
        expected = expected.view(dtype)
    assert samples[[0, 1, 2, 3, 4, 5, 6, 7]].dtype == expected.dtype
    for workers in (0, 2):
        loader = DataLoader(samples.batched(3), batch_size=None, num_workers=workers)
        read_by_all = list(loader)
        assert {batch.dtype for batch in read_by_all} == {expected.dtype}
        bytes_of = [batch.view(torch.uint8) for batch in read_by_all]
        assert torch.equal(torch.cat(bytes_of), expected.view(torch.uint8))


def test_batches_of_any_size_cross_to_the_loader_as_plain_tensors(store_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (64, 40_000), np.uint8)
    with alexpy.open(store_path) as store:
        store.put_many(range(64), rows)
    samples = AlexDataset(store_path, np.uint8, 40_000)
    for size in (1, 20, 64):
        batches = list(DataLoader(samples.batched(size), batch_size=None, num_workers=1))
        assert {type(batch) for batch in batches} == {torch.Tensor}
        assert torch.equal(torch.cat(batches), torch.from_numpy(rows))
        # A tensor that a program may go on with: in memory of its own, and writable.
        batches[0][0] = 0


def test_threads_that_need_an_unpickled_set_at_once_open_its_store_once(
    sparse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = pickle.loads(pickle.dumps(AlexDataset(sparse, np.float32, WIDTH)))
    opened, threads = [], 4
    start = threading.Barrier(threads)

    def slow(*arguments: Any, **options: Any) -> Any:
        opened.append(alexpy.open(*arguments, **options))
        time.sleep(0.05)
        return opened[-1]

    def read(place: int) -> Any:
        start.wait()
        return samples[place].tolist()

    monkeypatch.setattr("alexpy._store.open", slow)
    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(read, range(threads))) == ROWS[:threads].tolist()
    assert len(opened) == 1


def test_a_set_is_copied_pickled_and_split_as_others_are(sparse: Path) -> None:
    samples = AlexDataset(sparse, np.float32, WIDTH)
    again = pickle.loads(pickle.dumps(samples.shuffled(1)))
    assert numbers(again.batched(99)) == numbers(copy.deepcopy(samples).shuffled(1).batched(99))
    first, second = random_split(samples, [300, KEYS - 300], torch.Generator().manual_seed(1))
    both = numbers(DataLoader(first, batch_size=64)) + numbers(DataLoader(second, batch_size=64))
    assert sorted(both) == list(range(KEYS))
    assert len(pickle.dumps(samples.shuffled(1)[3:])) < 2_000


def test_what_a_writer_adds_is_not_in_a_set_that_was_made_before(sparse: Path) -> None:
    samples = AlexDataset(sparse, np.float32, WIDTH)
    chosen = AlexDataset(sparse, np.float32, WIDTH, keys=SPARSE[:50])
    with alexpy.open(sparse) as store:
        store[-(10**6)] = ROWS[0]
    assert numbers(samples.batched(100)) == list(range(KEYS))
    with pytest.raises(
        alexpy.AlexError, match=r"was written to after this dataset was made .*or give it keys"
    ):
        pickle.loads(pickle.dumps(samples))[0]
    assert numbers(pickle.loads(pickle.dumps(chosen)).batched(100)) == list(range(50))
    assert len(AlexDataset(sparse, np.float32, WIDTH)) == KEYS + 1


def test_closing_and_reading_on_opens_the_store_again(sparse: Path) -> None:
    samples = AlexDataset(sparse, np.float32, WIDTH)
    for _ in range(3):
        samples.close()
        assert numbers([samples[[3]]]) == [3]


def test_an_empty_store_has_no_samples(store_path: Path) -> None:
    alexpy.open(store_path).close()
    samples = AlexDataset(store_path, np.float32, 2)
    assert len(samples) == 0
    assert list(samples) == []
    assert list(samples.shuffled(1).batched(4)) == []
    with pytest.raises(IndexError, match="there is no sample 0: there are 0"):
        samples[0]


def test_what_cannot_be_read_is_said_where_the_set_is_made(sparse: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AlexDataset(tmp_path / "none", np.float32)
    with pytest.raises(KeyError, match=r"12 \(keys\[1\]\) is not in "):
        AlexDataset(sparse, np.float32, WIDTH, keys=[SPARSE[0], 12])
    with pytest.raises(TypeError, match="keys"):
        AlexDataset(sparse, np.float32, WIDTH, keys=["a"])
    with pytest.raises(TypeError, match=r"NumPy has no type for torch\.bits8"):
        AlexDataset(sparse, torch.bits8, WIDTH)
    alexpy.ShardedStore.create(tmp_path / "shards", [5])
    with pytest.raises(alexpy.FormatError, match="is a sharded store"):
        AlexDataset(tmp_path / "shards", np.float32)
    absent = uuid.UUID(int=12)
    with alexpy.open(tmp_path / "uuid", key="uuid") as store:
        store[uuid.UUID(int=11)] = b""
    with pytest.raises(KeyError, match=rf"{absent} \(keys\[0\]\) is not in "):
        AlexDataset(tmp_path / "uuid", np.float32, WIDTH, keys=[absent])
    with pytest.raises(TypeError, match="PyTorch has no tensors of datetime64"):
        AlexDataset(sparse, "M8[us]")
    with pytest.raises(TypeError, match=r"PyTorch has no tensors of <U3 \(name\)"):
        AlexDataset(sparse, np.dtype([("name", "U3")]))
    with pytest.raises(TypeError, match="Python objects"):
        AlexDataset(sparse, object)
    with pytest.raises(ValueError, match="size must be 1 or more, not 0"):
        AlexDataset(sparse, np.float32, WIDTH).batched(0)


def test_what_is_not_there_is_said_where_it_is_read(sparse: Path) -> None:
    samples = AlexDataset(sparse, np.float32, WIDTH)
    with pytest.raises(IndexError, match="there is no sample 1000: there are 1000"):
        samples[KEYS]
    with pytest.raises(IndexError, match="there is no sample -1001"):
        samples[[0, -KEYS - 1]]
    with pytest.raises(IndexError, match="there is no batch 10: there are 10"):
        samples.batched(100)[10]
    with pytest.raises(TypeError):
        samples["a"]
    with pytest.raises(ValueError, match="the value of key -40000 has 20 bytes"):
        AlexDataset(sparse, np.float32, WIDTH + 1)[0]
    gone = AlexDataset(sparse, np.float32, WIDTH, keys=SPARSE[:3])
    gone.close()
    with alexpy.open(sparse) as store:
        del store[int(SPARSE[1])]
    with pytest.raises(KeyError, match=str(SPARSE[1])):
        gone[[0, 1]]


def test_without_pytorch_the_import_says_what_to_install() -> None:
    program = "import sys; sys.modules['torch'] = None; import alexpy.torch"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(
        "ImportError: alexpy.torch needs PyTorch: pip install 'alexpy[torch]'"
    )


@pytest.mark.parametrize("name", ["AlexDataset", "Batches", "keys", "shuffled", "batched"])
def test_the_example_of_a_docstring_runs(name: str, store: alexpy.Store) -> None:
    member = getattr(alexpy.torch, name, None) or getattr(AlexDataset, name)
    names = {"s": store, "np": np, "torch": torch, "alexpy": alexpy, "AlexDataset": AlexDataset}
    found = doctest.DocTestFinder(recurse=False).find(member, name, globs=names)
    runner = doctest.DocTestRunner()
    assert sum(runner.run(test).attempted for test in found if test.examples) > 0
    assert runner.summarize(verbose=False).failed == 0


def test_the_example_of_the_page_on_training_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs/training.md").read_text()
    program = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert program is not None
    names: dict[str, Any] = {}
    exec(compile(program[1], "docs/training.md", "exec"), names)
    assert names["images"].shape[1:] == (28, 28)
    assert len(names["batches"]) == 40
    assert names["images"].dtype == torch.uint8

"""`AlexDataset`: a store as a training set for PyTorch (`pip install 'alexpy[torch]'`).

    samples = AlexDataset("train.alex", np.float32, (3, 32, 32))
    for epoch in range(10):
        batches = samples.shuffled(seed=1, epoch=epoch).batched(256)
        for batch in torch.utils.data.DataLoader(batches, batch_size=None, num_workers=4):
            ...

Samples are read by many at once, straight into one tensor. Worker processes, forked or spawned, open the
store for themselves: there is nothing to set up. Orders and parts of a set take no memory for its length.
"""

from __future__ import annotations

import copy
import operator
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    import torch
except ImportError as error:
    raise ImportError("alexpy.torch needs PyTorch: pip install 'alexpy[torch]'") from error
from torch.utils.data import Dataset, default_collate, get_worker_info

from . import _convert, _store
from ._epoch import object_of
from ._path import absolute
from ._training import Order
from .codecs import Codec, Rows
from .errors import AlexError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

__all__ = ["AlexDataset", "Batches"]

# Samples that iteration reads at a time.
_AHEAD = 1024
# Batches up to this size, in bytes, go from a worker process to the loader's through its pipe. PyTorch's way,
# a file in shared memory for each tensor, takes three times as long for 25 kB, and less only for large ones.
_PIPED_BYTES = 1 << 20
# What NumPy reads for types that it does not have: integers of their size.
_CARRIERS = {torch.bfloat16: torch.int16} | {
    kind: torch.int8
    for kind in vars(torch).values()
    if isinstance(kind, torch.dtype) and str(kind).startswith("torch.float8_")
}


class AlexDataset(Dataset[Any]):
    """The values of a store as samples, by position: a map-style dataset of PyTorch.

    `path` is the store, which is opened read-only: beside a writer the set has what was committed when it was
    made. `dtype` and `shape` say what each value is: the raw memory of one element or array, of a NumPy dtype
    or of one of PyTorch's. A sample is a tensor of that shape; of a dtype with fields, a dict of tensors.
    Where `dtype` is None the store's codec says it; where that says nothing either, a sample is the value
    itself. `transform` makes another sample of each. `codec` is that of the store if it is of your own.

    Sample `i` is that of the i-th key of the store, or of `keys[i]`. Keys are kept in memory only if they are
    given. Where they are not, a write to the store makes workers that start afterwards refuse it, since
    positions may have become those of other keys.

    Pickled or forked, a set opens the store anew. O(1), with `keys` O(keys).

    Raises:
        FileNotFoundError, FormatError, CorruptionError: as `alexpy.open`.
        KeyError: one of `keys` is not in the store.
        TypeError: PyTorch has no such dtype, or `keys` are none.

    Example:
        >>> s.put_many(range(100), np.arange(200, dtype=np.float32).reshape(100, 2))
        100
        >>> samples = AlexDataset(s.path, np.float32, (2,))
        >>> len(samples), samples[3]
        (100, tensor([6., 7.]))
        >>> samples[[0, 2]]
        tensor([[0., 1.],
                [4., 5.]])

    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        dtype: DTypeLike | torch.dtype = None,
        shape: tuple[int, ...] | int = (),
        keys: Any = None,
        transform: Callable[[Any], Any] | None = None,
        *,
        codec: Codec[Any] | None = None,
    ) -> None:
        self._source = _Source(absolute(path), codec, by_position=keys is None)
        self._transform = transform
        self._keys: NDArray[Any] | None = None
        store = self._source.store()
        self._rows = _rows_of(store, dtype, shape)
        # Where keys have no gap, the key at a position follows from the first one.
        self._first: Any = None
        if keys is None:
            self._order = Order.of(len(store))
            self._first = _first_of_a_run(store)
        else:
            self._keys = _keys_of(store, keys)
            self._order = Order.of(len(self._keys))

    def __len__(self) -> int:
        """Return the number of samples; O(1)."""
        return len(self._order)

    def __getitem__(self, index: Any) -> Any:
        """Return one sample; or a part of the set, of a slice; or a batch, of a list or array of positions.

        Raises:
            IndexError: there is no such sample.
            KeyError: its key was deleted.

        """
        if isinstance(index, slice):
            return self._ordered(self._order[index])
        if _is_many(index):
            return self._batch(index)
        return self._samples([operator.index(index)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return many samples, which PyTorch's loader collates."""
        return self._samples(indices)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over all samples in order; 1,024 are read at a time."""
        for start in range(0, len(self), _AHEAD):
            yield from self._samples(range(start, min(start + _AHEAD, len(self))))

    def shuffled(self, seed: int, epoch: int = 0) -> AlexDataset:
        """Return the same samples in random order, the same for the same seed and epoch; O(1).

        No list of indices is made: `shuffled(seed, epoch)[done:]` goes on in the middle of an epoch, and
        `shuffled(seed, epoch)[rank::world]` is the share of one of several machines. The order stays the same
        across versions of alexpy, machines, and numbers of workers.

        Raises:
            ValueError: `seed` or `epoch` is not from 0 to 2**64-1.

        Example:
            >>> s.put_many(range(6), np.arange(6))
            6
            >>> samples = AlexDataset(s.path, np.int64)
            >>> torch.stack(list(samples.shuffled(seed=1))).tolist()
            [1, 5, 2, 3, 0, 4]
            >>> torch.stack(list(samples.shuffled(seed=1)[4:])).tolist()
            [0, 4]

        """
        return self._ordered(self._order.shuffled(seed, epoch))

    def batched(
        self, size: int, *, drop_last: bool = False, transform: Callable[[Any], Any] | None = None
    ) -> Batches:
        """Return the set in batches, each read by one call: a dataset whose samples are batches.

        The fastest way into a `DataLoader(..., batch_size=None)`, which then collates nothing. `drop_last`
        leaves an incomplete last batch out; `transform` makes another batch of each. O(1).

        Raises:
            ValueError: `size` is below 1.

        Example:
            >>> s.put_many(range(5), np.arange(5))
            5
            >>> list(AlexDataset(s.path, np.int64).batched(2))
            [tensor([0, 1]), tensor([2, 3]), tensor([4])]

        """
        return Batches(self, size, drop_last=drop_last, transform=transform)

    def keys(self, indices: Any) -> NDArray[Any]:
        """Return the keys of the samples at `indices`, a list or array, as an array of the store's kind.

        Raises:
            IndexError: there is no such sample.

        Example:
            >>> s.put_many([10, 20, 30], np.arange(3))
            3
            >>> AlexDataset(s.path, np.int64)[::-1].keys([0, 1])
            array([30, 20])

        """
        positions = self._order.positions(indices)
        if self._keys is not None:
            return self._keys[positions]
        if self._first is not None:
            found: NDArray[Any] = self._first + positions.astype(self._first.dtype.str.replace("M", "m"))
            return found
        return self._source.store()._keys_of_ranks(positions)  # noqa: SLF001

    def close(self) -> None:
        """Close the store, also for the parts and orders of this set; the next read opens it again."""
        self._source.close()

    def __repr__(self) -> str:
        """Name the store and the number of samples."""
        return f"<alexpy.torch.AlexDataset {self._source.path!r}, {len(self)} samples>"

    def _ordered(self, order: Order) -> AlexDataset:
        made = copy.copy(self)
        made._order = order  # noqa: SLF001 - its own
        return made

    def _samples(self, indices: Any) -> list[Any]:
        keys = self.keys(indices)
        if self._rows is None:
            samples = _values(self._source.store(), keys)
        else:
            samples = self._rows.samples(self._source.store(), keys)
        return samples if self._transform is None else [self._transform(sample) for sample in samples]

    def _batch(self, indices: Any) -> Any:
        if self._rows is not None and self._transform is None:
            return self._rows.batch(self._source.store(), self.keys(indices))
        samples = self._samples(indices)
        return samples if self._transform is None else default_collate(samples)


class Batches(Dataset[Any]):
    """The batches of an `AlexDataset`, by position; what `AlexDataset.batched` returns.

    Example:
        >>> s.put_many(range(5), np.arange(5))
        5
        >>> batches = AlexDataset(s.path, np.int64).batched(2, drop_last=True)
        >>> len(batches), batches[1]
        (2, tensor([2, 3]))

    """

    def __init__(
        self, samples: AlexDataset, size: int, *, drop_last: bool, transform: Callable[[Any], Any] | None
    ) -> None:
        self._samples = samples
        self._size = operator.index(size)
        if self._size < 1:
            raise ValueError(f"size must be 1 or more, not {size}")
        self._numbers = range(len(samples) // self._size if drop_last else -(-len(samples) // self._size))
        self._transform = transform

    def __len__(self) -> int:
        """Return the number of batches; O(1)."""
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        """Return one batch; or some of the batches, of a slice.

        Raises:
            IndexError: there is no such batch.

        """
        if isinstance(index, slice):
            part = copy.copy(self)
            part._numbers = self._numbers[index]  # noqa: SLF001 - its own
            return part
        try:
            start = self._numbers[operator.index(index)] * self._size
        except IndexError:
            raise IndexError(f"there is no batch {index}: there are {len(self)}") from None
        batch = self._samples[np.arange(start, min(start + self._size, len(self._samples)))]
        return batch if self._transform is None else self._transform(batch)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over all batches in order."""
        return (self[number] for number in range(len(self)))


class _Source:
    """The store of a set and its parts, opened once in each process."""

    def __init__(self, path: str, codec: Codec[Any] | None, *, by_position: bool) -> None:
        self.path = path
        self._codec = codec
        self._by_position = by_position
        # The sequence number at which the set was made.
        self._seq: int | None = None
        self._store: _store.Store[Any, Any] | None = None
        self._process = 0
        # One lock a process: several threads may be the first to need the store.
        self._opening: dict[int, threading.Lock] = {}

    def store(self) -> _store.Store[Any, Any]:
        """Return the store, opened in this process.

        Raises:
            AlexError: positions are other keys than they were when the set was made.

        """
        if self._store is not None and self._process == os.getpid():
            return self._store
        # A thread of the parent may have held its lock during the fork.
        with self._opening.setdefault(os.getpid(), threading.Lock()):
            if self._store is None or self._process != os.getpid():
                self._store, self._process = self._opened(), os.getpid()
            return self._store

    def _opened(self) -> _store.Store[Any, Any]:
        store = _store.open(self.path, read_only=True, codec=self._codec)
        with store.snapshot() as now:
            seq = now.seq
        if self._seq is None:
            self._seq = seq
        if self._by_position and self._seq != seq:
            store.close()
            raise AlexError(
                f"{self.path} was written to after this dataset was made (sequence number {self._seq}, now "
                f"{seq}), so that positions may mean other keys; make the dataset again, or give it keys"
            )
        return store

    def close(self) -> None:
        """Close the store, unless another process opened it."""
        store, self._store = self._store, None
        if store is not None and self._process == os.getpid():
            store.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open store out: it is opened again where this is unpickled."""
        return {**self.__dict__, "_store": None, "_opening": {}}

    def __del__(self) -> None:
        """Close the store: nobody closes a training set."""
        self.close()


class _Piped(torch.Tensor):
    """A tensor that is pickled with its elements and comes out plain, as results of operations do."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # noqa: SLF001 - PyTorch's way to say so

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        carrier = _CARRIERS.get(self.dtype)
        plain = self if carrier is None else self.view(carrier)
        return _received, (plain.numpy(), None if carrier is None else self.dtype)


def _received(elements: NDArray[Any], as_type: torch.dtype | None) -> torch.Tensor:
    tensor = torch.from_numpy(elements)
    return tensor if as_type is None else tensor.view(as_type)


class _Rows:
    """Values of one length as tensors."""

    def __init__(self, dtype: Any, shape: tuple[int, ...] | int) -> None:
        self.as_type = dtype if isinstance(dtype, torch.dtype) else None
        if self.as_type is not None:
            dtype = _numpy_type(_CARRIERS.get(self.as_type, self.as_type))
        self.row = _convert.Row(dtype, shape, None)
        # An error now, where the dtype is named, instead of one in a worker.
        self._tensors(np.empty((0, *self.row.shape), self.row.dtype))

    def batch(self, store: _store.Store[Any, Any], keys: NDArray[Any]) -> Any:
        """Return the values in one tensor, or in a dict of them; O(bytes)."""
        rows = store.get_array(keys, self.row.dtype, self.row.shape)
        batch = self._tensors(rows)
        if get_worker_info() is None or rows.nbytes > _PIPED_BYTES:
            return batch
        if isinstance(batch, dict):
            return {name: column.as_subclass(_Piped) for name, column in batch.items()}
        return batch.as_subclass(_Piped)

    def samples(self, store: _store.Store[Any, Any], keys: NDArray[Any]) -> list[Any]:
        """Return a tensor, or a dict of them, for each value."""
        batch = self._tensors(store.get_array(keys, self.row.dtype, self.row.shape))
        if not isinstance(batch, dict):
            return list(batch.unbind(0))
        columns = [column.unbind(0) for column in batch.values()]
        return [dict(zip(batch, row, strict=True)) for row in zip(*columns, strict=True)]

    def _tensors(self, rows: NDArray[Any]) -> Any:
        if rows.dtype.names is None:
            return self._tensor(rows, str(self.row.dtype))
        # Copies: a field of a single row counts as contiguous whatever its stride, and PyTorch refuses that.
        return {name: self._tensor(rows[name].copy(), name) for name in rows.dtype.names}

    def _tensor(self, rows: NDArray[Any], name: str) -> torch.Tensor:
        native = rows.astype(rows.dtype.newbyteorder("="), copy=False)
        try:
            tensor = torch.from_numpy(native)
        except TypeError:
            raise TypeError(f"PyTorch has no tensors of {native.dtype} ({name})") from None
        return tensor if self.as_type is None else tensor.view(self.as_type)


def _numpy_type(kind: torch.dtype) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = torch.empty(0, dtype=kind).numpy().dtype
    except TypeError:
        raise TypeError(
            f"NumPy has no type for {kind}; give one that it has, and make tensors of {kind} in `transform`"
        ) from None
    return found


def _rows_of(store: _store.Store[Any, Any], dtype: Any, shape: tuple[int, ...] | int) -> _Rows | None:
    if dtype is not None:
        return _Rows(dtype, shape)
    if not isinstance(store.codec, Rows):
        return None
    return _Rows(store.codec.dtype, store.codec.shape)


def _first_of_a_run(store: _store.Store[Any, Any]) -> Any:
    """Return the first key as an array if the keys are integers or moments without a gap; else None."""
    first, last = store.first(), store.last()
    if first is None or last is None or store.key_kind == "uuid":
        return None
    ends = np.array([first[0], last[0]], {"int64": "i8"}.get(store.key_kind, store.key_kind))
    low, high = (int(key) for key in ends.view("u8" if store.key_kind == "uint64" else "i8"))
    return ends[0] if high - low == len(store) - 1 else None


def _keys_of(store: _store.Store[Any, Any], keys: Any) -> NDArray[Any]:
    """Return keys as an array of the store's kind, all of which are there."""
    array: NDArray[Any] = store._keys_as_array(keys)  # noqa: SLF001
    found = store.contains_many(array)
    if not found.all():
        missing = int(found.argmin())
        key = object_of(array[missing], store.key_kind)
        raise KeyError(f"{key} (keys[{missing}]) is not in {os.fspath(store.path)}")
    return array


def _values(store: _store.Store[Any, Any], keys: NDArray[Any]) -> list[Any]:
    values: list[Any] = store.get_many(keys, _ABSENT)
    for key, value in zip(keys, values, strict=True):
        if value is _ABSENT:
            raise KeyError(object_of(key, store.key_kind))
    return values


_ABSENT: Any = object()


def _is_many(index: object) -> bool:
    return isinstance(index, (list, tuple, np.ndarray, torch.Tensor)) and bool(np.ndim(index))

"""Converts keys and values between what callers give and what RocksDB holds.

The rules and messages are those of `alexpy.Store`. Keys in RocksDB are 8 big-endian bytes with the sign bit
flipped, so that they sort as integers do. O(bytes). Knows no store.
"""

from __future__ import annotations

import operator
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from alexpy import _convert
from alexpy._index import AlexIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGN: Final = 1 << 63
_VALUE_LIMIT: Final = 2**32 - 1
# Checks keys by the rules and with the messages of `Store`; it stays empty.
_JUDGE: Final = AlexIndex()


def one_key(key: Any) -> int:
    """Return one key as an int, by the rule and with the messages of `Store`."""
    _JUDGE.get(key)
    return operator.index(key)


def many_keys(keys: Any) -> NDArray[np.int64]:
    """Return many keys as an array, by the rules and with the messages of `Store`."""
    array = _convert.integers(keys, "keys")
    if array is not None:
        return array
    listed = list(keys)
    _JUDGE.contains_many(listed)
    return np.fromiter(map(operator.index, listed), np.int64, len(listed))


def one_value(value: Any, name: str) -> bytes:
    """Return the raw memory of one value; `name` is what messages call it."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        raise TypeError(_convert.refused_value(value, name))
    if isinstance(value, np.ndarray | np.generic) and (value.dtype.hasobject or value.dtype.kind == "T"):
        raise TypeError(f"{name} is an array of Python objects or text; values are plain memory")
    try:
        # Arrays of dates, which NumPy does not export as buffers, have these too.
        view = value if isinstance(value, np.ndarray | np.generic) else memoryview(value)
    except TypeError:
        raise TypeError(_convert.refused_value(value, name)) from None
    contiguous = view.c_contiguous if isinstance(view, memoryview) else view.flags.c_contiguous
    if not contiguous:
        raise BufferError(f"{name} is not C-contiguous; store a copy")
    if view.nbytes > _VALUE_LIMIT:
        raise ValueError(f"{name} has {view.nbytes} bytes, and the limit is {_VALUE_LIMIT}")
    return view.tobytes()


def many_values(items: Any, count: int) -> list[bytes]:
    """Return `count` values.

    Raises:
        ValueError: there are more or fewer.

    """
    found = _convert.values(items)
    if isinstance(found, tuple) and len(found) == 3:  # noqa: PLR2004 - rows: memory, width, count
        memory, width, rows = cast("tuple[NDArray[np.uint8], int, int]", found)
        if width > _VALUE_LIMIT:
            raise ValueError(f"each row of values has {width} bytes, and the limit is {_VALUE_LIMIT}")
        _same_count(count, rows)
        data = memory.tobytes()
        return [data[at * width : (at + 1) * width] for at in range(rows)]
    if isinstance(found, tuple):
        memory, offsets = cast("tuple[NDArray[np.uint8], NDArray[np.int64]]", found)
        data, ends = memory.tobytes(), offsets.tolist()
        _same_count(count, len(ends) - 1)
        return [data[begin:end] for begin, end in pairwise(ends)]
    # One more than allowed, because the iterable may have no end.
    taken = islice(items if found is None else found, count + 1)
    values = [one_value(value, f"values[{position}]") for position, value in enumerate(taken)]
    _same_count(count, len(values))
    return values


def _same_count(keys: int, values: int) -> None:
    if keys != values:
        many = "more" if values > keys else str(values)
        raise ValueError(f"there are {keys} keys and {many} values; nothing was written")


def to_raw(number: int) -> bytes:
    return (number + _SIGN).to_bytes(8)


def to_raw_many(numbers: NDArray[np.int64]) -> list[bytes]:
    data = (numbers.view(np.uint64) ^ np.uint64(_SIGN)).astype(">u8").tobytes()
    return [data[at : at + 8] for at in range(0, len(data), 8)]


def from_raw(data: bytes) -> NDArray[np.int64]:
    return (np.frombuffer(data, ">u8").astype(np.uint64) ^ np.uint64(_SIGN)).view(np.int64)

"""Arrays and records as what JSON has, from which the same bytes are made again.

The values of `codecs.numpy` and `codecs.struct`, which `meaning` shows and takes. Apart from it, because this
imports NumPy. O(bytes of a value).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DOUBLE_BYTES = 8
_MOMENT = re.compile(
    r"[+-]?[0-9]{3,12}(-[0-9]{2}(-[0-9]{2}(T[0-9]{2}(:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,18})?)?)?)?)?)?", re.ASCII
)


def told(array: NDArray[Any]) -> Any:
    """Return an array, or a record in one of no dimensions, as lists, numbers and text.

    Bytes are text, spans of time the number of their units, and text is what JSON has no number for: moments,
    complex numbers, infinity.

    Raises:
        UnicodeDecodeError: bytes are not UTF-8.

    Example:
        >>> told(np.array([(1, b"ab")], "i4,S3"))
        [[1, 'ab']]

    """
    kind, long = array.dtype.kind, array.dtype.itemsize > _DOUBLE_BYTES
    if kind in "biu" or (kind == "f" and not long and np.isfinite(array).all()):
        return array.tolist()
    if array.ndim:
        return [told(array[at, ...]) for at in range(len(array))]
    if array.dtype.names is not None:
        return [told(array[name]) for name in array.dtype.names]
    if kind in "SUV":
        return _text(array)
    if kind == "m" and not np.isnat(array):
        return array.astype(np.int64).item()
    return str(array[()])


def _text(array: NDArray[Any]) -> str:
    if array.dtype.kind == "U":
        # Not by NumPy, which gives up at what is no character.
        return array.astype(array.dtype.newbyteorder("<")).tobytes().decode("utf-32-le").rstrip("\0")
    memory = array.tobytes()
    return (memory.rstrip(b"\0") if array.dtype.kind == "S" else memory).decode()


def given(value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Return what `told` made as what a codec of this dtype and shape takes, which refuses anything else.

    Raises:
        ValueError: text is no number.

    Example:
        >>> given([1, "ab"], np.dtype("i4,S3"), ())
        (1, b'ab')

    """
    if isinstance(value, float) and not np.isfinite(value):
        raise ValueError("a number is beyond what floats hold")
    if shape:
        return [given(part, dtype, shape[1:]) for part in value] if isinstance(value, list) else value
    if dtype.names is not None:
        if not isinstance(value, list) or len(value) != len(dtype.names):
            return value
        fields = [dtype[name].subdtype or (dtype[name], ()) for name in dtype.names]
        return tuple(given(part, *field) for part, field in zip(value, fields, strict=True))
    return _number(value, dtype) if isinstance(value, (int, str)) else value


def _number(value: int | str, dtype: np.dtype[Any]) -> Any:
    """Return text that stands for something else as that, and the units of a span of time as the span."""
    if dtype.kind in "mM":
        return _time(value, dtype)
    if isinstance(value, int):
        return value
    if dtype.kind in "SV":
        return value.encode()
    if dtype.kind == "f":
        return np.longdouble(value) if dtype.itemsize > _DOUBLE_BYTES else float(value)
    return complex(value) if dtype.kind == "c" else value


def _time(value: int | str, dtype: np.dtype[Any]) -> Any:
    """Return a span of so many units, or the moment that is written so."""
    if value == "NaT":
        return np.array("NaT", dtype)
    if dtype.kind == "m" and isinstance(value, int) and abs(value) < 2**63:
        return np.array(value, np.int64).astype(dtype)
    if dtype.kind == "M" and isinstance(value, str) and _MOMENT.fullmatch(value):
        return value
    what = "the number of its units" if dtype.kind == "m" else "written like 2026-11-29T12:00:00.5"
    raise ValueError(f"a value of {dtype} is {what}, not {value!r}")


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether two arrays of one dtype have the same bytes, apart from those between fields.

    Example:
        >>> same(np.array(np.nan), np.array(np.nan))
        True

    """
    if one.dtype.names is None:
        return one.tobytes() == other.tobytes()
    return all(same(one[name], other[name]) for name in one.dtype.names)

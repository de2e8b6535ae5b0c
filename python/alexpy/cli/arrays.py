"""Arrays and records as what JSON has, from which the same bytes are made again.

The values of `codecs.numpy` and `codecs.struct`, which `meaning` shows and takes. Apart from it, because this
imports NumPy. O(bytes of a value).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DOUBLE_BYTES = 8


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
    if kind in "SV":
        return (array.item() if kind == "S" else array.tobytes()).decode()
    if kind == "m" and not np.isnat(array):
        return array.astype(np.int64).item()
    return str(array[()])


def given(value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Return what `told` made as what a codec of this dtype and shape takes, which refuses anything else.

    Raises:
        ValueError: text is no number.

    Example:
        >>> given([1, "ab"], np.dtype("i4,S3"), ())
        (1, b'ab')

    """
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
    if dtype.kind == "m":
        return np.asarray(value).astype(dtype)
    if isinstance(value, int):
        return value
    if dtype.kind in "SV":
        return value.encode()
    if dtype.kind == "f":
        return np.longdouble(value) if dtype.itemsize > _DOUBLE_BYTES else float(value)
    return complex(value) if dtype.kind == "c" else value


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether two arrays of one dtype have the same bytes, apart from those between fields.

    Example:
        >>> same(np.array(np.nan), np.array(np.nan))
        True

    """
    if one.dtype.names is None:
        return one.tobytes() == other.tobytes()
    return all(same(one[name], other[name]) for name in one.dtype.names)

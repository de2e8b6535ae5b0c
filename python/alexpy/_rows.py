"""Objects as rows of a NumPy array, without losing anything but the digits of floats.

What `codecs.numpy` and `codecs.struct` take. Apart from the codecs, because it imports NumPy. O(bytes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _alexpy
from ._convert import _array, _exported, _numbers, arrow_column

if TYPE_CHECKING:
    import struct

    from numpy.typing import NDArray

# Kinds of which NumPy makes one array of a list without turning numbers into text.
_NUMBERS = frozenset("biufcmM")
_Masked = np.ma.MaskedArray
# Types of which no integer is among the elements of an array of floats.
_LISTS = frozenset({list, tuple})
_FLOATS = _LISTS | {float, complex, np.float32, np.float64}
# Of the floats of 80 bits that x86 has as long doubles: bytes that count, and digits of the fraction.
_LONG_BYTES = 10
_LONG_DIGITS = 63


def of(value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return one value as an array of `dtype` and `shape`.

    Raises:
        TypeError: it is none, or of another kind.
        ValueError: it has another shape.
        OverflowError, FloatingPointError: it would change.

    Example:
        >>> of([1, 2], np.dtype("f4"), (2,))
        array([1., 2.], dtype=float32)
        >>> of(1.5, np.dtype("i4"), ())
        Traceback (most recent call last):
        ...
        TypeError: it takes int32, not float64

    """
    row = converted(value, dtype, len(shape))
    if row.shape != shape:
        raise ValueError(f"it takes an array of shape {shape}, not {row.shape}")
    return row


def converted(value: Any, dtype: np.dtype[Any], depth: int) -> NDArray[Any]:
    """Return a value as an array of `dtype`, of the shape that it has; masks are seen `depth` lists deep.

    Raises:
        TypeError, ValueError, OverflowError, FloatingPointError: as `of`.

    Example:
        >>> converted([1, 2], np.dtype("f4"), 1)
        array([1., 2.], dtype=float32)

    """
    kinds = _types([value], depth)
    _refuse_masked(kinds)
    if dtype.names is not None and not isinstance(value, (np.ndarray, np.void)):
        return _records(value, dtype)
    if dtype.kind in "mM":
        return _apart(value, dtype)
    array = np.asarray(value)
    if array is not value and _rounded(kinds, array, dtype):
        return _apart(value, dtype)
    return _cast(array, dtype)


def encoded(value: Any, dtype: np.dtype[Any], shape: tuple[int, ...], *, tidy: bool = False) -> bytes:
    r"""Return the memory of one value, of `dtype` and `shape`; `tidy` is what `is_tidy` says of the dtype.

    Raises:
        TypeError, ValueError, OverflowError, FloatingPointError: as `of`.

    Example:
        >>> encoded([1, 2], np.dtype("i2"), (2,))
        b'\x01\x00\x02\x00'

    """
    row = of(value, dtype, shape)
    return (row if tidy else _tidied(row)).tobytes()


def decoded(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    r"""Return the value that has this memory: a read-only array, or a scalar for shape ().

    Raises:
        ValueError: the memory is longer or shorter.

    Example:
        >>> decoded(b"\x01\x00\x02\x00", np.dtype("i2"), (2,)).tolist()
        [1, 2]

    """
    array = row(data, dtype, shape)
    return array if shape else array[()]


def row(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    r"""Return the value that has this memory, as a read-only array.

    Raises:
        ValueError: the memory is longer or shorter.

    Example:
        >>> row(b"\x01\x00", np.dtype("i2"), ())
        array(1, dtype=int16)

    """
    elements = math.prod(shape)
    if len(data) != elements * dtype.itemsize:
        raise ValueError(f"there are {len(data)} bytes, and one value has {elements * dtype.itemsize}")
    return np.frombuffer(data, dtype).reshape(shape)


def packed(
    value: Any, packed: struct.Struct, dtype: np.dtype[Any], texts: tuple[tuple[int, int], ...] = ()
) -> bytes:
    r"""Return what a struct packs a value into: a tuple of fields, or the one field.

    `texts` says which fields are bytes, which struct would cut.

    Raises:
        TypeError: it is none, or masked.
        ValueError: bytes are too long for their field, and would be cut.
        struct.error: some field is of another kind, or out of range.

    Example:
        >>> packed((1, 2), struct.Struct("<bb"), np.dtype("i1,i1"))
        b'\x01\x02'

    """
    if dtype.names is not None and isinstance(value, np.void):
        # A record, as calls for many keys return it.
        return encoded(value, dtype, ())
    fields = (value,) if dtype.names is None else value
    if not isinstance(fields, (tuple, list)):
        raise TypeError(f"it takes a tuple of {len(dtype.names or ())} fields, not a {type(value).__name__}")
    _refuse_masked(_types(fields, 0))
    data = packed.pack(*fields)
    for number, size in texts:
        if len(fields[number]) > size:
            raise ValueError(f"{fields[number]!r} is longer than the {size} bytes of its field")
    return data


def texts(dtype: np.dtype[Any]) -> tuple[tuple[int, int], ...]:
    """Return which fields are bytes, and how many each has.

    Example:
        >>> texts(np.dtype("i1,V3"))
        ((1, 3),)

    """
    kinds = [dtype] if dtype.names is None else [dtype[name] for name in dtype.names]
    return tuple((number, kind.itemsize) for number, kind in enumerate(kinds) if kind.kind == "V")


def many(values: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Return many values as one array of `dtype`, or None if each is to be converted by itself.

    Raises:
        TypeError, ValueError, OverflowError, FloatingPointError: `values` is an array, but of another kind or
            shape, or some element would change.

    Example:
        >>> many([1, 2], np.dtype("f8"), ())
        array([1., 2.])
        >>> many([1, None], np.dtype("f8"), ()) is None
        True

    """
    arrow = values if isinstance(values, _alexpy._ArrowInput) else _exported(values)  # noqa: SLF001 - native half
    array = None if arrow is None else _arrow_rows(arrow, dtype)
    if array is None and arrow is not None and not hasattr(values, "__iter__"):
        raise TypeError(
            f"values is an Arrow array of {arrow.type}, and the codec of this store takes rows of {dtype}"
        )
    if array is None:
        array = _array(values, "values")
    if array is None or array.dtype.kind == "O":
        return _listed(values, dtype, shape)
    if array.ndim == 0 or array.shape[1:] != shape:
        wanted = ", ".join(["keys", *map(str, shape)])
        raise ValueError(f"values must have the shape ({wanted}), not {array.shape}")
    try:
        rows = np.ascontiguousarray(_tidied(_cast(array, dtype)))
        # A store takes text for what is to be encoded.
        return rows.view(f"V{dtype.itemsize}") if dtype.kind == "U" else rows
    except FloatingPointError as error:
        raise OverflowError(f"values: {dtype} does not hold all of this {array.dtype}") from error
    except (TypeError, OverflowError) as error:
        raise type(error)(f"values: {error}") from error


def _arrow_rows(arrow: _alexpy._ArrowInput, dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Return an Arrow column as the array that `arrow_parts` describes, or None if it is no such column."""
    if dtype.names is None or arrow.names != list(dtype.names):
        column = arrow_column(arrow, "values")
        array = None if column is None else _numbers(column)
        if array is None or array.dtype.kind != "V":
            return array
        # What Arrow has no numbers for comes as its bytes.
        return array.view(dtype) if _arrow_format(dtype) == f"w:{array.dtype.itemsize}" else array
    rows = np.zeros(len(arrow), dtype)
    for number, name in enumerate(dtype.names):
        element, shape = dtype[name].subdtype or (dtype[name], ())
        part = _arrow_rows(arrow.column(number), element)
        if part is None or part.shape[1:] != shape:
            return None
        rows[name] = _cast(part, element)
    return rows


def _listed(values: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Return a list of values as one array if all are fit for it: one by one, the unfit has a key."""
    if not isinstance(values, (list, tuple)) or dtype.kind not in _NUMBERS:
        return None
    if dtype.kind in "mM":
        units = {getattr(value, "dtype", None) for value in values}
        if len(units) > 1 or None in units:
            return None
    try:
        kinds = _types(values, len(shape))
        _refuse_masked(kinds)
        array = np.asarray(values)
        if array.shape[1:] != shape or array.dtype.kind not in _NUMBERS or _rounded(kinds, array, dtype):
            return None
        return np.ascontiguousarray(_tidied(_cast(array, dtype)))
    except (TypeError, ValueError, OverflowError, FloatingPointError):
        return None


def _records(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a tuple as one record, field by field; a list as an array of them."""
    if isinstance(value, list):
        return np.array([_records(one, dtype) for one in value], dtype)
    names = dtype.names or ()
    if not isinstance(value, tuple) or len(value) != len(names):
        raise TypeError(f"it takes a tuple of {len(names)} fields, or a record of {dtype}")
    record = np.zeros((), dtype)
    for name, field in zip(names, value, strict=True):
        element, shape = dtype[name].subdtype or (dtype[name], ())
        record[name] = of(field, element, shape)
    return record


def _apart(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return what a list holds, each element cast by itself.

    In one array NumPy wraps dates that the common unit does not hold, and rounds integers beside floats.
    """
    if hasattr(value, "to_numpy"):
        # A moment or a span of pandas has nanoseconds, which NumPy would cut.
        value = value.to_numpy()
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return np.array([_apart(one, dtype) for one in value], dtype)
    if value is None:
        raise TypeError(
            f"it takes {dtype}, not None; give numpy.{dtype.type.__name__}('NaT') for a missing one"
        )
    # Dates and spans of the standard library in the unit that they have.
    return _cast(np.asarray(value, dtype.kind if dtype.kind in "mM" else None), dtype)


def _cast(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if array.dtype == dtype:
        return array
    plain = array.dtype.names is None and dtype.names is None and array.dtype.kind != "O"
    both_integers = array.dtype.kind in "iu" and dtype.kind in "iu"
    if not plain or not (both_integers or np.can_cast(array.dtype, dtype, "same_kind")):
        raise TypeError(f"it takes {dtype}, not {array.dtype}")
    with np.errstate(over="raise", invalid="raise"):
        converted = array.astype(dtype)
    if (dtype.kind not in "fc" or array.dtype.kind in "iu") and not _same(array, converted):
        raise OverflowError(f"{dtype} does not hold this {array.dtype}")
    return converted


def is_tidy(dtype: np.dtype[Any]) -> bool:
    """Whether every byte of an element counts: none lies between fields, or behind the 80 bits of a float.

    Example:
        >>> is_tidy(np.dtype("i4,f8")), is_tidy(np.dtype("i4,f8", align=True))
        (True, False)

    """
    if dtype.subdtype is not None:
        return is_tidy(dtype.subdtype[0])
    if dtype.names is None:
        return dtype.char not in "gG"
    fields = [dtype[name] for name in dtype.names]
    return sum(field.itemsize for field in fields) == dtype.itemsize and all(map(is_tidy, fields))


def _tidied(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array with zeros where no byte counts, so that equal values are equal bytes."""
    if is_tidy(array.dtype):
        return array
    clean = np.zeros(array.shape, array.dtype)
    if array.dtype.names is not None:
        for name in array.dtype.names:
            clean[name] = _tidied(array[name])
        return clean
    used = _LONG_BYTES if np.finfo(np.longdouble).nmant == _LONG_DIGITS else np.dtype("g").itemsize
    size = np.dtype("g").itemsize
    target = clean.reshape(-1).view(np.uint8).reshape(-1, size)
    target[:, :used] = np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(-1, size)[:, :used]
    return clean


def _same(array: NDArray[Any], converted: NDArray[Any]) -> bool:
    """Whether no element has changed: been cut, wrapped or rounded."""
    if array.dtype.kind in "mM":
        # Not compared with each other: NumPy would convert `array` once more, and overflow in the same way.
        return bool(np.all((converted.astype(array.dtype) == array) | np.isnat(array)))
    if converted.dtype.kind == "V":
        return array.dtype.itemsize == converted.dtype.itemsize
    if array.dtype.kind in "iu" and converted.dtype.kind in "fc":
        # NumPy compares integers with floats as floats.
        with np.errstate(invalid="ignore"):
            converted = converted.real.astype(array.dtype)
    return bool(np.all(array == converted))


def _types(values: list[Any] | tuple[Any, ...], depth: int) -> set[type]:
    """Return the types of values, and of what lists of them hold, `depth` deep."""
    kinds = set(map(type, values))
    for _ in range(depth):
        lists = values if kinds <= _LISTS else [one for one in values if isinstance(one, (list, tuple))]
        if not lists:
            break
        values = [*chain.from_iterable(lists)]
        kinds.update(map(type, values))
    return kinds


def _refuse_masked(kinds: set[type]) -> None:
    """Refuse masks, which `numpy.asarray` drops."""
    for kind in kinds:
        if issubclass(kind, _Masked):
            raise TypeError("it is masked, and values have no masks; .filled(x) puts x where the mask is")


def _rounded(kinds: set[type], array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Whether this array of objects of such types may have rounded integers, to be floats beside others."""
    if kinds <= _FLOATS or not array.ndim or array.dtype.kind not in "fc" or dtype.kind not in "fc":
        return False
    digits = 1 + min(np.finfo(array.dtype).nmant, np.finfo(dtype).nmant)
    with np.errstate(over="ignore"):
        return bool((np.abs(array) >= 2.0**digits).any())


# Arrow's formats of what NumPy has in the same bytes, by kind and size.
_ARROW = {
    "b1": "b",
    "i1": "c",
    "u1": "C",
    "i2": "s",
    "u2": "S",
    "i4": "i",
    "u4": "I",
    "i8": "l",
    "u8": "L",
    "f2": "e",
    "f4": "f",
    "f8": "g",
}
_ARROW_UNITS = {"s": "s", "ms": "m", "us": "u", "ns": "n"}


def arrow_parts(dtype: np.dtype[Any], shape: tuple[int, ...]) -> list[tuple[Any, ...]]:
    """Return what Arrow needs to know of rows: name, offset, format, bytes and shape of each part.

    Example:
        >>> arrow_parts(np.dtype("f4"), (3,))
        [(None, 0, 'f', 4, [3])]
        >>> arrow_parts(np.dtype([("size", "<i4"), ("name", "S3")]), ())
        [('size', 0, 'i', 4, []), ('name', 4, 'w:3', 3, [])]

    """
    if dtype.names is None or shape:
        return [(None, 0, _arrow_format(dtype), dtype.itemsize, list(shape))]
    parts = []
    for name in dtype.names:
        field = dtype[name]
        element, inner = field.subdtype or (field, ())
        parts.append((name, dtype.fields[name][1], _arrow_format(element), element.itemsize, list(inner)))  # type: ignore[index]
    return parts


def _arrow_format(dtype: np.dtype[Any]) -> str:
    """Return Arrow's format of an element; its bytes, where Arrow has no such numbers."""
    kind = f"{dtype.kind}{dtype.itemsize}"
    if dtype.isnative and kind in _ARROW:
        return _ARROW[kind]
    if dtype.isnative and dtype.kind in "mM":
        unit, step = np.datetime_data(dtype)
        if step == 1 and unit in _ARROW_UNITS:
            return f"ts{_ARROW_UNITS[unit]}:" if dtype.kind == "M" else f"tD{_ARROW_UNITS[unit]}"
    return f"w:{dtype.itemsize}"

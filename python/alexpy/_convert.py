"""Converts arrays of every kind to the few forms that the extension module reads.

The extension module reads the common forms itself: native contiguous int64 keys, lists and tuples, `bytes`.
Every other array comes here: integer widths, byte orders, strides, objects with `__array__`, Arrow. Knows
shapes and types, and nothing of stores. O(n): keys are copied unless their memory is native contiguous int64,
values are copied unless their rows are contiguous.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _alexpy
from ._integers import lengths, shown

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_INT64_MAX = 2**63 - 1

# What an array of the wrong kind holds, and what the caller can do about it.
_NOT_INTEGERS = {
    "f": "floats: convert them with .astype('int64') if no fraction can be lost",
    "c": "complex numbers",
    "b": "booleans: .astype('int64') makes 0 and 1 of them",
    "M": "dates: .astype('datetime64[us]').astype('int64') makes microseconds of them",
    "m": "time spans: .astype('timedelta64[us]').astype('int64') makes microseconds of them",
    "S": "byte strings: .astype('int64') reads integers from them",
    "U": "text: .astype('int64') reads integers from it",
    "T": "text: .astype('int64') reads integers from it",
    "V": "records: pick one integer field of them",
}


def integers(keys: Any, name: str) -> NDArray[np.int64] | None:
    """Return `keys` as a contiguous int64 array, or None if they are to be read element by element.

    `name` is the argument's name in messages: "keys" or "values".

    Raises:
        TypeError: `keys` is text, bytes, or an array of anything but integers.
        ValueError: `keys` is an array that is not one-dimensional.
        OverflowError: an unsigned integer is above 2**63-1.

    Example:
        >>> integers(np.array([1, 2], dtype=">u2"), "keys")
        array([1, 2])
        >>> integers(iter([1, 2]), "keys") is None
        True

    """
    if isinstance(keys, (str, bytes, bytearray)):
        raise TypeError(
            f"{name} must be an array or iterable of integers, not {type(keys).__name__}; "
            "numpy.frombuffer reads integers from bytes"
        )
    arrow = arrow_column(keys, name)
    if arrow is not None:
        return _int64(_arrow_integers(arrow, name), name)
    array = _array(keys, name)
    if array is not None:
        return _int64(array, name)
    if not _is_iterable(keys):
        calls = "; scan(start, stop) reads a range" if isinstance(keys, slice) else ""
        raise TypeError(f"{name} is {type_name(keys)}; give an array or another iterable of integers{calls}")
    return None


def any_array(items: Any, name: str) -> NDArray[Any] | None:
    """Return `items` as an array of whatever it holds, or None if it is none.

    Raises:
        TypeError: it has nulls, or is a table or a masked array.

    Example:
        >>> any_array(np.array([1.5]), "keys"), any_array([1.5], "keys") is None
        (array([1.5]), True)

    """
    arrow = arrow_column(items, name)
    if arrow is None:
        return _array(items, name)
    array = _numbers(arrow)
    if array is None:
        raise TypeError(f"{name} is an Arrow array of {arrow.type}, which holds no such keys; cast it first")
    return array


def values(items: Any) -> list[Any] | tuple[NDArray[np.uint8], int, int] | tuple[NDArray[Any], ...] | None:
    """Return the values of a batch in a form that the extension module reads.

    A list of values; or rows, as (memory, bytes in a row, rows); or spans, as (memory, int64 offsets); or
    None if `items` is to be iterated.

    Raises:
        TypeError: `items` is a single value, text, unordered, or an array of something without raw memory.

    Example:
        >>> values(np.array([[1, 2], [3, 4]], dtype="u1"))
        (array([1, 2, 3, 4], dtype=uint8), 2, 2)

    """
    if isinstance(items, (bytes, bytearray)) or (
        isinstance(items, memoryview) and items.ndim <= 1 and items.itemsize == 1
    ):
        raise TypeError(f"values is a single {type(items).__name__}; give one value for each key")
    if isinstance(items, str):
        raise TypeError("values is a str; give one bytes-like value for each key")
    if isinstance(items, (Mapping, set, frozenset)):
        raise TypeError(
            f"values is a {type(items).__name__}, which pairs no value with a key; give a list, or a "
            "mapping of keys to values to update"
        )
    arrow = arrow_column(items, "values")
    if arrow is not None:
        return _arrow_values(arrow)
    array = _array(items, "values")
    if array is not None:
        return _rows(array)
    if not _is_iterable(items):
        raise TypeError(f"values is {type_name(items)}; give one value for each key")
    return None


# How bytes are made of what is none, at the end of a sentence.
_MAKES_BYTES: Mapping[type, str] = {
    str: "; value.encode() makes bytes of text",
    type(None): "; to remove a key, delete it",
    int: "; value.to_bytes(8, 'little', signed=True) makes bytes of it",
    float: "; struct.pack('<d', value) makes bytes of it",
    list: "; json.dumps(value).encode() makes bytes of it",
    tuple: "; json.dumps(value).encode() makes bytes of it",
    dict: "; json.dumps(value).encode() makes bytes of it",
}
# The codec with which a store takes it as it is.
_CODECS: Mapping[type, str] = {
    str: "text",
    int: "numpy('i8')",
    float: "numpy('f8')",
    list: "json",
    tuple: "json",
    dict: "json",
}


def refused_value(value: object, name: str) -> str:
    """Return why one value, called `name`, cannot be stored, and what can.

    Example:
        >>> refused_value("text", "value").rpartition("; ")[2]
        'value.encode() makes bytes of text'

    """
    hint = next((told for kind, told in _MAKES_BYTES.items() if isinstance(value, kind)), "")
    codec = next((told for kind, told in _CODECS.items() if isinstance(value, kind)), "")
    unless = f", unless the store was made with codec=alexpy.codecs.{codec}" if codec else ""
    what = "a value is bytes or another contiguous buffer of numbers"
    return f"{name} is {type_name(value)}; {what}{unless}{hint}"


def deltas(items: Any, count: int) -> Any:
    """Return what is to be added to `count` counters: a float64 array, or what holds integers.

    One number stands for `count` of them. Whether the integers are in range is for their reader to say.

    Raises:
        TypeError: `items` has floats and something that is no number, or floats of more than 64 bits.
        ValueError: `items` is an array of floats that is not one-dimensional, or has NaN.
        OverflowError: `items` has floats and an integer that float64 does not hold.

    Example:
        >>> deltas([1, 0.5], 2), deltas(7, 2), deltas([1, 2], 2)
        (array([1. , 0.5]), [7, 7], [1, 2])

    """
    if isinstance(items, (str, bytes, bytearray)):
        return items
    if isinstance(items, (float, np.floating)):
        return np.full(count, _float64(np.asarray(items)))
    if hasattr(items, "__index__") and not (isinstance(items, np.ndarray) and items.ndim):
        return [items] * count
    arrow = arrow_column(items, "deltas")
    array = _array(items, "deltas") if arrow is None else _numbers(arrow)
    if array is None and arrow is not None:
        raise TypeError(f"deltas is an Arrow array of {arrow.type}; deltas are integers or floats")
    if array is None:
        return _listed_deltas(list(items))
    if array.dtype.kind != "f":
        return items
    if array.ndim != 1:
        raise ValueError(f"deltas must be one-dimensional, not of shape {array.shape}")
    return _float64(array)


def _listed_deltas(items: list[Any]) -> list[Any] | NDArray[np.float64]:
    kinds = (float, np.floating)
    if not any(isinstance(item, kinds) for item in items):
        return items
    floats = [
        item if isinstance(item, kinds) else _whole(item, f"deltas[{position}]")
        for position, item in enumerate(items)
    ]
    return _float64(np.array(floats))


def _whole(item: Any, place: str) -> float:
    """Return an integer among floats as one of them."""
    try:
        whole = operator.index(item)
    except TypeError:
        raise TypeError(f"{place} is a {type(item).__name__}; deltas are integers or floats") from None
    try:
        number = float(whole)
    except OverflowError:
        number = math.inf
    if number != whole:
        raise OverflowError(f"{place} is {shown(whole)}, which float64 does not hold")
    return number


def _float64(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return deltas that are floats of any size, or one that is."""
    if array.dtype.itemsize > 8:  # noqa: PLR2004 - the bytes of a counter
        raise TypeError(f"deltas are {array.dtype}, which float64 does not hold; convert them first")
    missing = np.isnan(array)
    if missing.any():
        place = f"deltas[{int(missing.argmax())}]" if array.ndim else "deltas"
        raise ValueError(f"{place} is NaN, which would stay; drop or fill it first")
    return np.require(array, np.float64, ["C", "A"])


def raw(value: Any) -> bytes | None:
    """Return the memory of an array, also of dates, which NumPy does not export; None for anything else.

    Raises:
        BufferError: the array is not C-contiguous.

    Example:
        >>> raw(np.array(["1970-01-02"], dtype="M8[D]"))[0]
        1

    """
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.hasobject or value.dtype.kind == "T":
        return None
    if not value.flags.c_contiguous:
        raise BufferError("the value is not C-contiguous; store a copy, as numpy.ascontiguousarray makes it")
    return value.tobytes()


def share_memory(keys: Any, out: Any) -> bool:
    """Whether both are arrays and some byte of one may be a byte of the other.

    Example:
        >>> array = np.arange(4)
        >>> share_memory(array[:2], array), share_memory(array, [0, 1])
        (True, False)

    """
    return isinstance(keys, np.ndarray) and isinstance(out, np.ndarray) and np.may_share_memory(keys, out)


class Row:
    r"""The memory of one value in an array: a `shape` of `dtype`, and the filling for a missing key.

    Raises:
        TypeError: `dtype` holds Python objects.
        ValueError: `fill` would change as a row, or has another shape.

    Example:
        >>> row = Row(np.int16, (2,), 7)
        >>> row.nbytes, row.filled
        (4, b'\x07\x00\x07\x00')
        >>> row.array(np.frombuffer(b"abcd" * 3, np.uint8), 3).shape
        (3, 2)

    """

    def __init__(self, dtype: DTypeLike, shape: tuple[int, ...] | int, fill: Any) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        if self.dtype.hasobject:
            raise TypeError(f"dtype {self.dtype} holds Python objects; values are plain memory")
        self.shape: tuple[int, ...] = lengths(shape)
        if self.dtype.subdtype is not None:
            self.dtype, inner = self.dtype.subdtype
            self.shape += inner
        self.nbytes = np.empty(self.shape, self.dtype).nbytes
        self.filled = None if fill is None else self._filled(fill)

    def _filled(self, fill: Any) -> bytes:
        import alexpy._rows as rows  # noqa: PLC0415 - it needs this module

        try:
            row = rows.converted(fill, self.dtype, len(self.shape))
        except (TypeError, ValueError, OverflowError, FloatingPointError) as error:
            text = " ".join(shown(fill).split())
            raise ValueError(f"fill is {text}, which {self.dtype} cannot hold: {error}") from error
        try:
            return (row if row.shape == self.shape else np.full(self.shape, row, self.dtype)).tobytes()
        except ValueError:
            raise ValueError(f"fill has the shape {row.shape}, and a row {self.shape}") from None

    def fillings(self, count: int) -> NDArray[Any]:
        """Return an array of `count` fillings."""
        if not self.filled:
            return np.empty((count, *self.shape), self.dtype)
        row = np.frombuffer(self.filled, self.dtype).reshape(self.shape)
        return np.full((count, *self.shape), row, self.dtype)

    def memory(self, out: Any) -> NDArray[np.uint8]:
        """Return the memory of `out`, an array of such rows that a call will fill.

        Raises:
            TypeError: it is not an array of this dtype.
            ValueError: its rows have another shape, or it is not C-contiguous, or it is read-only.

        """
        if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
            raise TypeError(f"out must be an array of {self.dtype}, not {type(out).__name__}")
        if out.dtype != self.dtype:
            raise TypeError(f"out must be an array of {self.dtype}, not an array of {out.dtype}")
        if out.ndim == 0 or out.shape[1:] != self.shape:
            wanted = ", ".join(["keys", *map(str, self.shape)])
            raise ValueError(f"out must have the shape ({wanted}), not {out.shape}")
        if not (out.flags.c_contiguous and out.flags.writeable):
            raise ValueError("out must be C-contiguous and writable")
        return np.asarray(out).reshape(-1).view(np.uint8) if out.nbytes else np.empty(0, np.uint8)

    def array(self, memory: NDArray[np.uint8], count: int) -> NDArray[Any]:
        """Return the `count` rows in `memory` as an array, without a copy."""
        if self.nbytes == 0:
            return np.empty((count, *self.shape), self.dtype)
        return memory.view(self.dtype).reshape((count, *self.shape))


def type_name(value: object) -> str:
    """Return what a message calls a value of this type.

    Example:
        >>> type_name(1), type_name(b"one"), type_name(None)
        ('an int', 'a bytes', 'None')

    """
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _is_iterable(items: object) -> bool:
    return hasattr(items, "__iter__") or hasattr(items, "__getitem__")


def _array(items: Any, name: str) -> NDArray[Any] | None:
    """View `items` as a NumPy array without interpreting its elements, or None if it is not an array."""
    if isinstance(items, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; .compressed() keeps what is not masked")
    _refuse_missing(items, name)
    if not (isinstance(items, np.ndarray) or hasattr(items, "__array__")):
        try:
            items = memoryview(items)
        except TypeError:
            return None
    nulls = getattr(items, "null_count", 0)
    if callable(nulls):
        nulls = nulls()
    if not isinstance(nulls, int):
        raise TypeError(f"{name} is a {type(items).__name__}, which is a table; pick one column of it")
    if nulls:
        raise TypeError(f"{name} has {nulls} nulls; drop or fill them first")
    return np.asarray(items)


def _refuse_missing(items: Any, name: str) -> None:
    """Refuse a column of pandas that lacks values: NumPy would take NaN for them, and floats for the rest."""
    dtype = getattr(items, "dtype", None)
    if type(items).__module__.partition(".")[0] != "pandas" or dtype is None or isinstance(dtype, np.dtype):
        return
    missing = np.asarray(items.isna())
    if missing.any():
        raise TypeError(f"{name}[{int(missing.argmax())}] is null; drop or fill nulls first")


def _int64(array: NDArray[Any], name: str) -> NDArray[np.int64] | None:
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, not of shape {array.shape}")
    kind = array.dtype.kind
    if kind == "O":
        return None
    if kind not in "iu":
        raise TypeError(
            f"{name} must be integers, and this array of {array.dtype} holds "
            f"{_NOT_INTEGERS.get(kind, 'something else')}"
        )
    if kind == "u" and array.dtype.itemsize == 8:  # noqa: PLR2004 - the one width that int64 does not hold
        above = array > _INT64_MAX
        if above.any():
            position = int(above.argmax())
            raise OverflowError(f"{name}[{position}] is {array[position]}, outside int64 (-2**63 to 2**63-1)")
    return np.require(array, np.int64, ["C", "A"])


def _rows(array: NDArray[Any]) -> list[Any] | tuple[NDArray[np.uint8], int, int]:
    if array.ndim == 0:
        raise TypeError("values is a single number or record; give an array whose first axis is the keys")
    if array.dtype.kind == "O" and array.ndim == 1:
        items: list[Any] = array.tolist()
        return items
    if array.dtype.hasobject:
        raise TypeError(
            f"values is an array of {array.dtype}, which holds Python objects, not raw memory; give one "
            "value for each key, for instance json.dumps(row).encode()"
        )
    if array.dtype.kind in "UT":
        raise TypeError(
            "values is an array of text; [text.encode() for text in values] makes bytes of it, and a store "
            "made with codec=alexpy.codecs.text takes it as it is"
        )
    width = array.dtype.itemsize * math.prod(array.shape[1:])
    if width == 0 or array.size == 0:
        memory = np.empty(0, np.uint8)
    else:
        memory = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return memory, width, len(array)


def arrow_column(items: Any, name: str) -> _alexpy._ArrowInput | None:
    """Return `items` as an Arrow column if a library exports it as one, else None.

    Raises:
        TypeError: it is a table of several columns, or has a null, or its type is none that is known.
        ValueError: the producer failed.

    Example:
        >>> arrow_column([1, 2], "keys") is None
        True

    """
    column = items if isinstance(items, _alexpy._ArrowInput) else _exported(items)  # noqa: SLF001 - native half
    if column is None:
        return None
    names = column.names
    if names is not None:
        if len(names) != 1:
            some = ", ".join(map(repr, names[:8])) + (", ..." if names[8:] else "")
            raise TypeError(
                f"{name} is a {type(items).__name__}, which is a table; pick one of its columns: {some}"
            )
        column = column.column(0)
    null = column.first_null()
    if null is not None:
        raise TypeError(f"{name}[{null}] is null; drop or fill nulls first")
    return column


def _exported(items: Any) -> _alexpy._ArrowInput | None:
    if not hasattr(items, "__arrow_c_stream__") and not hasattr(items, "__arrow_c_array__"):
        return None
    if type(items).__module__.partition(".")[0] == "pandas" and not hasattr(
        getattr(items, "dtype", None), "pyarrow_dtype"
    ):
        # Most columns of pandas are NumPy arrays, and it needs pyarrow to export them.
        return None
    _refuse_addresses(items)
    try:
        return _alexpy._arrow_input(items)  # noqa: SLF001 - the native half
    except ImportError:
        # It needs pyarrow for that, and may be an array otherwise.
        return None


def _refuse_addresses(items: Any) -> None:
    """Refuse Python objects of polars, which exports their addresses."""
    if not any(base.__module__.partition(".")[0] == "polars" for base in type(items).__mro__):
        return
    types = items.schema.values() if hasattr(items, "schema") else [getattr(items, "dtype", None)]
    if "Object" in map(str, types):
        raise TypeError(
            f"this {type(items).__name__} of polars holds Python objects, and Arrow gets their addresses in "
            "memory only; column.to_list() makes a list of them"
        )


def _numbers(arrow: _alexpy._ArrowInput) -> NDArray[Any] | None:
    """Return a column of numbers, dates or rows of one size as an array; O(1) if it is in one piece."""
    arrays = arrow.numbers()
    if not arrays:
        return arrow.no_numbers()
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _arrow_integers(arrow: _alexpy._ArrowInput, name: str) -> NDArray[Any]:
    array = _numbers(arrow)
    if array is None:
        raise TypeError(f"{name} must be integers, and this Arrow array holds {arrow.type}; cast it first")
    return array


def _arrow_values(
    arrow: _alexpy._ArrowInput,
) -> list[Any] | tuple[NDArray[np.uint8], int, int] | tuple[NDArray[Any], ...]:
    spans = arrow.spans()
    if spans is not None:
        return spans
    array = _numbers(arrow)
    if array is not None:
        return _rows(array)
    hint = "give bytes or numbers"
    if "string" in arrow.type:
        hint = (
            "cast text to binary, or give [text.encode() for text in values]; a store made with "
            "codec=alexpy.codecs.text takes it as it is"
        )
    raise TypeError(f"values is an Arrow array of {arrow.type}; {hint}")


def text_as_binary(items: Any) -> _alexpy._ArrowInput | None:
    """Return an Arrow array of text as one of its bytes in UTF-8; None if it is no Arrow array.

    Nothing is copied.

    Raises:
        TypeError: it holds something else, or nulls.
        ValueError: it is no UTF-8.

    Example:
        >>> text_as_binary(["text"]) is None
        True

    """
    arrow = arrow_column(items, "values")
    if arrow is None:
        return None
    encoded = arrow.encoded()
    if encoded is None:
        raise TypeError(f"values is an Arrow array of {arrow.type}, and the codec of this store takes text")
    return encoded


def table(items: Any, call: str) -> tuple[Any, Any] | None:
    """Return the columns `key` and `value` of a table of any library; None if `items` is no table.

    Raises:
        TypeError: it has other columns; `call` is what was asked for.

    Example:
        >>> table({1: b"one"}, "update()") is None
        True

    """
    is_frame = hasattr(items, "columns") and hasattr(items, "iloc")
    arrow = None if is_frame else _exported(items)
    if arrow is None and not is_frame:
        return None
    names = list(items.columns) if arrow is None else arrow.names
    if names is not None and sorted(map(str, names)) == ["key", "value"]:
        if arrow is None:
            return items["key"], items["value"]
        return arrow.column(names.index("key")), arrow.column(names.index("value"))
    what = "one column" if names is None else "a table"
    raise TypeError(
        f"{call} got a {type(items).__name__}, which is {what}; put_many(table[key_column], "
        "table[value_column]) stores two columns, and update takes a table of the columns key and value"
    )

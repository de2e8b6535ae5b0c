"""What keys of a store may be, and what they come back as: unsigned integers, moments, and UUIDs.

int64 keys are none of its business. Nothing here knows a store. O(1) for one key, O(keys) for many.
"""

from __future__ import annotations

import datetime as dt
import operator
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _alexpy, _convert

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Attoseconds of the units that have a fixed length.
_UNITS = {
    "W": 604_800 * 10**18,
    "D": 86_400 * 10**18,
    "h": 3_600 * 10**18,
    "m": 60 * 10**18,
    "s": 10**18,
    "ms": 10**15,
    "us": 10**12,
    "ns": 10**9,
    "ps": 10**6,
    "fs": 10**3,
    "as": 1,
}
_NAT = -(2**63)
_UUID_BYTES = 16
_RULES = {
    "uint64": "keys here are unsigned integers: 0 to 2**64-1",
    "uuid": "keys here have 128 bits: uuid.UUID, an int from 0 to 2**128-1, or 16 bytes",
}


def one(key: Any, kind: str, place: str) -> int:
    r"""Return one key as an integer: of a moment, the number of its unit since 1970.

    Raises:
        TypeError: it is no key of this kind.
        ValueError: it is NaT, or no whole number of the unit, or has not 16 bytes.
        OverflowError: it is outside the range of the kind.

    Example:
        >>> one(np.datetime64("1970-01-02"), "datetime64[s]", "key"), one(bytes(15) + b"7", "uuid", "key")
        (86400, 55)

    """
    if kind == "uuid":
        return _wide(key, place)
    if kind == "uint64":
        return _unsigned(key, 64, kind, place)
    moment = _moment(key, kind, place)
    side, number, rest = _units_of(moment, kind)
    if side:
        raise ValueError(f"{place} is {moment}, which is outside {kind}")
    if rest:
        unit = _unit(kind)
        raise ValueError(
            f"{place} is {moment}, which is no whole number of {unit} (keys here are {kind}); "
            f"numpy.datetime64({place}, {unit!r}) is the one at or before it"
        )
    return number


def end(bound: Any, kind: str, name: str) -> tuple[int, int]:
    """Return one end of a range: 0 and the key; 2 and a key if it lies between the one before and that.

    Or -1 or 1 if it is below or above all keys.

    Raises:
        TypeError, ValueError: as `one`.

    Example:
        >>> end(-5, "uint64", "start"), end(2**128, "uuid", "stop")
        ((-1, 0), (1, 0))
        >>> end(np.datetime64("1970-01-01T00:00:02.5"), "datetime64[s]", "start")
        (2, 3)

    """
    if kind not in _RULES:
        side, number, rest = _units_of(_moment(bound, kind, name), kind)
        if side or not rest:
            return side, number
        return (2, number + 1) if number + 1 < 2**63 else (1, 0)
    try:
        return 0, one(bound, kind, name)
    except OverflowError:
        return (-1 if operator.index(bound) < 0 else 1), 0


def many(keys: Any, kind: str) -> NDArray[Any] | None:
    """Return many keys as the memory that the extension reads, or None if each is to be read by itself.

    int64 for moments, the bits of uint64 for unsigned integers, and 16 bytes for each UUID, high byte first.

    Raises:
        TypeError, ValueError, OverflowError: as `one`, and for arrays of another shape.

    Example:
        >>> many(np.array(["1970-01-02"], "M8[D]"), "datetime64[s]")
        array([86400])

    """
    if isinstance(keys, (str, bytes, bytearray)):
        raise TypeError(f"keys must be an array or iterable of keys, not {type(keys).__name__}")
    # Asked for once: a stream can be read once.
    column = _convert.arrow_column(keys, "keys")
    array = _uuids_of_arrow(column) if column is not None and kind == "uuid" else None
    if array is None:
        array = _convert.any_array(keys if column is None else column, "keys")
    if array is None or array.dtype.kind == "O":
        if not hasattr(keys, "__iter__") and not hasattr(keys, "__getitem__"):
            which = _convert.type_name(keys)
            calls = "; scan(start, stop) reads a range" if isinstance(keys, slice) else ""
            raise TypeError(f"keys is {which}; give an array or another iterable of keys{calls}")
        return None
    if kind == "uuid":
        return _many_wide(array)
    if array.ndim != 1:
        raise ValueError(f"keys must be one-dimensional, not of shape {array.shape}")
    if kind == "uint64":
        return _many_unsigned(array)
    return _many_moments(array, kind)


def uuid_of(number: int) -> uuid.UUID:
    """Return the UUID of an integer.

    Example:
        >>> uuid_of(5)
        UUID('00000000-0000-0000-0000-000000000005')

    """
    made = _new(uuid.UUID)
    _set(made, "int", number)
    _set(made, "is_safe", uuid.SafeUUID.unknown)
    return made


# As `uuid.UUID(int=number)`, which looks at five other arguments first.
_new = uuid.UUID.__new__
_set = object.__setattr__


def moment_of(number: int, kind: str) -> np.datetime64:
    """Return the moment so many units after 1970; the first one for the integer below it, where ranges begin.

    Example:
        >>> moment_of(1, "datetime64[s]")
        np.datetime64('1970-01-01T00:00:01')

    """
    unit: Any = _unit(kind)
    moment: np.datetime64 = np.datetime64(max(number, _NAT + 1), unit)
    return moment


def array_of(numbers: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return memory as the array of keys that it is, without a copy.

    Example:
        >>> array_of(np.array([1]), "datetime64[s]"), array_of(np.zeros(16, np.uint8), "uuid").dtype
        (array(['1970-01-01T00:00:01'], dtype='datetime64[s]'), dtype('V16'))

    """
    return numbers.view({"uuid": "V16", "uint64": "u8"}.get(kind, kind))


def _unit(kind: str) -> str:
    return kind.partition("[")[2].rstrip("]")


def _refusal(key: object, kind: str, place: str) -> TypeError:
    rule = _RULES.get(kind, f"keys here are moments ({kind}): numpy.datetime64, datetime.datetime or date")
    hint = ""
    if isinstance(key, str):
        reader = {"uuid": "uuid.UUID", "uint64": "int"}.get(kind, "numpy.datetime64")
        hint = f": {reader}(key) reads one from text"
    elif isinstance(key, slice):
        hint = ": scan(start, stop) reads a range, delete_range(start, stop) removes one"
    elif hasattr(key, "__len__") and not isinstance(key, (bytes, bytearray)):
        hint = ": get_many reads many keys, put_many writes them"
    return TypeError(f"{place} is {_convert.type_name(key)}; {rule}{hint}")


def _unsigned(key: Any, bits: int, kind: str, place: str) -> int:
    if isinstance(key, (bool, np.bool_)) or not hasattr(key, "__index__"):
        raise _refusal(key, kind, place)
    try:
        number = operator.index(key)
    except TypeError:
        raise _refusal(key, kind, place) from None
    if number < 0 or number >> bits:
        raise OverflowError(f"{place} is {number}, outside {kind} (0 to 2**{bits}-1)")
    return number


def _wide(key: Any, place: str) -> int:
    if isinstance(key, uuid.UUID):
        return key.int
    if isinstance(key, (bytes, bytearray, memoryview, np.void, np.bytes_)):
        raw: Any = key
        # NumPy drops the NULs at the end of its own bytes.
        memory = raw.tobytes().ljust(_UUID_BYTES, b"\0") if isinstance(raw, np.bytes_) else bytes(raw)
        if len(memory) != _UUID_BYTES:
            raise ValueError(f"{place} has {len(memory)} bytes, and keys here have {_UUID_BYTES}")
        return int.from_bytes(memory, "big")
    return _unsigned(key, 128, "uuid", place)


def _moment(key: Any, kind: str, place: str) -> np.datetime64:
    """Return a moment as NumPy has it, in any unit."""
    moment = _of_calendar(key) if isinstance(key, dt.date) else key
    if not isinstance(moment, np.datetime64):
        raise _refusal(key, kind, place)
    if np.isnat(moment):
        raise ValueError(f"{place} is NaT, which is no moment")
    unit, step = np.datetime_data(moment.dtype)
    if unit == "generic" or step == 0:
        raise ValueError(f"{place} is a moment of no unit, and keys here are {kind}; give it one")
    return moment


def _units_of(moment: np.datetime64, kind: str) -> tuple[int, int, int]:
    """Return 0, how many whole units of the keys lie between 1970 and a moment, and what is left.

    Or -1 or 1, if it is before or after all that the unit can tell.
    """
    unit, step = np.datetime_data(moment.dtype)
    number = int(moment.astype(np.int64))
    if unit not in _UNITS:
        # Years and months have no fixed length, but days.
        days = moment.astype("M8[D]")
        if days.astype(moment.dtype) != moment:
            return (-1 if number < 0 else 1), 0, 0
        number, unit, step = int(days.astype(np.int64)), "D", 1
    whole, rest = divmod(number * step * _UNITS[unit], _UNITS[_unit(kind)])
    if not _NAT < whole < 2**63:
        return (-1 if number < 0 else 1), 0, 0
    return 0, whole, rest


def _of_calendar(key: Any) -> Any:
    """Return a date or datetime of Python or pandas as NumPy has it, aware ones in UTC."""
    if not isinstance(key, dt.datetime):
        return np.datetime64(key, "D")
    if hasattr(key, "to_datetime64"):
        stamp: Any = key  # a pandas.Timestamp, which has nanoseconds
        return (stamp if stamp.tzinfo is None else stamp.tz_convert("UTC").tz_localize(None)).to_datetime64()
    offset, moment = key.utcoffset(), np.datetime64(key.replace(tzinfo=None), "us")
    return moment if offset is None else moment - np.timedelta64(offset)


def _uuids_of_arrow(column: _alexpy._ArrowInput) -> NDArray[Any] | None:
    """Return Arrow's binary of any length as UUIDs, for which polars has no type of its own; else None."""
    if "string" in column.type or "utf8" in column.type:
        raise TypeError("keys is an Arrow array of text; [uuid.UUID(text) for text in keys] makes keys of it")
    spans = column.spans()
    if spans is None:
        return None
    memory, offsets = spans
    lengths = np.diff(offsets)
    if (lengths != _UUID_BYTES).any():
        at = int((lengths != _UUID_BYTES).argmax())
        raise ValueError(f"keys[{at}] has {lengths[at]} bytes, and keys here have {_UUID_BYTES}")
    return memory[offsets[0] : offsets[-1]].view("V16") if len(lengths) else np.empty(0, "V16")


def _many_wide(array: NDArray[Any]) -> NDArray[np.uint8] | None:
    if array.ndim == 2 and array.shape[1] == 2 and array.dtype.kind == "u" and array.dtype.itemsize == 8:  # noqa: PLR2004
        return np.ascontiguousarray(array.astype(">u8")).reshape(-1).view(np.uint8)
    if array.ndim != 1:
        raise ValueError(
            "keys must be one-dimensional, or of shape (n, 2) and uint64, "
            f"not {array.dtype} of shape {array.shape}"
        )
    if array.dtype.kind in "VS" and array.dtype.names is None and array.dtype.itemsize == _UUID_BYTES:
        return np.ascontiguousarray(array).view(np.uint8) if array.size else np.empty(0, np.uint8)
    if array.dtype.kind in "iu":
        return None
    raise TypeError(f"{_RULES['uuid']}; many are arrays of V16, S16 or (n, 2) uint64, not of {array.dtype}")


def _many_unsigned(array: NDArray[Any]) -> NDArray[np.int64] | None:
    if array.dtype.kind not in "iu":
        raise TypeError(f"{_RULES['uint64']}, and this array holds {array.dtype}")
    if array.dtype.kind == "i" and array.size and (below := array < 0).any():
        position = int(below.argmax())
        raise OverflowError(f"keys[{position}] is {array[position]}, outside uint64 (0 to 2**64-1)")
    return np.require(array, np.uint64, ["C", "A"]).view(np.int64)


def _many_moments(array: NDArray[Any], kind: str) -> NDArray[np.int64]:
    if array.dtype.kind != "M":
        raise TypeError(f"keys here are moments ({kind}), and this array holds {array.dtype}")
    if np.datetime_data(array.dtype)[1] == 0:
        # NumPy divides by it.
        raise ValueError(f"keys are moments of no unit ({array.dtype}), and keys here are {kind}")
    nat = np.isnat(array)
    if nat.any():
        raise ValueError(f"keys[{int(nat.argmax())}] is NaT, which is no moment")
    try:
        converted = np.require(array.astype(kind, copy=False), kind, ["C", "A"])
        # A conversion that overflows comes back as another moment, or as NaT.
        same = array.dtype == converted.dtype or converted.astype(array.dtype) == array
    except OverflowError:
        # NumPy has no conversion from attoseconds to seconds, for instance.
        places = range(len(array))
        return np.array([one(array[place], kind, f"keys[{place}]") for place in places], np.int64)
    if not np.all(same):
        place = int(np.argmin(same))
        one(array[place], kind, f"keys[{place}]")
    return converted.view(np.int64)

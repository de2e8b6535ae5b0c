"""Keys of every kind as people and files have them: `from_text` and `to_text`, and the same for JSON.

A key is an int, a `uuid.UUID` or a `numpy.datetime64`; its kind is the `key_kind` of a store. What is refused
is a ValueError whose message goes on from "the key": "must be ..., not ...". NumPy is imported only for
moments. O(1) a key.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from array import array
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from .text import SHOWN_CHARS, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np

    Key: TypeAlias = int | uuid.UUID | np.datetime64

_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
# int() refuses longer texts by default; no key needs more, leading zeros aside.
_LONGEST_INTEGER: Final = 1000
_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)
_UUID_BITS: Final = 128
_UUID_BYTES: Final = 16
_UUID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_UUID_RULE = "must be a UUID (550e8400-e29b-41d4-a716-446655440000, 32 hex digits, or an integer)"
_MOMENT = re.compile(
    # NumPy gives years before our era three digits at least.
    r"([+-]?[0-9]{4,12}-[0-9]{2}-[0-9]{2}|-[0-9]{3}-[0-9]{2}-[0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,18}))?)?"
    r"(?:Z|z|([+-])([0-9]{2}):?([0-9]{2})?)?)?",
    re.ASCII,
)
_MOMENT_RULE = (
    "must be a date or time in ISO 8601 (2026-11-29, 2026-11-29T12:00:00.5, 2026-11-29T12:00+01:00)"
)
_DAYS_BEFORE_1970: Final = 719_163
# How many digits of a second a unit has.
_DIGITS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def from_text(text: str, kind: str) -> Key:
    """Return the key that a text stands for.

    Raises:
        ValueError: it stands for none of this kind.

    """
    read = _READ.get(kind)
    return _moment(text, kind) if read is None else read(text, kind)


def to_text(key: Key) -> str:
    """Return a key as `from_text` reads it."""
    return str(key)


def from_json(value: object, kind: str) -> Key:
    """Return the key that a value of JSON stands for: a string, or of numbers an integer.

    Raises:
        ValueError: it stands for none of this kind.

    """
    if type(value) is int and kind in ("int64", "uint64"):
        return _in_range(value, kind)
    if type(value) is int and kind == "uuid":
        return _uuid_of(value, str(value))
    if type(value) is str and kind not in ("int64", "uint64"):
        return from_text(value, kind)
    wanted = "integer" if kind in ("int64", "uint64") else "string"
    # Numbers with a fraction come as their text, of a class of its own, and so do those of very many digits.
    if (
        isinstance(value, str)
        and type(value) is not str
        and wanted == "integer"
        and _INTEGER.fullmatch(value)
    ):
        raise ValueError(_outside(value[:SHOWN_CHARS] + "...", kind))
    told = value if isinstance(value, str) and type(value) is not str else json.dumps(value)
    raise ValueError(f"must be a JSON {wanted}, not {told[:SHOWN_CHARS]}")


def to_json(key: Key) -> int | str:
    """Return a key as JSON has it: a number, or a string if it is a moment or a UUID."""
    return key if isinstance(key, int) else str(key)


def from_bytes(memory: bytes) -> uuid.UUID:
    """Return the UUID of 16 bytes, high byte first.

    Raises:
        ValueError: there are more or fewer.

    """
    if len(memory) != _UUID_BYTES:
        raise ValueError(f"must have {_UUID_BYTES} bytes, not {len(memory)}")
    return uuid.UUID(bytes=memory)


def from_units(number: int, unit: str, kind: str) -> np.datetime64:
    """Return the moment so many seconds ("s"), "ms", "us" or "ns" after 1970.

    Raises:
        ValueError: the kind does not hold it.

    """
    whole, rest = divmod(number * 10 ** _DIGITS[_unit(kind)], 10 ** _DIGITS[unit])

    def told() -> str:
        from alexpy import _kinds  # noqa: PLC0415 - imports NumPy

        return str(_kinds.moment_of(number, f"[{unit}]"))

    return _held(whole, kind, told, exact=not rest)


def arguments(texts: Iterable[str], kind: str) -> list[Any]:
    """Return the keys that were given on the command line.

    Raises:
        click.UsageError: one of them is no key of this kind.

    """
    return [_argument("the key", from_text, text, kind) for text in texts]


def bounds(start: str | None, stop: str | None, kind: str) -> tuple[Any, Any]:
    """Return the ends of a range that were given on the command line; where keys are integers, any integers.

    Raises:
        click.UsageError: one of them is no key of this kind.

    """
    ends = (("--start", start), ("--stop", stop))
    first, last = (None if text is None else _argument(name, _bound, text, kind) for name, text in ends)
    return first, last


def room(kind: str) -> Any:
    """Return an empty list for keys; an array where they are integers of 64 bits."""
    code = {"int64": "q", "uint64": "Q"}.get(kind)
    return [] if code is None else array(code)


def gathered(keys: Any, kind: str) -> Any:
    """Return what `room` made as the store takes it fastest."""
    if not kind.startswith("datetime64"):
        return keys
    import numpy as np  # noqa: PLC0415 - only for moments

    return np.array(keys, kind)


def _argument(name: str, read: Callable[[str, str], Any], text: str, kind: str) -> Any:
    try:
        return read(text, kind)
    except ValueError as error:
        raise click.UsageError(f"{name} {error}") from error


def _bound(text: str, kind: str) -> Key:
    if not kind.startswith("datetime64") and _is_integer(text) and not _UUID.fullmatch(text):
        return int(text)
    return from_text(text, kind)


def _is_integer(text: str) -> bool:
    return len(text) <= _LONGEST_INTEGER and _INTEGER.fullmatch(text) is not None


def _integer(text: str, kind: str) -> int:
    if not _is_integer(text):
        raise ValueError(f"must be an integer, not {shown(text)}")
    return _in_range(int(text), kind)


def _in_range(number: int, kind: str) -> int:
    if number not in (_INT64 if kind == "int64" else _UINT64):
        raise ValueError(_outside(shown(number), kind))
    return number


def _outside(number: str, kind: str) -> str:
    allowed = _INT64 if kind == "int64" else _UINT64
    return f"is outside {kind} ({allowed.start} to {allowed.stop - 1}): {number}"


def _uuid(text: str, _kind: str) -> uuid.UUID:
    # 32 digits are hex digits, as those of any other UUID.
    if _UUID.fullmatch(text):
        return uuid.UUID(text)
    if not _is_integer(text):
        raise ValueError(f"{_UUID_RULE}, not {shown(text)}")
    return _uuid_of(int(text), text)


def _uuid_of(number: int, text: str) -> uuid.UUID:
    if number < 0 or number >> _UUID_BITS:
        raise ValueError(f"is outside the 128 bits of a UUID (0 to 2**128-1): {shown(text)}")
    return uuid.UUID(int=number)


def _moment(text: str, kind: str) -> np.datetime64:
    parts = _MOMENT.fullmatch(text)
    if parts is None:
        raise ValueError(f"{_MOMENT_RULE}, not {shown(text)}")
    date, hour, minute, second, fraction, sign, zone_hour, zone_minute = parts.groups()
    clock = [int(part or 0) for part in (hour, minute, second, zone_hour, zone_minute)]
    if any(part >= most for part, most in zip(clock, (24, 60, 60, 24, 60), strict=True)):
        raise ValueError(f"{_MOMENT_RULE}, not {shown(text)}, which no clock shows")
    try:
        days = _days(date)
    except ValueError:
        raise ValueError(f"{_MOMENT_RULE}, not {shown(text)}, which is in no calendar") from None
    ahead = (clock[3] * 60 + clock[4]) * (-60 if sign == "-" else 60)
    seconds = days * 86_400 + clock[0] * 3_600 + clock[1] * 60 + clock[2] - ahead
    digits = _DIGITS[_unit(kind)]
    held, beyond = (fraction or "").ljust(digits, "0")[:digits], (fraction or "")[digits:]
    return _held(
        seconds * 10**digits + int(held or 0), kind, lambda: shown(text), exact=not beyond.strip("0")
    )


def _days(date: str) -> int:
    """Return how many days after 1970 a date is."""
    try:
        return dt.date.fromisoformat(date).toordinal() - _DAYS_BEFORE_1970
    except ValueError:
        import numpy as np  # noqa: PLC0415 - for years that datetime does not have

        return int(np.datetime64(date.removeprefix("+"), "D").astype(np.int64))


def _held(number: int, kind: str, told: Callable[[], str], *, exact: bool) -> np.datetime64:
    from alexpy import _kinds  # noqa: PLC0415 - imports NumPy

    if not exact:
        raise ValueError(f"must be a whole number of {_unit(kind)} (keys here are {kind}), not {told()}")
    # The least integer is NaT.
    if number not in _INT64[1:]:
        raise ValueError(f"is outside {kind}: {told()}")
    return _kinds.moment_of(number, kind)


def _unit(kind: str) -> str:
    return kind.partition("[")[2].rstrip("]")


_READ: Final[dict[str, Callable[[str, str], Key]]] = {"int64": _integer, "uint64": _integer, "uuid": _uuid}

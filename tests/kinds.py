"""Kinds of keys for tests: the integers that keys are, the forms that they come in, and keys that matter."""

from __future__ import annotations

import array
import datetime as dt
import ipaddress
import itertools
import random
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
FINER = {"s": "ms", "ms": "us", "us": "ns", "ns": "ps"}
EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - naive moments are taken as they are
EAST = dt.timezone(dt.timedelta(hours=5, minutes=30))
NAT = -(2**63)


@dataclass(frozen=True)
class Kind:
    """One kind of keys, each known by the integer by which it is ordered."""

    name: str
    low: int
    high: int
    numbers: st.SearchStrategy[int]
    """Keys that matter: the ends, clusters, and any."""
    ones: tuple[Callable[[int], Any], ...]
    """The forms of one key; the first is the one that comes back."""
    arrays: tuple[Callable[[list[int]], Any], ...]
    """The forms of many keys in one memory; the first is the one that comes back."""

    def key(self, number: int) -> Any:
        return self.ones[0](number)

    def many(self, numbers: list[int], form: int) -> Any:
        """Return keys in one of the forms that calls of many take."""
        forms = [
            list,
            tuple,
            iter,
            lambda keys: np.fromiter(keys, object, len(numbers)),
        ]
        if form < len(self.arrays):
            return self.arrays[form](numbers)
        form -= len(self.arrays)
        return forms[form % 4]([self.ones[(form + i) % len(self.ones)](n) for i, n in enumerate(numbers)])

    @property
    def forms(self) -> int:
        return len(self.arrays) + 8

    def number(self, key: Any) -> int:
        """Return the integer of a key that came back, which is of the type it should be."""
        if self.name == "uuid":
            assert type(key) is uuid.UUID
            return key.int
        if self.name in ("uint64", "int64"):
            assert type(key) is int
            return key
        assert type(key) is np.datetime64
        assert key.dtype == self.name
        return int(key.astype(np.int64))

    def listed(self, keys: Any) -> list[int]:
        """Return the integers of an array of keys that came back."""
        assert type(keys) is np.ndarray
        assert keys.dtype == self.dtype
        if self.name == "uuid":
            memory = keys.tobytes()
            return [int.from_bytes(memory[at : at + 16], "big") for at in range(0, len(memory), 16)]
        found = keys if self.name in ("uint64", "int64") else keys.view(np.int64)
        return [int(number) for number in found]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype("V16" if self.name == "uuid" else self.name)

    @property
    def absent(self) -> int:
        """What stands in an array of keys for none: 0, or NaT."""
        return NAT if self.name.startswith("datetime64") else 0

    def item(self, item: Any) -> tuple[int, bytes] | None:
        return None if item is None else (self.number(item[0]), item[1])

    def items(self, found: Iterable[Any]) -> list[tuple[int, bytes]]:
        return [(self.number(key), value) for key, value in found]


def _bytes(numbers: list[int]) -> bytes:
    return b"".join(number.to_bytes(16, "big") for number in numbers)


def _words(numbers: list[int], dtype: str) -> np.ndarray[Any, Any]:
    """Return high and low words, as rows."""
    words = [(number >> 64, number & (2**64 - 1)) for number in numbers]
    return np.array(words, np.uint64).reshape(len(numbers), 2).astype(dtype)


def _strided(keys: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.repeat(keys, 2)[::2]


def around(*numbers: int, reach: int = 3) -> st.SearchStrategy[int]:
    return st.builds(int.__add__, st.sampled_from(numbers), st.integers(-reach, reach))


def within(low: int, high: int, *strategies: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    return st.one_of(*strategies, st.integers(low, high)).map(lambda number: max(low, min(number, high)))


HALF = 0x0123_4567_89AB_CDEF
MILLISECOND = 1_790_000_000_123
SUBNETS = [int(ipaddress.IPv6Address(text)) for text in ("2001:db8::", "2001:db8:0:1::", "fe80::", "::")]


def version_7(first: int, rest: int) -> int:
    """Return a UUID of version 7 of one millisecond."""
    return MILLISECOND << 80 | 7 << 76 | first << 64 | 2 << 62 | rest


UUID = Kind(
    "uuid",
    0,
    2**128 - 1,
    within(
        0,
        2**128 - 1,
        around(0, 2**64, 2**127, 2**128 - 1),
        st.uuids(version=4).map(lambda made: made.int),
        st.builds(version_7, st.integers(0, 2), st.integers(0, 2**62 - 1)),
        st.builds(int.__add__, st.sampled_from(SUBNETS), st.integers(0, 20) | st.integers(0, 2**64 - 1)),
        st.builds(lambda low: HALF << 64 | low, st.integers(0, 2**64 - 1) | around(2**63, 2**64 - 4)),
        st.builds(lambda high: high << 64 | HALF, st.integers(0, 8) | st.integers(0, 2**64 - 1)),
    ),
    (
        lambda number: uuid.UUID(int=number),
        int,
        lambda number: number.to_bytes(16, "big"),
        lambda number: bytearray(number.to_bytes(16, "big")),
        lambda number: memoryview(number.to_bytes(16, "big")),
        lambda number: np.frombuffer(number.to_bytes(16, "big"), "V16")[0],
        # NumPy takes the NULs at its end away.
        lambda number: np.frombuffer(number.to_bytes(16, "big"), "S16")[0],
    ),
    (
        lambda numbers: np.frombuffer(_bytes(numbers), "V16"),
        lambda numbers: np.frombuffer(_bytes(numbers), "S16"),
        lambda numbers: _strided(np.frombuffer(_bytes(numbers), "V16")),
        lambda numbers: _words(numbers, "<u8"),
        lambda numbers: _words(numbers, ">u8"),
        lambda numbers: np.asfortranarray(_words(numbers, "<u8")),
        lambda numbers: pa.array([number.to_bytes(16, "big") for number in numbers], pa.binary(16)),
    ),
)
UINT64 = Kind(
    "uint64",
    0,
    2**64 - 1,
    within(0, 2**64 - 1, around(0, 2**32, 2**63, 2**64 - 1), st.integers(2**63 - 50, 2**63 + 50)),
    (int, np.uint64, lambda number: np.int64(number) if number < 2**63 else np.uint64(number)),
    (
        lambda numbers: np.array(numbers, np.uint64),
        lambda numbers: np.array(numbers, ">u8"),
        lambda numbers: _strided(np.array(numbers, np.uint64)),
        lambda numbers: array.array("Q", numbers),
        lambda numbers: pa.array(numbers, pa.uint64()),
    ),
)
INT64 = Kind(
    "int64",
    -(2**63),
    2**63 - 1,
    within(-(2**63), 2**63 - 1, around(-(2**63), 0, 2**63 - 1)),
    (int, np.int64),
    (lambda numbers: np.array(numbers, np.int64), lambda numbers: np.array(numbers, ">i8")),
)


def moments(unit: str) -> Kind:
    """Return the kind of moments of a unit."""
    name, finer = f"datetime64[{unit}]", FINER[unit]

    def in_finer(number: int) -> np.datetime64:
        # Exact, and within int64; else the unit itself.
        number, of = (number * 1000, finer) if abs(number) < 2**63 // 1000 else (number, unit)
        return np.datetime64(number, of)

    def of_python(number: int) -> Any:
        seconds, rest = divmod(number, UNITS[unit])
        if abs(seconds) < 60_000_000_000 and rest * 10**6 % UNITS[unit] == 0:
            return EPOCH + dt.timedelta(seconds=seconds, microseconds=rest * 10**6 // UNITS[unit])
        return np.datetime64(number, unit)

    def aware(number: int) -> Any:
        moment = of_python(number)
        return moment.replace(tzinfo=dt.UTC).astimezone(EAST) if isinstance(moment, dt.datetime) else moment

    def array_in_finer(numbers: list[int]) -> Any:
        fits = all(abs(number) < 2**63 // 1000 for number in numbers)
        found = np.array(numbers, np.int64)
        return (found * 1000).view(f"M8[{finer}]") if fits else found.view(name)

    return Kind(
        name,
        NAT + 1,
        2**63 - 1,
        within(
            NAT + 1,
            2**63 - 1,
            around(0, NAT + 1, 2**63 - 1),
            st.integers(-50, 50),
            around(MILLISECOND * UNITS[unit] // 1000),
        ),
        (lambda number: np.datetime64(number, unit), in_finer, of_python, aware),
        (
            lambda numbers: np.array(numbers, np.int64).view(name),
            lambda numbers: np.array(numbers, np.int64).view(name).astype(f">M8[{unit}]"),
            lambda numbers: _strided(np.array(numbers, np.int64).view(name)),
            array_in_finer,
            lambda numbers: pa.array(np.array(numbers, np.int64)).cast(pa.timestamp(unit)),
        ),
    )


KINDS = {kind.name: kind for kind in (INT64, UINT64, UUID, *map(moments, UNITS))}
OTHERS = [name for name in KINDS if name != "int64"]


def some(kind: Kind, count: int, seed: int = 1) -> list[int]:
    """Return different integers of keys in order: ends, clusters, and spread ones."""
    rng = random.Random(seed)
    middle = (kind.low + kind.high) // 2
    near = [kind.low, kind.low + 1, kind.high - 1, kind.high, *range(middle - 5, middle + 5)]
    spread = [rng.randint(kind.low, kind.high) for _ in range(count)]
    rounded = [max(kind.low, number // 2**60 * 2**60) for number in spread]
    return sorted([*dict.fromkeys([*near, *itertools.chain(*zip(spread, rounded, strict=True))])][:count])

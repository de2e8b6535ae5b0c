"""IP ranges: the country, network and kind of an address, beside geoip2fast.

The store has the first address of each range as its key, so `floor` of an address is the range that it may
lie in: the value says how long that range is, and which country has it. geoip2fast keeps the same table in
lists of lists, which it loads whole, and bisects them. Beside the call for many addresses stands NumPy's
searchsorted on the same table as arrays in memory, since geoip2fast has no such call.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from socket import inet_aton, inet_ntoa
from typing import TYPE_CHECKING, Any

import numpy as np
from geoip2fast import geoip2fast

import alexpy
from judge import SEED, Judge, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Ranges = alexpy.Store[int, Any]  # the first address: (bits of the network, number of the country)
    Countries = alexpy.Store[int, str]  # the number: "FI:Finland"
    Answer = tuple[str, str, str, bool]  # code, name, network, reserved or not
    Columns = tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint16]]  # first address, bits, country

NOT_FOUND: Answer = ("--", "<not found in database>", "", False)
# geoip2fast's rule: what stands before this in its list of countries is reserved.
RESERVED = 16


def load(ranges: Ranges, countries: Countries) -> Columns:
    """Copy the table that geoip2fast has loaded into the stores, and return it as arrays."""
    table: Any = geoip2fast
    parts = (table.mainListFirstIP, table.mainListNetlength, table.mainListIDCountryCodes)
    first, bits, country = (np.concatenate([np.array(chunk) for chunk in part]) for part in parts)
    rows = np.rec.fromarrays([bits, country], dtype="u1, <u2")
    ranges.bulk_load(first, rows)
    countries.put_many(range(len(table.mainListNamesCountry)), table.mainListNamesCountry)
    return first, rows["f0"], rows["f1"]


def answer(names: dict[int, str], first: int, bits: int, country: int) -> Answer:
    """Say what geoip2fast says of a range."""
    code, name = names[country].split(":")
    reserved = country < RESERVED
    return "--" if reserved else code, name, f"{inet_ntoa(first.to_bytes(4))}/{bits}", reserved


def lookup(ranges: Ranges, names: dict[int, str], text: str) -> Answer:
    """Answer for one address."""
    address = int.from_bytes(inet_aton(text))
    item = ranges.floor(address)
    if item is None:
        return NOT_FOUND
    first, (bits, country) = item
    return answer(names, first, bits, country) if (address ^ first) >> (32 - bits) == 0 else NOT_FOUND


def lookup_many(ranges: Ranges, texts: list[str]) -> tuple[Columns, NDArray[np.bool_]]:
    """Answer for many addresses in arrays: their ranges, and whether they lie in them."""
    addresses = np.frombuffer(b"".join(map(inet_aton, texts)), ">u4").astype(np.int64)
    first, found = ranges.floor_many(addresses)
    rows = found.to_array(fill=(32, 0))
    return (first, rows["f0"], rows["f1"]), (addresses ^ first) >> (32 - rows["f0"]) == 0


def searchsorted(columns: Columns, texts: list[str]) -> tuple[Columns, NDArray[np.bool_]]:
    """Do what `lookup_many` does, in arrays in memory."""
    addresses = np.frombuffer(b"".join(map(inet_aton, texts)), ">u4").astype(np.int64)
    at = np.searchsorted(columns[0], addresses, side="right") - 1
    first, bits, country = columns[0][at], columns[1][at], columns[2][at]
    return (first, bits, country), (addresses ^ first) >> (32 - bits) == 0


def answers_of(names: dict[int, str]) -> Callable[[tuple[Columns, NDArray[np.bool_]]], Iterator[Answer]]:
    """Return what makes answers of the arrays of `lookup_many`."""

    def each(result: tuple[Columns, NDArray[np.bool_]]) -> Iterator[Answer]:
        columns, inside = result
        for *row, there in zip(*(column.tolist() for column in (*columns, inside)), strict=True):
            yield answer(names, *row) if there else NOT_FOUND

    return each


def questions(first: NDArray[np.int64], count: int) -> tuple[list[str], list[str]]:
    """Return the addresses at the edges of ranges, and others drawn at random."""
    rng = np.random.default_rng(SEED)
    starts = rng.permutation(first)[:count]
    edges = np.clip(np.concatenate([starts - 1, starts, starts + 1]), 0, 2**32 - 1)
    return _texts(edges), _texts(rng.integers(0, 2**32, count))


def _texts(addresses: NDArray[np.int64]) -> list[str]:
    return [inet_ntoa(address.to_bytes(4)) for address in addresses.tolist()]


def example(judge: Judge) -> None:
    """Load geoip2fast's table, and ask both."""
    theirs = geoip2fast.GeoIP2Fast(geoip2fast_data_file="geoip2fast.dat.gz")

    def their_lookup(text: str) -> Answer:
        found = theirs.lookup(text)
        return found.country_code, found.country_name, found.cidr, found.is_private

    struct = alexpy.codecs.struct("<BH")
    with (
        alexpy.open(judge.folder / "ranges", codec=struct) as ranges,
        alexpy.open(judge.folder / "countries", codec=alexpy.codecs.text) as countries,
    ):
        began = time.perf_counter()
        columns = load(ranges, countries)
        judge.loaded(f"{len(ranges):,} ranges of {len(countries)} countries", began)
        names = dict(countries.items())
        edges, random = questions(columns[0], judge.questions)
        expand = answers_of(names)
        for texts, which in ((edges, "at and beside the starts of ranges"), (random, "drawn at random")):
            expected = [their_lookup(text) for text in texts]
            judge.same(
                f"addresses {which}, one by one", expected, (lookup(ranges, names, text) for text in texts)
            )
            judge.same(f"addresses {which}, in one call", expected, expand(lookup_many(ranges, texts)))
        asked = f"{len(random):,} addresses"
        judge.beside(
            f"{asked}, one by one",
            "geoip2fast",
            lambda: [their_lookup(text) for text in random],
            lambda: [lookup(ranges, names, text) for text in random],
        )
        judge.beside(
            f"{asked}, in one call",
            "np.searchsorted",
            lambda: searchsorted(columns, random),
            lambda: lookup_many(ranges, random),
            expand,
        )
    judge.disk(alexpy=[judge.folder], geoip2fast=[Path(theirs.get_database_path())])


if __name__ == "__main__":
    sys.exit(run(__doc__, example, ("geoip2fast",), 200_000))

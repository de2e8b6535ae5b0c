"""The decision that the project's first plan asked for: is a tuned RocksDB under the index enough?

Phase 1 of that plan is `alexpy.rocks.RocksStore` (SIMD search, tuned RocksDB), phase 2 is `alexpy.Store`. Both are
compared with SQLite by a million random writes of 8 bytes in one batch, flushed. The plan's gates: a search of the
index below 1 us; the writes below 1,000 ms tuned and below 600 ms with own storage; at 4 to 5 times SQLite phase 1
ships as it is, at 2 to 3 times own storage is built; with it, 5 to 8 times is the goal. Knows figures only.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .engines import OURS
from .sizes import FULL, Sizes
from .suites import SUITES
from .text import caption

if TYPE_CHECKING:
    from collections.abc import Mapping

# The suites that answer the gates, and those of their engines that are asked.
PLAN = {"decide": SUITES["decide"].engines, "index": (OURS,)}
SEARCH_NANOSECONDS = 1000
PHASE_1_SECONDS = 1.0
PHASE_2_SECONDS = 0.6
SHIP = 4.0
GOAL = 5.0


@dataclass(frozen=True, slots=True)
class Gate:
    """One question of the plan, its figure, and whether the figure passes."""

    question: str
    figure: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """All gates, and what they decide."""

    gates: tuple[Gate, ...]
    verdict: str


def decide(run: Mapping[str, Any]) -> Decision:
    """Put the figures of one run through the gates.

    Raises:
        LookupError: the run lacks an engine that the gates need.

    """
    write = {engine: _median(run, "decide_write", engine) for engine in ("sqlite", "rocksstore", "alexpy")}
    search = _median(run, "lookup", "alexpy") / _count(run, "lookup", "alexpy") * 1e9
    keys = Sizes(**run["sizes"]).keys
    share = keys / FULL.keys
    # The gates are of a million; a smaller run is held to its share of them.
    amount = "a million" if share == 1 else f"{keys:,}"
    phase_1, phase_2 = PHASE_1_SECONDS * share, PHASE_2_SECONDS * share
    first, second = (write["sqlite"] / write[engine] for engine in ("rocksstore", "alexpy"))
    gates = (
        Gate(
            "a search of the index, by a single call from Python, below 1 us",
            f"{search:.0f} ns",
            search < SEARCH_NANOSECONDS,
        ),
        Gate(
            f"phase 1 writes {amount} keys in under {phase_1 * 1e3:,.0f} ms",
            f"{write['rocksstore'] * 1e3:,.0f} ms",
            write["rocksstore"] < phase_1,
        ),
        Gate(f"phase 1 is {SHIP:g} times SQLite or more, enough to ship it", f"{first:.1f}x", first >= SHIP),
        Gate(
            f"phase 2 writes {amount} keys in under {phase_2 * 1e3:,.0f} ms",
            f"{write['alexpy'] * 1e3:,.0f} ms",
            write["alexpy"] < phase_2,
        ),
        Gate(f"phase 2 is {GOAL:g} times SQLite or more, the goal", f"{second:.1f}x", second >= GOAL),
    )
    return Decision(gates, _verdict(first, second, gates))


def report(run: Mapping[str, Any], raw: str) -> str:
    """Return the decision as a page of Markdown."""
    made = decide(run)
    sizes = Sizes(**run["sizes"])
    lines = [
        "# Phase 1 or phase 2: what the numbers decide",
        f"`alexpy compare decide` made this page from the raw figures in `{raw}`; nothing in it was written by hand.",
        """The project began with a plan of two phases: phase 1 keeps an ALEX index over a tuned RocksDB, phase 2 replaces
RocksDB by storage of its own. The plan set gates for each phase; this page holds the figures of one run against them.""",
        caption(run),
        made.verdict,
        "\n".join(
            [
                "| gate | measured | |",
                "|---|--:|---|",
                *(
                    f"| {gate.question} | {gate.figure} | {'passed' if gate.passed else '**not passed**'} |"
                    for gate in made.gates
                ),
            ]
        ),
        _figures(run, sizes),
        f"""The work is that of the plan: {sizes.keys:,} random keys with values of 8 bytes in one batch; the clock stops when
all of it survives a power cut. The engine that the plan started from, ALEX over RocksDB before any tuning, took
1,612 ms for it on another machine, twice as fast as SQLite there, and a search of its index took 2,257 ns. Phase 1 is
`alexpy.rocks`, that design with this project's index and a tuned RocksDB; phase 2 is `alexpy.Store`. All engines keep
the same promise: a returned commit survives a kill, and a power cut once flushed. Every answer was checked.""",
    ]
    return "\n\n".join(lines) + "\n"


def _verdict(first: float, second: float, gates: tuple[Gate, ...]) -> str:
    if first >= SHIP:
        stay = f"Phase 1 reaches {first:.1f} times SQLite: by the plan it could ship as it is."
    elif first >= 2:  # noqa: PLR2004 - the plan's "2-3x"
        stay = f"Phase 1 reaches {first:.1f} times SQLite, which is less than 4: the plan says build own storage."
    else:
        stay = (
            f"Phase 1 reaches {first:.1f} times SQLite, less than the plan thought possible: tuning RocksDB is not "
            "enough, and own storage is what is left."
        )
    goal = "reaches the goal of 5 to 8 times" if second >= GOAL else "misses the goal of 5 to 8 times"
    gain = second / first
    kept = all(gate.passed for gate in gates[3:])
    end = (
        "Phase 2 is worth its cost"
        if kept and gain > 1
        else "Phase 2 has not shown that it is worth its cost"
    )
    return f"{stay} Phase 2 {goal}: {second:.1f} times SQLite, {gain:.1f} times phase 1. **{end}.**"


def _figures(run: Mapping[str, Any], sizes: Sizes) -> str:
    head = [
        "| engine | writes | times SQLite | reads in batch calls | single gets |",
        "|---|--:|--:|--:|--:|",
    ]
    sqlite = _median(run, "decide_write", "sqlite")
    for engine in PLAN["decide"]:
        if engine not in run["cells"]["decide_write"]:
            continue
        label = run["engines"][f"store/{engine}"]["label"]
        write, read, get = (
            _median(run, cell, engine) for cell in ("decide_write", "decide_read", "decide_get")
        )
        head.append(
            f"| {label} | {write * 1e3:,.0f} ms | {sqlite / write:.1f}x | {read / sizes.keys * 1e9:,.0f} ns | "
            f"{get / sizes.gets * 1e9:,.0f} ns |"
        )
    return "\n".join(head)


def _entry(run: Mapping[str, Any], cell: str, engine: str) -> list[dict[str, Any]]:
    figures: list[dict[str, Any]] = run["cells"].get(cell, {}).get(engine, {}).get("figures", [])
    if not figures:
        raise LookupError(f"the decision needs {engine} in {cell}, which this run does not have")
    return figures


def _median(run: Mapping[str, Any], cell: str, engine: str) -> float:
    return statistics.median(float(figure["seconds"]) for figure in _entry(run, cell, engine))


def _count(run: Mapping[str, Any], cell: str, engine: str) -> int:
    return int(_entry(run, cell, engine)[0]["count"])

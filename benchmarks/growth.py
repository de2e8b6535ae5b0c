"""How much disk a writer that never pauses takes, at any length, on chosen processors, with more workloads.

The suite `growth` of `alexpy compare` for one engine and one workload after another: four that it has, and
`trimmed` (a queue of half a million keys), `singles` (single puts at random) and `popped` (single puts and
deletes). `python benchmarks/growth.py --json FILE`; with `--cpus 0` on one core.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from alexpy.compare.bench import Bench
from alexpy.compare.engines import make_store
from alexpy.compare.promise import Mode
from alexpy.compare.sizes import FULL
from alexpy.compare.suites import SUITES, growth
from result import write

ENGINES = SUITES["growth"].engines
WORKLOADS = (*growth.WORKLOADS, *growth.MORE)


def measured(engine: str, workload: str, seconds: float) -> dict[str, Any]:
    """Run one workload on one engine; return what was seen."""
    bench = Bench()
    sizes = replace(FULL, growth_milliseconds=round(seconds * 1e3))
    with tempfile.TemporaryDirectory(prefix="alexpy-growth-") as folder:
        store = cast("Any", make_store(engine))
        growth.measure(bench, store, Mode.KILL, sizes, Path(folder) / "store", (engine, workload))
    puts, disk, allowed, opening = (bench.figures[f"growth_{workload}_{each}"] for each in growth.WORKS)
    return {
        "engine": engine,
        "workload": workload,
        "puts_per_second": round(puts["count"] / puts["seconds"]),
        "disk_bytes": disk["bytes"],
        "allowed_bytes": allowed["bytes"],
        "open_seconds": round(opening["seconds"], 4),
    }


def main() -> None:
    """Run what is asked for, in turn, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument(
        "--cpus", type=int, action="append", help="a processor to run on; 0 alone is one core"
    )
    parser.add_argument("--engine", action="append", choices=ENGINES)
    parser.add_argument("--workload", action="append", choices=WORKLOADS)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if chosen.cpus:
        os.sched_setaffinity(0, chosen.cpus)
    rows = []
    for workload in chosen.workload or WORKLOADS:
        for engine in chosen.engine or ENGINES:
            row = measured(engine, workload, chosen.seconds)
            rows.append(row)
            disk, allowed = row["disk_bytes"] / 1e6, row["allowed_bytes"] / 1e6
            print(
                f"{workload:10} {engine:18} {row['puts_per_second']:>11,} puts/s   "
                f"disk {disk:7,.0f} MB where {allowed:7,.0f} are allowed   "
                f"opened in {row['open_seconds']:.3f} s",
                flush=True,
            )
    if chosen.json:
        cpus = sorted(os.sched_getaffinity(0))
        write(chosen.json, {"seconds": chosen.seconds, "cpus": cpus, "rows": rows})


if __name__ == "__main__":
    main()

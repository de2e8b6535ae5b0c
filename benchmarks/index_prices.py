"""The prices of the index's cost model, fitted: a cache line touched, a slot shifted, a slot built.

`rust/index/benches/prices.rs` does the same work in a build that counts and in one that is timed. Here the
two are joined, phase by phase, and the time of an operation is explained by least squares as

    ns = base + line x lines x log2(megabytes of the tree) + shift x slots shifted + build x slots built

Slots shifted and lines are those of operations that build no leaf, slots built are those of operations that
do. What a line costs grows with the tree, as fewer of its lines lie in a cache. Operations that stay in one
place (inserts in order, or in runs) find their lines in the cache: theirs cost nothing, and they have a base
of their own. Each phase weighs as much as any other: errors are relative.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np

from index_report import machine

BASES = ("get", "insert", "remove", "insert in place")
PRICES = ("line, times log2(MB)", "slot shifted", "slot built")


def joined(counts: Path, times: Path) -> list[dict]:
    """One row for each phase, with what was counted and what it took."""

    def read(path: Path) -> dict[tuple, dict]:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return {(row["keys"], row["kind"], row["phase"]): row for row in rows}

    counted, timed = read(counts), read(times)
    if counted.keys() != timed.keys():
        raise SystemExit(f"{counts} and {times} are not of the same phases")
    return [counted[name] | timed[name] for name in counted]


def features(row: dict) -> list[float]:
    """What the prices of a phase are multiplied with, in the order of `BASES` and `PRICES`."""
    in_place = row["action"] == "insert" and "no order" not in row["phase"]
    base = "insert in place" if in_place else row["action"]
    lines = 0 if in_place else row["lines"] * np.log2(row["megabytes"])
    return [base == name for name in BASES] + [lines, row["shifted"], row["built"]]


def fit(rows: list[dict]) -> dict:
    """Prices in nanoseconds, with what they leave unexplained."""
    multiplied = np.array([features(row) for row in rows], dtype=float)
    taken = np.array([row["ns"] for row in rows])
    prices, *_ = np.linalg.lstsq(multiplied / taken[:, None], np.ones(len(rows)), rcond=None)
    explained = multiplied @ prices
    for row, value in zip(rows, explained, strict=True):
        row["explained"] = round(float(value), 1)
    names = [f"base of {base}" for base in BASES] + list(PRICES)
    off = np.abs(explained / taken - 1)
    return {
        "prices": {name: round(float(price), 3) for name, price in zip(names, prices, strict=True)},
        "phases": len(rows),
        "median error": round(statistics.median(off), 3),
        "worst error": round(float(off.max()), 3),
    }


def main() -> None:
    """Fits each size, prints the tables and keeps everything as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", type=Path, help="what the counting build printed")
    parser.add_argument("times", type=Path, help="what the release build printed")
    parser.add_argument("--json", type=Path, help="keep rows and prices here")
    chosen = parser.parse_args()
    rows = joined(chosen.counts, chosen.times)
    fits = {}
    for keys in sorted({row["keys"] for row in rows}):
        of_size = [row for row in rows if row["keys"] == keys]
        fits[str(keys)] = found = fit(of_size)
        print(f"{keys:,} keys, {found['phases']} phases, errors {found['median error']:.0%} in the middle,")
        print(f"{found['worst error']:.0%} at most; ns: {found['prices']}")
        print(f"{'':42} {'lines':>6} {'shifted':>8} {'built':>7} {'ns':>6} {'explained':>9}")
        for row in of_size:
            name = f"{row['kind']}: {row['phase']}"
            counted = f"{row['lines']:6.1f} {row['shifted']:8.1f} {row['built']:7.1f}"
            print(f"{name:42} {counted} {row['ns']:6.0f} {row['explained']:9.0f}")
    if chosen.json:
        made = {"command": "make prices", "machine": machine(), "fits": fits, "phases": rows}
        chosen.json.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()

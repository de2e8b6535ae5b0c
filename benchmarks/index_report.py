"""The report of `make bench`: raw results to JSON, tables and a plot into the docs.

Reads what criterion and `ALEX_BENCH_FACTS` left, writes one JSON file with every sample, replaces the tables
between the markers of docs/index-performance.md, and draws docs/simd-search.png. Nothing is typed by hand.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTIONS = ("uniform", "sequential", "lognormal", "timestamps", "clustered", "cells")
SIZES = ("1M", "10M")
# Sets of real keys, which have one size each.
REAL = ("gaia", "ip", "taxa", "chess", "osm")
RIVALS = ("BTreeMap", "congee", "scry-index")
# Row, the rivals' row beside it, and how many times as fast as the best of them it should be.
AGAINST = {"get": ("get", 1.5), "insert": ("insert", 1.2), "get_many": ("get", 3.0)}
# From here on a figure is printed without decimals.
TWO_DIGITS = 9.995

# Row: what it is, and the most nanoseconds wanted at 1M and 10M.
ROWS = {
    "get": ("lookup, independent hits", (55, 70)),
    "get_chained": ("lookup, each waits for the one before", None),
    "get_many": ("batch lookup", (18, 30)),
    "contains_many": ("batch membership", None),
    "insert": ("insert, no order", (120, 170)),
    "insert_many": ("insert in batches of 10,000, no order", (60, 60)),
    "append": ("append, one by one", (25, 25)),
    "append_many": ("append in batches of 10,000", None),
    "remove": ("remove, no order", None),
    "remove_many": ("remove in batches of 10,000, no order", None),
    "load_sorted": ("bulk load, sorted", (20, 20)),
    "load_unsorted": ("bulk load, unsorted arrays", (60, 60)),
    "scan": ("scan, in runs of 4,096", (0.7, 0.7)),
    "scan_to_arrays": ("scan into two arrays", None),
    "range_100": ("ranges of 100 keys, each key", (3, 3)),
    "get_after_sorted_inserts": ("lookup, keys were inserted in order", None),
    "get_many_after_sorted_inserts": ("batch lookup, keys were inserted in order", None),
    "get_after_random_inserts": ("lookup, keys were inserted in no order", None),
    "get_many_after_random_inserts": ("batch lookup, keys were inserted in no order", None),
}
# Lookups in other distributions than uniform and sequential have one target, at 10M.
SKEWED = {"get": 90, "get_many": 50}


def samples(criterion: Path) -> dict[str, list[float]]:
    """Nanoseconds for each element, of every sample of every benchmark."""
    found = {}
    for path in sorted(criterion.glob("**/new/sample.json")):
        about = json.loads((path.parent / "benchmark.json").read_text())
        elements = about["throughput"]["Elements"]
        taken = json.loads(path.read_text())
        pairs = zip(taken["times"], taken["iters"], strict=True)
        found[about["full_id"]] = [round(time / rounds / elements, 4) for time, rounds in pairs]
    return found


def machine() -> dict[str, str | int | None]:
    """What the figures depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":")[1].strip() for line in lines if "model name" in line)
    cpu = next(names, platform.processor())
    huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "transparent huge pages": huge.read_text().strip() if huge.exists() else None,
        "backend": os.environ.get("ALEXPY_SIMD", "auto"),
    }


def figure(value: float) -> str:
    """Three digits, more or less."""
    return f"{value:.2f}" if value < TWO_DIGITS else f"{value:.0f}"


def target(row: str, kind: str, size: str | None) -> float | None:
    """The most nanoseconds wanted, if anything is said about this cell."""
    if kind in REAL:
        return None
    if row in SKEWED and kind in ("lognormal", "timestamps", "clustered", "cells"):
        return SKEWED[row] if size == "10M" else None
    wanted = ROWS[row][1]
    return wanted[SIZES.index(size)] if wanted and size else None


def times_table(medians: dict[str, float], size: str | None) -> list[str]:
    """All rows at one size, or of the sets that have their own; bold where the target is missed."""
    kinds = DISTRIBUTIONS if size else REAL
    lines = [
        f"| {f'{size} keys' if size else 'real keys'}, ns | target | {' | '.join(kinds)} |",
        f"|---|---|{'---:|' * len(kinds)}",
    ]
    for row, (what, _) in ROWS.items():
        cells = []
        for kind in kinds:
            value = medians.get(f"{kind}-{size}/{row}" if size else f"{kind}/{row}")
            wanted = target(row, kind, size)
            cell = "" if value is None else figure(value)
            missed = value is not None and wanted is not None and value > wanted
            cells.append(f"**{cell}**" if missed else cell)
        if any(cells):
            aim = target(row, "uniform", size) if size else None
            skewed = target(row, "clustered", size) if size else None
            aims = "" if aim is None else f"{aim:g}" + (f" ({skewed:g})" if skewed and skewed != aim else "")
            lines.append(f"| {what} | {aims} | {' | '.join(cells)} |")
    return lines


def memory_table(medians: dict[str, float]) -> list[str]:
    """The machine's own prices, of the same run."""
    names = {
        "memory/independent_line": "a random cache line of 256 MiB, loads independent",
        "memory/independent_pair": "two such lines, as a key and its payload are",
        "memory/chained_line": "a random cache line, each load waiting for the one before",
    }
    lines = ["| memory of this machine in the same run | ns |", "|---|---:|"]
    lines += [f"| {what} | {figure(medians[name])} |" for name, what in names.items() if name in medians]
    return lines


def ratios_table(medians: dict[str, float]) -> list[str]:
    """Reads after sorted inserts beside reads after a bulk load."""
    lines = [
        "| speed after sorted inserts, after a bulk load = 1 (target 0.9) | lookup | batch lookup |",
        "|---|---:|---:|",
    ]
    for size in SIZES:
        for kind in DISTRIBUTIONS:
            rows = [f"{kind}-{size}/{row}" for row in ("get", "get_many")]
            pairs = [(row, f"{row}_after_sorted_inserts") for row in rows]
            if all(name in medians for pair in pairs for name in pair):
                cells = [f"{medians[loaded] / medians[grown]:.2f}" for loaded, grown in pairs]
                lines.append(f"| {kind}, {size} | {cells[0]} | {cells[1]} |")
    return lines


def all_times(medians: dict[str, float]) -> list[str]:
    """Every table of times that there are figures for."""
    lines = memory_table(medians)
    for size in SIZES:
        if any(name.split("/")[0].endswith(f"-{size}") for name in medians):
            lines += ["", *times_table(medians, size)]
    if any(name.split("/")[0] in REAL for name in medians):
        lines += ["", *times_table(medians, None)]
    if any("@" in name for name in medians):
        lines += ["", *rivals_table(medians)]
    return [*lines, "", *ratios_table(medians)]


def rivals_table(medians: dict[str, float]) -> list[str]:
    """The best rival's nanoseconds over ours, by set; bold where that is less than wanted."""
    wanted = [f"{row} (at least {least:g})" for row, (_, least) in AGAINST.items()]
    lines = [
        f"| times as fast as the best of {', '.join(RIVALS)} | {' | '.join(wanted)} |",
        f"|---|{'---:|' * len(wanted)}",
    ]
    groups = dict.fromkeys(name.split("/")[0] for name in medians if "@" in name)
    for group in groups:
        cells = []
        for row, (beside, least) in AGAINST.items():
            names = [f"{group}/{beside}@{rival}" for rival in RIVALS]
            there = [name for name in names if name in medians]
            if not there or f"{group}/{row}" not in medians:
                cells.append("")
                continue
            best = min(there, key=medians.__getitem__)
            times = medians[best] / medians[f"{group}/{row}"]
            cell = f"{times:.2f} ({best.partition('@')[2]} {figure(medians[best])} ns)"
            cells.append(f"**{cell}**" if times < least else cell)
        if any(cells):
            lines.append(f"| {group} | {' | '.join(cells)} |")
    return lines


def shapes_tables(facts: dict) -> list[str]:
    """Bytes for each key, and how long single inserts take."""
    lines = [
        "| tree | bytes a key | fill | height | mean depth | leaves (plain) | mean error | largest leaf |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    histograms = {}
    for group, trees in facts.items():
        for name, shape in trees.items():
            if name == "insert times":
                histograms[group] = shape
                continue
            lines.append(
                f"| {group}, {name} | {shape['bytes per key']:.1f} | {shape['fill']:.2f} "
                f"| {shape['height']} | {shape['mean depth']:.2f} "
                f"| {shape['leaves']} ({shape['plain leaves']}) | {shape['mean error']:.1f} "
                f"| {shape['largest leaf']} |"
            )
    if histograms:
        shares = list(next(iter(histograms.values())))
        lines += [
            "",
            f"| one insert, ns, percentile | {' | '.join(f'{float(share):.6g}' for share in shares)} |",
        ]
        lines.append(f"|---|{'---:|' * len(shares)}")
        for group, times in histograms.items():
            lines.append(f"| {group} | {' | '.join(str(times[share]) for share in shares)} |")
    return lines


def search_table(
    medians: dict[str, float], duels: dict[str, dict[str, float]]
) -> tuple[list[str], dict[str, dict[str, float]]]:
    """Search time by error, and the curves of the plot."""
    curves: dict[str, dict[str, float]] = {}
    for name, value in medians.items():
        if name.startswith("simd_search/"):
            _, kernel, error = name.split("/")
            curves.setdefault(kernel, {})[error] = value
    if not curves:
        return [], {}
    # Single errors first, then ranges of them. Not every row has every error.
    errors = sorted(
        {error for curve in curves.values() for error in curve},
        key=lambda error: (not error.isdigit(), int(error.split("-")[0])),
    )
    kernels = sorted(curves, key=lambda name: (name.partition("-")[0], int(name.partition("-")[2] or 0)))
    lines = [f"| ns a search, by error in slots | {' | '.join(map(str, errors))} |"]
    lines.append(f"|---|{'---:|' * len(errors)}")

    def line(what: str, values: dict[str, float]) -> str:
        return f"| {what} | {' | '.join(figure(values[e]) if e in values else '' for e in errors)} |"

    lines += [line(kernel, curves[kernel]) for kernel in kernels]
    for best in ("avx512-8", "avx2-8", "avx512-128", "avx2-128"):
        shape = best.partition("-")[2]
        if best in duels:
            lines.append(line(f"scalar-{shape} / {best}, in turn", duels[best]))
        for other in (f"plain loop-{shape}", "exponential"):
            if best in curves and other in curves:
                gains = {e: curves[other][e] / curves[best][e] for e in errors if e in curves[other]}
                lines.append(line(f"{other} / {best}", gains))
    return lines, curves


def plot(curves: dict[str, dict[str, float]], path: Path) -> None:
    """Search time against error, one curve a kernel and shape."""
    import matplotlib as mpl  # noqa: PLC0415  # only the full report draws

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure_, axes = plt.subplots(figsize=(9, 5.5))
    styles = {"8": "-", "16": "--", "64": ":", "128": (0, (5, 1)), "": "-."}
    # Long dashes look like a line in the legend: each first window has a mark of its own, too.
    marks = {"8": ".", "16": "x", "64": "^", "128": "s", "": "."}
    colours = {
        "plain loop": "tab:olive",
        "scalar": "tab:gray",
        "avx2": "tab:blue",
        "avx512": "tab:red",
        "exponential": "tab:green",
    }
    for name in sorted(curves):
        kernel, _, shape = name.partition("-")
        errors = sorted(int(error) for error in curves[name] if error.isdigit())
        axes.plot(
            errors,
            [curves[name][str(error)] for error in errors],
            linestyle=styles[shape],
            color=colours[kernel],
            label=f"{kernel}, first window {shape} slots" if shape else "plain exponential search",
            marker=marks[shape],
            markersize=4,
        )
    axes.set_xscale("symlog", base=2, linthresh=1)
    axes.set_xlabel("prediction error, slots")
    axes.set_ylabel("nanoseconds a search")
    axes.set_ylim(bottom=0)
    axes.set_title("Search in a data node of 16,384 slots")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure_.tight_layout()
    figure_.savefig(path, dpi=110)


def replace(document: Path, mark: str, lines: list[str]) -> None:
    """Puts lines between the document's markers of that name."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    text = document.read_text()
    head, _, rest = text.partition(begin)
    _, found, tail = rest.partition(end)
    if not found:
        sys.exit(f"{document} has no markers {begin} and {end}")
    document.write_text("\n".join([head + begin, "", *lines, "", end]) + tail)


def main() -> None:
    """Writes the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--criterion", type=Path, required=True)
    parser.add_argument("--facts", type=Path, nargs="+", default=[], help="what was counted, in parts")
    parser.add_argument("--results", type=Path, help="the JSON file to write")
    parser.add_argument("--document", type=Path, help="whose tables are replaced; else they are printed")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--command", default="make bench")
    arguments = parser.parse_args()
    taken = samples(arguments.criterion)
    if not taken:
        sys.exit(f"no criterion samples in {arguments.criterion}")
    facts = {}
    for path in arguments.facts:
        facts |= json.loads(path.read_text())
    duels = facts.pop("duels", {})
    medians = {name: statistics.median(values) for name, values in taken.items()}
    about = machine()
    if arguments.results:
        report = {"command": arguments.command, "machine": about, "unit": "ns"}
        report |= {"samples": taken, "counted": facts, "scalar beside SIMD, in turn": duels}
        arguments.results.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")
    count = min(len(values) for values in taken.values())
    place = f"{about['cpus']} CPUs, {about['cpu']}, Linux {about['kernel']}"
    made = f"Medians of {count} samples or more, made by `{arguments.command}` on {place}."
    heading = f"{made} Bold: beyond the target."
    times = [heading, "", *all_times(medians)]
    search, curves = search_table(medians, duels)
    tables = {"times": times, "shapes": shapes_tables(facts) if facts else [], "search": search}
    for mark, lines in tables.items():
        if lines and arguments.document:
            replace(arguments.document, mark, lines)
        elif lines:
            sys.stdout.write("\n".join(lines) + "\n\n")
    if curves and arguments.plot:
        plot(curves, arguments.plot)


if __name__ == "__main__":
    main()

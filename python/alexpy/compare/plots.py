"""PNG plots of one run, by matplotlib: ratios first, then times, latencies, memory and disk.

Every caption names machine and promise; axes that are logarithmic say so.
"""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from .cells import BESIDE, BY_ID, CARE, GROUPS, HARD, HARD_KEYS, INDEX, OF_INDEX, SINGLE_CALLS, STORE, WORK
from .engines import OURS
from .machine import costs
from .promise import Mode
from .sizes import Sizes
from .summary import Row, rows, times
from .text import middle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from .cells import Cell

# Okabe and Ito's colours, told apart by the colour-blind too; a shape each, for print.
_STYLES = {
    "alexpy": ("#D55E00", "o"),
    "sqlite": ("#0072B2", "s"),
    "lmdb": ("#009E73", "^"),
    "rocksdict": ("#CC79A7", "D"),
    "rocksdict-tuned": ("#882255", "d"),
    "leveldb": ("#E69F00", "v"),
    "dict": ("#777777", "P"),
    "sorteddict": ("#56B4E9", "X"),
    "llbtree": ("#009E73", "^"),
    "searchsorted": ("#E69F00", "v"),
}
_WIDTH_INCHES = 11.0
_DPI = 110
# So many can be read.
_MOST_TICKS = 10
_INK, _FAINT = "#222222", "#dddddd"


def plots(run: Mapping[str, Any], folder: Path) -> list[tuple[Path, str]]:
    """Write every plot that the run has figures for; return their paths and captions."""
    folder.mkdir(parents=True, exist_ok=True)
    found = rows(run)
    made = []
    for group in (HARD, HARD_KEYS, STORE, INDEX, WORK, BESIDE, CARE):
        chosen = [row for row in found if BY_ID[row.id].group == group and _drawn(row)]
        if chosen:
            path = folder / f"ratios-{group}.png"
            made.append((path, _ratios(run, chosen, GROUPS[group], path)))
    for name, title, suites in (
        ("latencies", "Single calls: how long one takes", {"latency", "latency_sync"}),
        ("latencies-beside", "Single calls beside an iterator and beside a writer", {"versions"}),
    ):
        calls = [cell for cell in SINGLE_CALLS if cell.suite in suites and run["cells"].get(cell.id)]
        if calls:
            path = folder / f"{name}.png"
            made.append((path, _latencies(run, calls, title, path)))
    if run["memory"].get("table") and run["cells"].get("disk"):
        path = folder / "memory-and-disk.png"
        made.append((path, _memory(run, found, path)))
    return made


def _ratios(run: Mapping[str, Any], chosen: Sequence[Row], title: str, path: Path) -> str:
    figure = Figure(figsize=(_WIDTH_INCHES, 1.9 + 0.36 * len(chosen)), dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    engines = [engine for engine in _STYLES if any(engine in _drawn(row) for row in chosen)]
    kind = "index" if BY_ID[chosen[0].id].group in OF_INDEX else "store"
    for engine in engines:
        colour, marker = _STYLES[engine]
        points = [(_drawn(row)[engine], at) for at, row in enumerate(chosen) if engine in _drawn(row)]
        axes.scatter(
            [point[0] for point in points],
            [point[1] for point in points],
            color=colour,
            marker=marker,
            s=46,
            label=_label(run, kind, engine),
            zorder=3,
            edgecolors="white",
            linewidths=0.6,
        )
    for at, row in enumerate(chosen):
        ratios = _drawn(row).values()
        axes.plot([min(ratios), max(ratios)], [at, at], color="#999999", lw=1, zorder=2)
        if row.ratio is not None:
            axes.annotate(
                times(row.ratio),
                (1.005, at),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=9,
                color=_INK if row.ratio >= 1 else "#B00020",
                fontweight="normal" if row.ratio >= 1 else "bold",
            )
    low = min(0.5, *(min(_drawn(row).values()) for row in chosen)) / 1.3
    high = max(2.0, *(max(_drawn(row).values()) for row in chosen)) * 1.3
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.axvspan(low, 1, color="#B00020", alpha=0.07, zorder=0)
    axes.axvline(1, color=_INK, lw=1, zorder=1)
    axes.set_yticks(range(len(chosen)), [_row_name(row) for row in chosen], fontsize=9)
    axes.set_ylim(len(chosen) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: f"{amount:g}x"))
    axes.xaxis.set_major_locator(_ticks(low, high))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(
        "times better than each rival (logarithmic)\nat the right: than the best; shaded: the rival wins"
    )
    figure.suptitle(f"{title}: alexpy against each rival", fontsize=13, x=0.01, ha="left")
    figure.legend(
        loc="outside upper right",
        ncols=len(engines),
        frameon=False,
        fontsize=9,
        # Tight, so that it fits beside the longest title.
        columnspacing=1.0,
        handletextpad=0.3,
    )
    _finish(axes)
    modes = "all in memory" if kind == "index" else "each rival under the promise named with the row"
    return _caption(figure, run, f"{title}, {modes}; medians.", path)


def _drawn(row: Row) -> dict[str, float]:
    """Return the ratios that have a place on the axis: not those to an engine that did no work."""
    return {engine: ratio for engine, ratio in row.ratios.items() if 0 < ratio < math.inf}


def _latencies(run: Mapping[str, Any], cells: Sequence[Cell], title: str, path: Path) -> str:
    sizes = Sizes(**run["sizes"])
    figure = Figure(figsize=(_WIDTH_INCHES, 4.9), dpi=_DPI, layout="constrained")
    panels = figure.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    points = ("p50", "p99", "p99.9", "max")
    for axes, cell in zip(panels, cells, strict=True):
        for engine, entry in run["cells"][cell.id].items():
            if not entry["figures"]:
                continue
            got = middle(entry["figures"])
            colour, marker = _STYLES[engine]
            axes.plot(
                range(len(points)),
                [got[point] / 1e3 for point in points],
                color=colour,
                marker=marker,
                lw=2.4 if engine == OURS else 1.2,
                zorder=4 if engine == OURS else 3,
                label=_label(run, "store", engine),
            )
        axes.set_xticks(range(len(points)), ["P50", "P99", "P99.9", "longest"], fontsize=9)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(_time_text))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(textwrap.fill(f"{cell.what(sizes)} ({cell.mode})", 32), fontsize=10)
        _finish(axes)
        axes.grid(axis="y", color=_FAINT, lw=0.6)
    panels[0].set_ylabel("time of one call (logarithmic)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.suptitle(title, fontsize=13, x=0.01, ha="left")
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=9)
    return _caption(
        figure,
        run,
        f"kill: {Mode.KILL.text}; power: {Mode.POWER.text}. Longest calls are reported, not judged.",
        path,
    )


def _memory(run: Mapping[str, Any], found: Sequence[Row], path: Path) -> str:
    disk = next(row for row in found if row.id == "disk")
    measured = run["memory"]["table"]
    engines = [engine for engine in _STYLES if engine in disk.entries and disk.entries[engine].lacks is None]
    figure = Figure(figsize=(_WIDTH_INCHES, 3.9), dpi=_DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    labels = [_label(run, "store", engine) for engine in engines]
    at = range(len(engines))
    colours = [_STYLES[engine][0] for engine in engines]
    left.barh(at, [disk.entries[engine].median for engine in engines], color=colours)
    left.set_title("allocated on disk after close", fontsize=10)
    right.barh(at, [measured[engine][-1]["private_growth_bytes"] / 1e6 for engine in engines], color=colours)
    right.set_title("growth of private memory while loading", fontsize=10)
    left.set_yticks(at, labels)
    left.invert_yaxis()
    for axes in (left, right):
        axes.set_xlabel("MB (linear)")
        axes.bar_label(axes.containers[0], fmt=" {:,.0f}", fontsize=9)
        axes.margins(x=0.15)
        _finish(axes)
    sizes = run["sizes"]
    figure.suptitle(f"Space for {sizes['keys']:,} values of 100 bytes", fontsize=13, x=0.01, ha="left")
    return _caption(figure, run, "Values are random bytes: compression gains nothing.", path)


def _label(run: Mapping[str, Any], kind: str, engine: str) -> str:
    return str(run["engines"].get(f"{kind}/{engine}", {}).get("label", engine))


def _row_name(row: Row) -> str:
    mode = row.ours.mode if row.ours else ""
    return row.name if mode == Mode.MEMORY else f"{row.name}  ({mode})"


def _ticks(low: float, high: float) -> Any:
    marks = [mark * 10.0**power for power in range(-4, 6) for mark in (1, 2, 5)]
    inside = [mark for mark in marks if low <= mark <= high]
    few = inside if len(inside) <= _MOST_TICKS else [mark for mark in inside if f"{mark:e}"[0] == "1"]
    return FixedLocator(few)


def _time_text(microseconds: float, _: int) -> str:
    if microseconds >= 1e6:  # noqa: PLR2004
        return f"{microseconds / 1e6:g} s"
    if microseconds >= 1e3:  # noqa: PLR2004
        return f"{microseconds / 1e3:g} ms"
    return f"{microseconds:g} us"


def _finish(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=_FAINT, lw=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _caption(figure: Figure, run: Mapping[str, Any], text: str, path: Path) -> str:
    machine = run["machine"]
    where = (
        f"{machine['processor']}, {machine['cpus']} CPUs, {machine['file_system']}, "
        f"Python {machine['python']}, alexpy {machine['alexpy']['version']} ({machine['alexpy']['simd']}), "
        f"{run['started'][:10]}, up to {run['sizes']['repetitions']} repetitions"
    )
    if cost := costs(machine):
        where += f"; {cost}"
    figure.supxlabel(textwrap.fill(f"{text} {where}.", 150), fontsize=8, color="#555555", x=0.01, ha="left")
    figure.savefig(path)
    return f"{text} {where}."

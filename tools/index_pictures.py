"""The pictures of docs/how-alex-works.md, drawn from real trees: `make pictures`.

Each is made from an `alexpy.AlexIndex` of seeded keys, so it is the same on every machine. Run as a program:

    python tools/index_pictures.py docs/images
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import alexpy

# ruff: noqa: SLF001 - the native half of `AlexIndex.plot` is what these are drawn from

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

INK, KEYS, MODEL, PALE, GAP = "#24323f", "#1f77b4", "#d62728", "#9ecae1", "#e6e6e6"
# Slots of a cache line: eight keys of eight bytes.
LINE = 8
# Inches. A phone shows a picture at two thirds of this, and its letters are to be read there, too.
WIDTH = 5.4


def lognormal(count: int) -> NDArray[np.int64]:
    """Return ascending keys, most of them near the lower end."""
    random = np.random.default_rng(7)
    return np.unique((random.lognormal(0, 2, count) * 1e9).astype(np.int64))


def kinds(count: int) -> dict[str, NDArray[np.int64]]:
    """Return keys of four kinds, as they are described in docs/index-performance.md."""
    random = np.random.default_rng(11)
    clusters = random.integers(-(2**62), 2**62, count // 500)
    return {
        "uniform": random.integers(-(2**63), 2**63 - 1, count),
        "lognormal": lognormal(count),
        "timestamps": np.cumsum(random.exponential(1000, count).astype(np.int64) + 1),
        "clustered": (clusters[:, None] + random.integers(0, 1 << 20, (len(clusters), 500))).ravel(),
    }


def plain(axes: Axes) -> None:
    """Leave a frame that says no more than it has to."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=8)
    axes.title.set_color(INK)


def tree() -> Figure:
    """Draw where the data nodes of skewed keys lie, and how deep."""
    index = alexpy.AlexIndex(lognormal(300_000))
    nodes, stats = index._survey(), index.stats()
    figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
    axes = figure.subplots()
    for place, (low, high, depth) in enumerate(
        zip(nodes["first_key"], nodes["last_key"], nodes["depth"], strict=True)
    ):
        axes.barh(-depth, high - low, left=low, height=0.7, color=(KEYS, PALE)[place % 2])
    depths = np.unique(nodes["depth"])
    axes.set_xscale("log")
    axes.set_xlim(nodes["first_key"].min(), nodes["last_key"].max() * 2)
    axes.set_yticks(-depths, [f"{depth} nodes\ndown" for depth in depths], fontsize=8)
    axes.set_xlabel("key (logarithmic)", fontsize=8)
    axes.set_title(
        f"{stats.keys:,} lognormal keys: {stats.leaves} data nodes below {stats.inner_nodes} model nodes",
        fontsize=9,
    )
    plain(axes)
    return figure


def gapped_array() -> Figure:
    """Draw some lines of one data node, slot by slot."""
    random = np.random.default_rng(3)
    index = alexpy.AlexIndex(np.sort(random.choice(10_000, 400, replace=False)))
    keys, slots, expected = index._leaf(0)
    lines, moved = 6, slots[slots // LINE != expected // LINE]
    # Where some entries did not fit into their lines.
    first = int(moved[len(moved) // 2]) // LINE - 2
    entry = {int(slot): (int(key), int(near)) for key, slot, near in zip(keys, slots, expected, strict=True)}
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    axes = figure.subplots()
    for slot in range(first * LINE, (first + lines) * LINE):
        column, row = slot % LINE, slot // LINE - first
        key, near = entry.get(slot, (None, slot))
        beyond = near // LINE != slot // LINE
        colour = GAP if key is None else MODEL if beyond else KEYS
        axes.add_patch(Rectangle((column, -row), 0.94, 0.8, color=colour))
        # A gap holds the key of the next entry.
        shown = int(keys[np.searchsorted(slots, slot)]) if key is None else key
        axes.text(
            column + 0.47,
            -row + 0.4,
            f"{shown}",
            ha="center",
            va="center",
            fontsize=8,
            color="#8a8a8a" if key is None else "white",
            style="italic" if key is None else "normal",
        )
    for row in range(lines):
        axes.text(-0.15, -row + 0.4, f"line {first + row}", ha="right", va="center", fontsize=8, color=INK)
    axes.set_xlim(-1.1, LINE)
    axes.set_ylim(-lines + 0.9, 0.9)
    axes.set_title(
        "blue: an entry in its predicted line; red: in another;\ngrey: a gap, with the key of the next entry",
        fontsize=8.5,
        color=INK,
    )
    axes.set_axis_off()
    return figure


def errors() -> Figure:
    """Draw how far keys of several kinds lie from where their model says."""
    names = ("0 to 7 slots", "8 to 63", "64 and more", "no model")
    figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
    axes = figure.subplots()
    for row, (kind, keys) in enumerate(kinds(1_000_000).items()):
        index = alexpy.AlexIndex(keys)
        stats, nodes = index.stats(), index._survey()
        # Distances by powers of two: 0, 1, 2 to 3, 4 to 7, and so on.
        counts = np.array([*stats.errors, *[0] * 8])
        unknown = int(nodes["keys"][nodes["plain"]].sum())
        shares = np.array([counts[:4].sum(), counts[4:7].sum(), counts[7:].sum(), unknown]) / stats.keys * 100
        left = 0.0
        for share, colour in zip(shares, (KEYS, PALE, MODEL, GAP), strict=True):
            axes.barh(-row, share, left=left, height=0.7, color=colour)
            left += share
        axes.text(1, -row, f"{shares[0]:.1f}%", va="center", fontsize=8, color="white")
        axes.text(-1, -row, kind, va="center", ha="right", fontsize=8, color=INK)
    axes.set_yticks([])
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of 1,000,000 keys, by slots between the prediction and the key", fontsize=8)
    handles = [Rectangle((0, 0), 1, 1, color=colour) for colour in (KEYS, PALE, MODEL, GAP)]
    figure.legend(handles, names, loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    plain(axes)
    axes.spines["left"].set_visible(False)
    return figure


def growth() -> Figure:
    """Draw how data nodes fill up, grow and split while random keys are inserted."""
    random = np.random.default_rng(5)
    keys, step = random.permutation(60_000) * 1000, 50
    index: Any = alexpy.AlexIndex()
    told = []
    for start in range(0, len(keys), step):
        for key in keys[start : start + step].tolist():
            index[key] = 0
        stats = index.stats()
        told.append((len(index), 100 * stats.fill, stats.leaves))
    count, fill, nodes = np.array(told).T
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.plot(count, fill, color=KEYS, linewidth=1.1)
    above.axhline(85, color=MODEL, linewidth=0.8, linestyle="--")
    above.text(
        count[-1], 86, "a node this full asks for room", ha="right", va="bottom", fontsize=8, color=MODEL
    )
    above.set_ylim(0, 100)
    above.set_ylabel("% of slots filled", fontsize=8)
    below.step(count, nodes, color=KEYS, linewidth=1.1)
    below.set_ylabel("data nodes", fontsize=8)
    below.set_yticks(range(0, int(nodes[-1]) + 2, 2))
    below.set_xlabel("keys inserted one by one, in random order", fontsize=8)
    plain(above)
    plain(below)
    return figure


def main(folder: str) -> None:
    """Draw all of them into `folder`."""
    # The same file each time: no date, no random ids, letters as text.
    mpl.rcParams |= {"svg.hashsalt": "alexpy", "svg.fonttype": "none", "font.family": "sans-serif"}
    pictures = {"tree": tree, "gapped-array": gapped_array, "errors": errors, "growth": growth}
    for name, draw in pictures.items():
        path = Path(folder) / f"alex-{name}.svg"
        draw().savefig(path, metadata={"Date": None})
        # Its lines end in blanks.
        path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])

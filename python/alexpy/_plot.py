"""`AlexIndex.plot`: a learned index as a picture. Needs matplotlib; no index logic.

Draws on a Figure of its own: no pyplot, no window, no global state.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from ._index import AlexIndex, IndexStats

__all__ = ["draw"]

_INK = "#24323f"
_KEYS = "#1f77b4"
_MODEL = "#d62728"
_SHADES = ("#9ecae1", "#e6e6e6")
# A picture shows at most this many points, and shades data nodes only up to this many.
_MOST_POINTS = 2000
_MOST_BANDS = 80
# A range this many times as wide as the middle half of its keys gets another frame.
_SKEWED = 12.0


def draw(index: AlexIndex[Any]) -> Figure:
    """Draw `index` as four pictures; O(slots).

    Raises:
        ImportError: matplotlib is not installed.

    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    except ImportError as error:
        message = "AlexIndex.plot() needs matplotlib: pip install alexpy[plot], or pip install matplotlib"
        raise ImportError(message) from error
    stats = index.stats()
    leaves = index._survey()  # noqa: SLF001 - the native half of this picture
    figure = Figure(figsize=(12, 8), layout="constrained")
    figure.suptitle(_title(stats), color=_INK, fontsize=13)
    (distribution, close_up), (nodes, errors) = figure.subplots(2, 2)
    leaves |= {name: _numbers(leaves[name], index.key_kind) for name in ("first_key", "last_key")}
    _draw_distribution(distribution, index, leaves)
    _draw_close_up(close_up, index, leaves)
    _draw_nodes(nodes, leaves)
    _draw_errors(errors, stats)
    for axes in (distribution, close_up, nodes, errors):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_INK, labelsize=9)
        axes.title.set_color(_INK)
    return figure


def _title(stats: IndexStats) -> str:
    return (
        f"AlexIndex: {stats.keys:,} keys, height {stats.height}, {stats.inner_nodes:,} model and "
        f"{stats.leaves:,} data nodes, {stats.bytes_per_key:.1f} bytes a key"
    )


def _draw_distribution(axes: Axes, index: AlexIndex[Any], leaves: dict[str, Any]) -> None:
    """Draw rank against key: the keys, the range of each data node, and the line of its model."""
    axes.set_title("The keys, and what the models say")
    axes.set_xlabel("key")
    axes.set_ylabel("rank: keys below")
    count = len(index)
    if not count:
        _say(axes, "no keys")
        return
    stop = np.cumsum(leaves["keys"])
    start = stop - leaves["keys"]
    if len(stop) <= _MOST_BANDS:
        for place, (low, high) in enumerate(zip(start, stop, strict=True)):
            axes.axhspan(low, high, color=_SHADES[place % 2], alpha=0.35, linewidth=0)
    # Keys at even ranks, and the ends.
    parts = min(count, _MOST_POINTS)
    found = [index.nth(0)[0], *(part[0] for part in index.split(parts)[1:]), index.nth(-1)[0]]
    ranks = np.append(np.arange(parts) * count // parts, count - 1)
    keys = np.array([_number(key) for key in found], float)
    axes.plot(keys, ranks, color=_KEYS, linewidth=2.2, label="the keys")
    modelled = (leaves["keys"] > 1) & ~leaves["plain"]
    node = {name: column[modelled] for name, column in leaves.items()}
    # From slots to ranks: the entries of a node lie at even distances between its first and its last.
    pitch = (node["keys"] - 1) / np.maximum(node["last_at"] - node["first_at"], 1)
    ends = [
        start[modelled] + np.clip((node[slot] - node["first_at"]) * pitch, 0, node["keys"] - 1)
        for slot in ("first_slot", "last_slot")
    ]
    gap = np.full(len(pitch), np.nan)
    axes.plot(
        np.column_stack([node["first_key"], node["last_key"], gap]).ravel(),
        np.column_stack([*ends, gap]).ravel(),
        color=_MODEL,
        linewidth=0.9,
        label=f"the models of {len(pitch):,} data nodes",
    )
    plain = leaves["plain"] & (leaves["keys"] > 0)
    if plain.any():
        middle = (start + stop)[plain] / 2
        axes.plot(
            leaves["first_key"][plain],
            middle,
            ".",
            color=_INK,
            markersize=3,
            label="data nodes without a model",
        )
    axes.set_ylim(0, count)
    _frame(axes, keys)
    axes.legend(loc="upper left", fontsize=8, framealpha=0.8)


def _frame(axes: Axes, keys: Any) -> None:
    """Give most of the width to the bulk of the ascending `keys`."""
    low, quarter, middle, three, high = np.quantile(keys, [0, 0.25, 0.5, 0.75, 1])
    spread = three - quarter
    if high - low <= _SKEWED * spread or spread <= 0:
        return
    if abs(middle) <= _SKEWED * spread:
        axes.set_xscale("symlog", linthresh=spread)
        axes.set_xlim(low, high)
        axes.set_xlabel("key (logarithmic far from 0)")
        return
    low, high = max(low, quarter - spread), min(high, three + spread)
    axes.set_xlim(low, high)
    axes.set_xlabel("key (some lie outside the picture)")


def _draw_close_up(axes: Axes, index: AlexIndex[Any], leaves: dict[str, Any]) -> None:
    """Draw the keys of one data node in their slots, and its model."""
    axes.set_title("One data node close up")
    axes.set_xlabel("key")
    axes.set_ylabel("slot")
    modelled = np.flatnonzero(~leaves["plain"] & (leaves["keys"] > 1))
    if not modelled.size:
        _say(axes, "no data node with a model")
        return
    # The median node by mean error, neither the best nor the worst.
    order = modelled[np.argsort(leaves["mean_error"][modelled], kind="stable")]
    typical = int(order[len(order) // 2])
    keys, slots, expected = index._leaf(typical)  # noqa: SLF001 - as above
    thinned = _thinned(len(keys))
    # Distances from the first key: floats would merge neighbours far from 0.
    place = _numbers(keys, index.key_kind, from_first=True)
    origin = _shown(keys[0])
    axes.set_xlabel(f"key, from {origin} on")
    axes.plot(place[thinned], slots[thinned], ".", color=_KEYS, markersize=2.5, label="where the keys are")
    axes.plot(place, expected, color=_MODEL, linewidth=1.2, label="where the model says")
    error = leaves["mean_error"][typical]
    axes.set_title(f"One data node close up: {len(keys):,} keys, {error:.1f} slots off on average")
    axes.set_ylim(0, leaves["slots"][typical])
    ends = np.quantile(place, [0.02, 0.98])
    if place[-1] - place[0] > _SKEWED * (ends[1] - ends[0]) > 0:
        axes.set_xlim(ends[0], ends[1])
        axes.set_xlabel(f"key, from {origin} on (some lie outside the picture)")
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    # A few neighbours with their slots, large enough to see gaps and errors.
    few = slice(len(keys) // 2, len(keys) // 2 + 40)
    if len(keys[few]) > 2:  # noqa: PLR2004 - fewer make no picture
        inset = axes.inset_axes((0.60, 0.08, 0.38, 0.38))
        near = place[few] - place[few][0]
        inset.vlines(near, slots[few], expected[few], color="#b0b0b0", linewidth=0.8)
        inset.plot(near, expected[few], color=_MODEL, linewidth=1, drawstyle="steps-mid")
        inset.plot(near, slots[few], ".", color=_KEYS, markersize=4)
        inset.set_xticks([])
        inset.set_yticks([])
        inset.set_title(f"{len(keys[few])} of its keys", fontsize=8, color=_INK)


def _draw_nodes(axes: Axes, leaves: dict[str, Any]) -> None:
    """Draw error and fill of every data node, in key order."""
    axes.set_title("Every data node: how far off its keys are, and how full it is")
    axes.set_xlabel("data node, in key order")
    axes.set_ylabel("slots off the prediction")
    place = np.arange(len(leaves["keys"]))
    known = (leaves["keys"] > 0) & ~leaves["plain"]
    most, mean = (np.where(known, leaves[name], np.nan) for name in ("max_error", "mean_error"))
    # Few nodes are drawn as steps, many as points, between which a line would zigzag.
    if len(place) <= _MOST_BANDS:
        axes.fill_between(place, most, color=_SHADES[0], alpha=0.6, step="mid", label="the farthest key")
        axes.plot(place, mean, color=_KEYS, linewidth=1.4, drawstyle="steps-mid", label="on average")
    else:
        axes.plot(place, most, ".", color=_SHADES[0], alpha=0.9, markersize=3)
        axes.plot(place, mean, ".", color=_KEYS, markersize=2)
        axes.plot([], [], ".", color=_SHADES[0], label="the farthest key")
        axes.plot([], [], ".", color=_KEYS, label="on average")
    plain = leaves["plain"] & (leaves["keys"] > 0)
    if plain.any():
        without = place[plain]
        axes.plot(without, np.zeros(len(without)), "|", color=_INK, label="no model fits", clip_on=False)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(0, 30 * max(float(leaves["max_error"].max()), 1.0))
    axes.set_xlim(-0.5, max(len(place) - 0.5, 0.5))
    fill = axes.twinx()
    percent = 100 * leaves["keys"] / leaves["slots"]
    if len(place) <= _MOST_BANDS:
        fill.plot(place, percent, color=_MODEL, linewidth=0.9, alpha=0.7, drawstyle="steps-mid")
    else:
        fill.plot(place, percent, ".", color=_MODEL, markersize=1.2, alpha=0.6)
    fill.set_ylim(0, 120)
    fill.set_yticks(range(0, 101, 20))
    fill.set_ylabel("% of slots filled", color=_MODEL)
    fill.tick_params(axis="y", colors=_MODEL, labelsize=9)
    fill.spines[["top"]].set_visible(False)
    axes.legend(loc="upper left", frameon=False, fontsize=8, ncols=3)


def _draw_errors(axes: Axes, stats: IndexStats) -> None:
    """Draw the share of keys by distance from their prediction."""
    axes.set_title(f"All keys: {stats.mean_error:.2f} slots off on average, {stats.max_error:,} at most")
    axes.set_xlabel("slots between prediction and key")
    axes.set_ylabel("% of keys")
    known = sum(stats.errors)
    if not known:
        _say(axes, "no key with a model")
        return
    last = max(place for place, keys in enumerate(stats.errors) if keys)
    shares = [100 * keys / known for keys in stats.errors[: last + 1]]
    names = ["0", "1"] + [f"{1 << place - 1}-{(1 << place) - 1}" for place in range(2, last + 1)]
    bars = axes.bar(names[: last + 1], shares, color=_KEYS, alpha=0.85)
    axes.bar_label(bars, labels=[_share(share) for share in shares], fontsize=8, color=_INK)
    axes.tick_params(axis="x", rotation=35)


def _share(share: float) -> str:
    smallest = 0.1
    return f"{share:.1f}" if share >= smallest else "" if share == 0 else "<0.1"


def _numbers(keys: NDArray[Any], kind: str, *, from_first: bool = False) -> NDArray[np.float64]:
    """Return where keys lie on an axis, or how far from the first one: moments by their units."""
    if kind == "uuid":
        words = keys.view(">u8").reshape(-1, 2).astype(object)
        numbers = words[:, 0] * 2**64 + words[:, 1]
    else:
        numbers = keys.view(np.uint64 if kind == "uint64" else np.int64).astype(object)
    return np.asarray(numbers - numbers[:1] if from_first else numbers, float)


def _number(key: Any) -> int:
    """Return where one key lies on an axis."""
    if isinstance(key, uuid.UUID):
        return key.int
    return int(key.astype(np.int64)) if isinstance(key, np.datetime64) else int(key)


def _shown(key: Any) -> str:
    """Return an element of an array of keys as people write it."""
    if isinstance(key, np.void):
        return str(uuid.UUID(bytes=key.tobytes()))
    return str(key) if isinstance(key, np.datetime64) else f"{key:,}"


def _thinned(count: int) -> Any:
    """Evenly spaced positions among `count`, no more than a picture shows."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).astype(np.int64))


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=_INK)

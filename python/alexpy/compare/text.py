"""Markdown of one run: docs/performance.md, whole, from the raw JSON and nothing else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .cells import BY_ID, GROUPS, HARD_GROUPS, OF_INDEX, SINGLE_CALLS
from .engines import INDEXES, OURS, STORES, UNATTENDED
from .machine import costs
from .promise import Mode
from .sizes import Sizes
from .suites import RAW
from .summary import Row, rows, shown, times

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_UNIT_NOTES = (
    "Times are for the whole row; us and ns are for one operation; /s is commits, gets or records a second."
)


def markdown(run: Mapping[str, Any], plots: Sequence[tuple[str, str]], raw: str) -> str:
    """Return the page. `plots` are (path, caption); `raw` names the JSON file that it was made from."""
    found = rows(run)
    parts = [
        "# Performance",
        (
            f"`alexpy compare report` made this page from the raw figures in `{raw}`; nothing in it was written by "
            f"hand. The run: `{run['command']}`"
        ),
        caption(run),
        # The captions stand in the pictures.
        *(f"![{text}]({path})" for path, text in plots),
        "## Where a rival wins",
        losses(found),
        *_groups(run, found, HARD_GROUPS),
        "## Targets",
        targets(found),
        *_groups(run, found, [group for group in GROUPS if group not in HARD_GROUPS]),
    ]
    parts += ["## Single calls, whole distributions", latencies(run)]
    parts += ["## Memory of the load", memory(run)]
    parts += ["## How it was measured", method(run), "## Engines, versions, settings, promises", engines(run)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _groups(run: Mapping[str, Any], found: Sequence[Row], groups: Iterable[str]) -> list[str]:
    parts = []
    for group in groups:
        chosen = [row for row in found if BY_ID[row.id].group == group]
        if chosen:
            kind = "index" if group in OF_INDEX else "store"
            parts += [f"## {GROUPS[group]}", table(run, chosen, kind), missing(chosen)]
    return parts


def caption(run: Mapping[str, Any]) -> str:
    """Say in a paragraph where and how much."""
    machine, sizes = run["machine"], run["sizes"]
    build = machine["alexpy"]
    cost = costs(machine)
    return (
        f"{machine['processor']}, {machine['cpus']} CPUs, {machine['memory_bytes'] / 2**30:.0f} GiB, "
        f"{machine['system']}, {machine['file_system']}; Python {machine['python']}, NumPy {machine['numpy']}; "
        f"alexpy {build['version']} ({build['profile']}, {build['simd']}), commit {machine['commit']}; "
        f"{run['started'][:10]}, {run['minutes']:.0f} min, up to {sizes['repetitions']} repetitions, "
        f"{run['checked']:,} answers checked, all right. Load average before the start: "
        f"{machine['load_average']:.1f} (near 0 on a quiet machine)."
        + (f" Measured then: {cost}." if cost else "")
    )


def losses(found: Iterable[Row]) -> str:
    """List every row in which the best rival under the same promise is ahead."""
    lost = [row for row in found if row.ratio is not None and row.ratio < 1 and row.rival and row.ours]
    if not lost:
        return "No rival under the same promise was ahead in any row of this run."
    lines = ["| work | rival | it | alexpy | times behind |", "|---|---|--:|--:|--:|"]
    lines.extend(
        f"| {row.name} | {row.rival.label} | {shown(row.unit, row.rival.median)} | "
        f"{shown(row.unit, row.ours.median)} | {_behind(row.ratio)} |"
        for row in sorted(lost, key=lambda row: row.ratio or 0)
        if row.rival and row.ours and row.ratio is not None
    )
    return "\n".join(lines)


def _behind(ratio: float) -> str:
    return f"{1 / ratio:.1f}x" if ratio else "no work done"


def targets(found: Iterable[Row]) -> str:
    """Say of every row that has a target whether it was held."""
    judged = [row for row in found if row.held is not None and row.ours]
    if not judged:
        return "Targets exist for one and ten million keys; this run had other sizes."
    held = sum(1 for row in judged if row.held)
    lines = [
        f"{held} of {len(judged)} targets held.",
        "",
        "| work | alexpy | target | |",
        "|---|--:|---|---|",
    ]
    for row in judged:
        if row.ours:
            verdict = "held" if row.held else "**missed**"
            lines.append(f"| {row.name} | {shown(row.unit, row.ours.median)} | {row.target} | {verdict} |")
    return "\n".join(lines)


def table(run: Mapping[str, Any], found: Sequence[Row], kind: str) -> str:
    """Return one table: rows down, engines across, the ratio to the best rival first."""
    order = [*(INDEXES if kind == "index" else STORES), UNATTENDED, RAW]
    there = [engine for engine in order if any(engine in row.entries for row in found)]
    labels = [run["engines"].get(f"{kind}/{engine}", {}).get("label", engine) for engine in there]
    lines = [
        f"| work | promise | times better than the best rival | {' | '.join(labels)} |",
        f"|---|---|--:|{'--:|' * len(there)}",
    ]
    for row in found:
        mode = row.ours.mode if row.ours else "-"
        cells = " | ".join(_cell(row, engine) for engine in there)
        lines.append(f"| {row.name} | {mode} | {ratio_text(row)} | {cells} |")
    return "\n".join(lines)


def ratio_text(row: Row) -> str:
    """Return the ratio to the best rival, and which it is."""
    if row.ratio is None or row.rival is None:
        return "-"
    instead = ", item by item" if row.instead else ""
    return f"{times(row.ratio)} ({row.rival.label}{instead})"


def missing(found: Iterable[Row]) -> str:
    """Give the reason of each n/a, once for all rows that share it."""
    reasons: dict[tuple[str, str], int] = {}
    for row in found:
        for entry in row.entries.values():
            if entry.lacks is not None:
                reasons[entry.label, entry.lacks] = reasons.get((entry.label, entry.lacks), 0) + 1
    if not reasons:
        return ""
    return "n/a: " + "; ".join(f"{label} {reason}" for label, reason in reasons) + "."


def latencies(run: Mapping[str, Any]) -> str:
    """Return percentiles of single calls, from the repetition with the median P99."""
    measured = [
        (cell, engine, entry)
        for cell in SINGLE_CALLS
        for engine, entry in run["cells"].get(cell.id, {}).items()
        if entry["figures"]
    ]
    if not measured:
        return "Not run."
    sizes = Sizes(**run["sizes"])
    lines = ["| call | engine | P50 | P99 | P99.9 | longest |", "|---|---|--:|--:|--:|--:|"]
    for cell, engine, entry in measured:
        figure = middle(entry["figures"])
        label = run["engines"][f"store/{engine}"]["label"]
        parts = " | ".join(_microseconds(figure[name]) for name in ("p50", "p99", "p99.9", "max"))
        lines.append(f"| {cell.what(sizes)} ({entry['mode']}) | {label} | {parts} |")
    clock = measured[0][2]["figures"][0]["clock"]
    return "\n".join(lines) + f"\n\nEach figure includes one reading of the clock: {clock:.0f} ns."


def middle(figures: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the figures of the repetition with the median P99."""
    return sorted(figures, key=lambda figure: figure["p99"])[len(figures) // 2]


def memory(run: Mapping[str, Any]) -> str:
    """Return how memory grew while the table's rows were loaded."""
    lines = ["| engine | private memory | peak resident, mapped files included |", "|---|--:|--:|"]
    for engine, measured in run["memory"].get("table", {}).items():
        last = measured[-1]
        label = run["engines"][f"store/{engine}"]["label"]
        lines.append(
            f"| {label} | {last['private_growth_bytes'] / 1e6:,.0f} MB | "
            f"{last['peak_rss_growth_bytes'] / 1e6:,.0f} MB |"
        )
    return "\n".join(lines) if len(lines) > 2 else "Not run."  # noqa: PLR2004 - the head


def method(run: Mapping[str, Any]) -> str:
    """Say how figures came about, for one who doubts them."""
    sizes = Sizes(**run["sizes"])
    return f"""- Every engine runs in a process of its own, once for each repetition. Within a repetition the engines run one after
  another, and each repetition starts with another one. Figures are medians of the repetitions; the raw file has all.
- Every answer is compared with what went in, after the clock has stopped. A wrong one ends the whole run.
- All engines get the same keys and values, made from a seed. Values are random bytes, so compression gains nothing,
  but in the rows about flights. There each engine compresses as it does by default, or by zstd where the row says so,
  and compacts what it has loaded before it is closed.
  Arguments are converted to each engine's own form (integers, big-endian bytes, batches) before the clock starts;
  results are left in it. Python's garbage collector is off while a clock runs.
- Every engine is called from one thread, except in the rows that name threads or a writer. alexpy reads batches of
  many thousand keys with up to four threads of its own, if there are as many processors; RocksDB and LevelDB flush
  and compact on theirs.
- Everything is warm: what was written is in the page cache when it is read. The exceptions are the rows that name a
  quarter of the memory: there the page cache is dropped and a control group limits it, once in a run. LMDB and SQLite
  get other settings there, as listed, so that nothing is read ahead of a page that they miss in a map, and RocksDB is
  the tuned one with a smaller cache; alexpy detects
  that it is larger than memory (the disk reads {run["machine"].get("read_ahead_kib") or "unknown"} KiB ahead here).
  Indexes fit into that memory in these rows; what happens where one does not is in
  `docs/dev/054-images-larger-than-memory.md`.
  `sync` before each engine's turn keeps one from paying for another's writes.
- A row is compared only among engines that made the same promise in it: *kill* is "{Mode.KILL.text}", *power* is
  "{Mode.POWER.text}". Engines in memory show what Python itself costs and are not ranked with stores.
- The clock of a load stops after the flush that makes everything survive a power cut: {sizes.keys:,} keys in
  batches of {sizes.batch:,}. {_UNIT_NOTES}
- Writers that never pause are killed after {sizes.growth_milliseconds / 1000:g} s. RocksDB and LMDB flush nothing
  meanwhile; alexpy flushes every 50 ms, as by default, and a power cut would cost it no more than that. Images of its
  index do not count as disk there.
- In a backup alexpy and RocksDB link files that no longer change, while LMDB and SQLite copy all bytes.
- P99 and P99.9 are of single calls, each timed by itself; all percentiles are in a table of their own. Snapshots,
  iterators, readers and refreshes are in each engine the call that its package has for them, as listed.
- The raw disk of durable commits is the same number of bytes written by `pwrite` and `fdatasync` into a file of zeros
  that were written beforehand, in the same run. The targets are shares of a file whose blocks were only reserved, as a
  new segment's are: ext4 then notes the first write to each block, and alexpy, which writes zeros ahead of such
  commits, pays that once a mebibyte. Beside gets in a quarter of the memory it is random pages of 4 KiB of a
  file as large as the values, read past the page cache by `preadv`: one at a time beside single gets, and by
  sixteen threads at a time beside batches.
- If an engine lacks a call, the cell says n/a. If its user would then read item by item, the ratio is taken from that
  and says so."""


def engines(run: Mapping[str, Any]) -> str:
    """List versions, settings that are not defaults, and how each promise is kept."""
    lines = []
    for key, about in run["engines"].items():
        kind, _ = key.split("/")
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        settings = ", ".join(f"{name}={value}" for name, value in about["settings"].items())
        promises = "; ".join(
            f"*{mode}*: {text}" for mode, text in about["promises"].items() if mode != Mode.MEMORY
        )
        parts = [part for part in (versions, f"settings: {settings}" if settings else "", promises) if part]
        lines.append(f"- **{about['label']}** ({kind}){': ' if parts else ''}{'. '.join(parts)}")
    return "\n".join(lines)


def _cell(row: Row, engine: str) -> str:
    entry = row.entries.get(engine)
    if entry is None:
        return ""
    if entry.lacks is not None:
        return "n/a"
    text = shown(row.unit, entry.median)
    if entry.repetitions > 1 and 0 < entry.median < math.inf:
        spread = (entry.high - entry.low) / entry.median
        text += f" ±{spread / 2:.0%}"
    return f"**{text}**" if engine == OURS else text


def _microseconds(nanoseconds: float) -> str:
    return f"{nanoseconds / 1e3:,.2f} us" if nanoseconds < 1e5 else f"{nanoseconds / 1e3:,.0f} us"  # noqa: PLR2004

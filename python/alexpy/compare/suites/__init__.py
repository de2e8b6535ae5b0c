"""The suites: what one engine does in one process. Each module has a `run` and knows no engine by name."""

from __future__ import annotations

from dataclasses import dataclass

from alexpy.compare.engines import INDEXES, ON_DISK, OURS, PHASE_ONE, STORES, UNATTENDED
from alexpy.compare.promise import Mode


@dataclass(frozen=True, slots=True)
class Suite:
    """Where a suite lives, the kind of its engines, the promise it asks of them, and who takes part."""

    module: str
    kind: str
    mode: Mode
    engines: tuple[str, ...]
    work: str = "run"
    """The function of the module that does it."""
    once: bool = False
    """Whether later repetitions leave it out, because it takes long."""


RAW = "raw"
"""The pseudo-engine of some suites: the disk itself, without a store."""
SUITES = {
    # What is hard comes first, as in the report.
    "index_hard": Suite("index_hard", "index", Mode.MEMORY, ("alexpy", "llbtree", "searchsorted")),
    "values": Suite("values", "store", Mode.KILL, ON_DISK),
    "zstd": Suite("values", "store", Mode.KILL, (OURS, "rocksdict"), work="run_compressed"),
    "squeezed": Suite(
        "squeezed", "store", Mode.KILL, ("alexpy", "sqlite", "lmdb", "rocksdict-tuned", RAW), once=True
    ),
    "growth": Suite("growth", "store", Mode.KILL, (OURS, UNATTENDED, "lmdb", "rocksdict"), once=True),
    "huge": Suite("huge", "store", Mode.KILL, (OURS,), once=True),
    "table": Suite("table", "store", Mode.KILL, STORES),
    "small": Suite("small", "store", Mode.KILL, STORES),
    "durable": Suite("durable", "store", Mode.POWER, (*ON_DISK, RAW)),
    "index": Suite("index", "index", Mode.MEMORY, INDEXES),
    "mixes": Suite("mixes", "store", Mode.KILL, ON_DISK),
    "widths": Suite("widths", "store", Mode.KILL, ON_DISK),
    "kinds": Suite("kinds", "store", Mode.KILL, ON_DISK),
    "latency": Suite("latency", "store", Mode.KILL, ON_DISK),
    "latency_sync": Suite("latency_sync", "store", Mode.POWER, ON_DISK),
    "care": Suite("care", "store", Mode.KILL, ON_DISK),
    # Those whose Python packages give snapshots, and those whose stores other processes may read meanwhile.
    "versions": Suite("versions", "store", Mode.KILL, ("alexpy", "lmdb", "rocksdict", "leveldb"), once=True),
    "versions_large": Suite("versions_large", "store", Mode.KILL, (OURS,)),
    "followers": Suite("followers", "store", Mode.KILL, ("alexpy", "lmdb", "rocksdict"), once=True),
    # Ten times larger: those whose load takes seconds, not minutes. SortedDict takes 40 s, SQLite minutes.
    "index_large": Suite("index_large", "index", Mode.MEMORY, ("alexpy", "dict", "llbtree", "searchsorted")),
    "index_huge": Suite("index_huge", "index", Mode.MEMORY, ("alexpy", "searchsorted"), once=True),
    "large": Suite("large", "store", Mode.KILL, ("alexpy",)),
    "own": Suite("own", "store", Mode.KILL, (OURS,)),
    "scans": Suite("scans", "store", Mode.KILL, (OURS,)),
    "sessions": Suite("sessions", "store", Mode.KILL, ON_DISK, once=True),
    "uuids": Suite("uuids", "store", Mode.KILL, (OURS,)),
    # The gates of the first plan; for `alexpy compare decide`.
    "decide": Suite("decide", "store", Mode.KILL, ("sqlite", "rocksdict-tuned", *PHASE_ONE, "alexpy")),
}
# What `alexpy compare` runs.
COMPARED = tuple(name for name in SUITES if name != "decide")
# Added by `make scale`, which has the time.
SCALE_ENGINES = ("alexpy", "lmdb", "rocksdict", "rocksdict-tuned", "leveldb")

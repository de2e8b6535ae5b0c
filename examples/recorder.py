"""Records a reading a second, keeps three days of them, and answers from what it keeps.

    python examples/recorder.py

Keys are moments, so a range of time is a range of keys, and what is too old goes by one `delete_range`. Disk
space comes back while it runs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import alexpy
from alexpy import codecs

START = np.datetime64("2026-11-01T00:00:00", "s")
SECOND, HOUR, DAY = (np.timedelta64(1, unit) for unit in ("s", "h", "D"))
RECORDED, KEPT = 10 * DAY, 3 * DAY
# Readings that arrive together.
BATCH = 600


def celsius(moments: np.ndarray) -> np.ndarray:
    """Return what the sensor measures: warm by day, cold by night, and noise that a moment determines."""
    seconds = (moments - START) / SECOND
    return (15 + 8 * np.sin(seconds / 86_400 * 2 * np.pi) + np.sin(seconds * 12.9898) % 0.7).astype(
        np.float32
    )


def record(store: alexpy.Store[np.datetime64, np.float32]) -> None:
    """Write ten days of readings, and drop what is older than three days after each batch."""
    for begin in np.arange(START, START + RECORDED, BATCH * SECOND):
        moments = begin + np.arange(BATCH) * SECOND
        store.put_many(moments, celsius(moments))
        store.delete_range(None, moments[-1] + SECOND - KEPT)


def hourly(
    store: alexpy.Store[np.datetime64, np.float32], start: np.datetime64, stop: np.datetime64
) -> np.ndarray:
    """Return the mean of each hour of a range, read batch by batch."""
    hours = int((stop - start) / HOUR)
    sums, counts = np.zeros(hours), np.zeros(hours)
    for batch in store.scan_batches(start, stop):
        hour = ((batch.keys - start) // HOUR).astype(np.int64)
        sums += np.bincount(hour, batch.to_array(), hours)
        counts += np.bincount(hour, minlength=hours)
    return sums / counts


def check(told: str, right: object) -> None:
    """Print an answer; end the program if it is wrong."""
    if not right:
        raise SystemExit(f"WRONG: {told}")
    print(told)


def main() -> None:
    """Record, look at what is kept, and ask for it in three ways."""
    with tempfile.TemporaryDirectory() as folder:
        with alexpy.open(
            Path(folder) / "readings",
            key="datetime64[s]",
            codec=codecs.numpy(np.float32),
            segment_bytes=4 << 20,
        ) as store:
            record(store)
            end = START + RECORDED
            oldest, _ = store.nth(0)
            check(
                f"{int(RECORDED / SECOND):,} readings written, {len(store):,} kept, from {oldest} on",
                len(store) == KEPT / SECOND and oldest == end - KEPT,
            )
            means = hourly(store, end - DAY, end)
            day = np.arange(end - DAY, end, SECOND)
            expected = celsius(day).reshape(24, -1).mean(axis=1, dtype=np.float64)
            check(
                f"mean of the last day, hour by hour: {means.min():.2f} to {means.max():.2f}",
                np.allclose(means, expected, atol=1e-5),
            )
            asked = end - DAY + np.arange(0, 86_400, 7_777) * SECOND
            known, found = store.floor_many(asked)
            check(
                f"the last reading before each of {len(asked)} moments",
                (known == asked).all() and (found.to_array(np.float32) == celsius(asked)).all(),
            )
            store.compact()
            stats = store.stats()
            check(
                f"dead bytes after compaction: {stats.dead_bytes / stats.live_bytes:.0%} of the live ones",
                stats.dead_bytes < stats.live_bytes / 2,
            )
        with alexpy.open(Path(folder) / "readings", read_only=True) as again:
            check("all of it is there when the store is opened again", len(again) == KEPT / SECOND)


if __name__ == "__main__":
    main()

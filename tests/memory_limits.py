"""The program of test_memory: memory_limits.py DIRECTORY COMPRESSION ROOM... Makes calls without memory.

Each case runs in a forked child whose address space is limited to its present size and ROOM MiB more. The
call must return its answer or raise MemoryError, and the process must survive; once there is memory again,
the store must accept a write and verify. COMPRESSION is "none" or "zstd".
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 1 << 20
KEYS = 300_000


def _batch_put(store: alexpy.Store, big: bytes) -> None:
    batch = store.batch()
    for key in range(1000):
        batch.put(key, big[:MEBIBYTE])


def _commit(store: alexpy.Store, big: bytes) -> None:
    with store.batch() as batch:
        for key in range(60):
            batch.put(key, big[: 2 * MEBIBYTE])


def _deleted_range(store: alexpy.Store, _big: bytes) -> None:
    with store.batch() as batch:
        batch.put(-1, b"x")
    store.delete_range(10, KEYS)


def _ceilings_then(store: alexpy.Store, _big: bytes) -> None:
    with store.snapshot() as snapshot:
        store.delete_many(MANY[::2])
        snapshot.ceiling_many(MANY)


def _open_scan(store: alexpy.Store, _big: bytes) -> None:
    scan = store.scan()
    next(scan)
    store.put(7, b"x" * 10)
    for _ in scan:
        pass


MANY = np.arange(KEYS)
# A hundred bytes each, which have much in common.
ROW = b"{'flight': %8d, 'carrier': 'UA', 'origin': 'EWR', 'air_time': %8d, 'tail': %12d}\n "
ROWS = np.frombuffer(b"".join(ROW % (i, i * 31 % 1009, i * 40503 % 65537) for i in range(KEYS)), np.uint8)
ROWS = ROWS.reshape(KEYS, 100)

CALLS: dict[str, Callable[[alexpy.Store, bytes], Any]] = {
    "get": lambda s, _: s.get(-5),
    "get_view": lambda s, _: bytes(s.get_view(-5) or b""),
    "put": lambda s, big: s.put(-6, big),
    "small puts": lambda s, _: [s.put(key, b"v") for key in range(KEYS, KEYS + 30_000)],
    "put_many": lambda s, _: s.put_many(MANY + KEYS, ROWS),
    "put_many of a list": lambda s, _: s.put_many(range(KEYS), [b"x" * 90] * KEYS),
    "put_many of made values": lambda s, _: s.put_many(MANY, (bytes(90) for _ in range(KEYS))),
    "bulk_load": lambda s, _: s.bulk_load(MANY[::-1], ROWS),
    "bulk_load with progress": lambda s, _: s.bulk_load(MANY, ROWS, progress=lambda _done, _total: None),
    "get_many": lambda s, _: s.get_many(MANY),
    "get_many of long ones": lambda s, _: s.get_many([-5] * 20),
    "get_array": lambda s, _: s.get_array(MANY, "V100"),
    "get_buffers": lambda s, _: s.get_buffers(MANY),
    "get_buffers of long ones": lambda s, _: s.get_buffers([-5, 3] * 20),
    "contains_many": lambda s, _: s.contains_many(MANY),
    "delete_many": lambda s, _: s.delete_many(MANY[::2]),
    "delete_range": _deleted_range,
    "clear": lambda s, _: s.clear(),
    "list of items": lambda s, _: list(s.scan()),
    "list of keys": lambda s, _: list(s.keys()),
    "scan_batches": lambda s, _: list(s.scan_batches()),
    "an open scan": _open_scan,
    "batch.put": _batch_put,
    "commit": _commit,
    "update": lambda s, _: s.update(dict.fromkeys(range(KEYS), b"x" * 90)),
    "setdefault": lambda s, big: s.setdefault(-7, big),
    "compare_and_set": lambda s, big: s.compare_and_set(-5, big, big),
    "pop": lambda s, _: s.pop(-5),
    "add_many": lambda s, _: s.add_many(MANY + KEYS, MANY),
    "keys_array": lambda s, _: s.keys_array(),
    "floor_many": lambda s, _: s.floor_many(MANY),
    "ceiling_many of a snapshot": _ceilings_then,
    "nth and rank": lambda s, _: (s.nth(KEYS // 2), s.rank(KEYS // 2)),
    "sample": lambda s, _: s.sample(KEYS // 2, seed=1),
    "last items": lambda s, _: [s.last() for _ in range(1000)],
    "compact": lambda s, _: s.compact(),
    "checkpoint": lambda s, _: s.checkpoint(),
    "index": lambda _s, _: alexpy.AlexIndex(MANY, MANY).get_many(MANY),
    "index.rank": lambda _s, _: alexpy.AlexIndex(MANY, MANY).rank(KEYS // 2),
    "index.put_many": lambda _s, _: alexpy.AlexIndex().put_many(MANY * 7, MANY),
}


def _limit(more: int | None) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (hard if more is None else size + more, hard))


def _run(store: alexpy.Store, name: str, room: int) -> str:
    big = bytes(150 * MEBIBYTE)
    outcome = "an answer"
    _limit(room * MEBIBYTE)
    try:
        CALLS[name](store, big)
    except MemoryError:
        outcome = "MemoryError"
    _limit(None)
    store.put(-9, b"later")
    assert store[-9] == b"later"
    # In the cache of the store, not of the call: what was there before still is.
    if name in {"get", "get_many", "put", "batch.put", "put_many"}:
        assert store[3] == ROWS[3].tobytes()
    report = store.verify()
    assert report, report.errors
    store.close()
    return outcome


def main() -> None:
    """Run every case and print its outcome."""
    folder = Path(sys.argv[1])
    compression: Any = None if sys.argv[2] == "none" else sys.argv[2]
    with alexpy.open(folder / "store", background=False, compression=compression) as store:
        store.put_many(MANY, ROWS)
        store[-5] = bytes(40 * MEBIBYTE)
    failed = 0
    refused = 0
    # An index compresses nothing.
    for name in [name for name in CALLS if compression is None or not name.startswith("index")]:
        for room in map(int, sys.argv[3:]):
            shutil.rmtree(folder / "copy", ignore_errors=True)
            shutil.copytree(folder / "store", folder / "copy")
            child = os.fork()
            if child == 0:
                code = 1
                signal.alarm(60)
                try:
                    outcome = _run(alexpy.open(folder / "copy", background=False), name, room)
                    code = 0 if outcome == "an answer" else 2
                except BaseException as error:  # noqa: BLE001 - told to the parent
                    print(f"{name}, {room} MiB: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(code)
            status = os.waitpid(child, 0)[1]
            code = os.waitstatus_to_exitcode(status)
            refused += code == 2
            if code not in {0, 2}:
                failed += 1
                print(f"{name}, {room} MiB: exit {code}", file=sys.stderr, flush=True)
    print(f"done: {refused} refused, {failed} failed", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()

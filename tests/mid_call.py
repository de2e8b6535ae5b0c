"""The program of test_mid_call: mid_call.py PART DIRECTORY STRIDE. Prints each case before it runs it."""

from __future__ import annotations

import faulthandler
import gc
import itertools
import os
import shutil
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNT = 3000
# What a call that meets such code may raise; anything else, a PanicException above all, fails.
CLEAR = (
    TypeError,
    ValueError,
    OverflowError,
    KeyError,
    BufferError,
    IndexError,
    alexpy.AlexError,
    MemoryError,
)


class OwnError(Exception):
    """The exception that the code in mid-call raises."""


class World:
    """A fresh store, and the arrays that one case passes to a call."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.store = alexpy.open(folder / "store", background=False, parents=True)
        self.store.put_many(range(COUNT), [b"old"] * COUNT)
        self.index = alexpy.AlexIndex(np.arange(COUNT), np.arange(COUNT))
        self.keys = np.arange(COUNT, dtype=np.int64)
        self.rows = np.full((COUNT, 3), ord("n"), np.uint8)
        self.numbers = np.arange(COUNT, dtype=np.int64)
        self.out = np.zeros((COUNT, 3), np.uint8)
        self.buffer = bytearray(b"new")
        self.batch: alexpy.WriteBatch | None = None
        self.closing: threading.Thread | None = None
        self.folder = folder

    def end(self) -> None:
        """Check that the store can be closed and opened again, and that it verifies."""
        self.store.close()
        if self.closing:
            self.closing.join(60)
            assert not self.closing.is_alive(), "closing hangs"
        with alexpy.open(self.folder / "store") as again:
            report = again.verify()
            assert report, report.errors
            assert all(value in {b"old", b"new", b"nnn", b"mid"} for value in again.values())
        self.index.check()


def _free(world: World) -> None:
    for array in (world.keys, world.numbers):
        array.resize(0, refcheck=False)
    for array in (world.rows, world.out):
        array.resize((0, 0), refcheck=False)
    np.zeros(1 << 16)
    gc.collect()


def _replace(world: World) -> None:
    for array in (world.keys, world.numbers):
        array.__setstate__((1, (0,), np.dtype("i8"), False, b""))
    for array in (world.rows, world.out):
        array.__setstate__((1, (0, 0), np.dtype("u1"), False, b""))


def _change(world: World) -> None:
    world.keys[:] = 5
    world.numbers[:] = 5
    world.buffer[:] = b"mid"
    with suppress(ValueError):
        world.rows[:] = ord("n")


def _resize_buffer(world: World) -> None:
    world.buffer.clear()
    world.buffer.extend(b"mid")


def _close(world: World) -> None:
    world.store.close()


def _reenter(world: World) -> None:
    world.store.put_many([1, 2], [b"mid", b"mid"])
    world.store.get_many(range(10))
    world.store.get_array([1], "V3")
    list(world.store.scan(limit=3))
    world.index.put_many([1, 2], [1, 2])
    world.index.get_many([1])
    with suppress(alexpy.ClosedError):
        if world.batch is not None:
            world.batch.put(3, b"mid")


def _maintain(world: World) -> None:
    """Call everything that holds the engine's locks for long, from within a call."""
    s = world.store
    for call in (
        s.flush,
        s.checkpoint,
        s.refresh,
        s.stats,
        s.verify,
        s.compact,
        lambda: s.backup(world.folder / "copy of mid-call"),
        lambda: s.snapshot().close(),
        lambda: list(s.changes(since=0)),
        lambda: s.bulk_load([1, 2], [b"mid", b"mid"]),
        world.index.check,
    ):
        with suppress(*CLEAR, OSError):
            call()


def _elsewhere(act: Callable[[World], None]) -> Callable[[World], None]:
    """Let another thread act, and wait for it in mid-call: it must not need what the call holds."""

    def acted(world: World) -> None:
        failed: list[Exception] = []

        def run() -> None:
            try:
                act(world)
            except alexpy.ClosedError:
                pass
            except Exception as failure:  # noqa: BLE001 - raised below
                failed.append(failure)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(60)
        if thread.is_alive():
            faulthandler.dump_traceback(all_threads=True)
            os.abort()
        if failed:
            raise failed[0]

    acted.__name__ = f"{act.__name__}_elsewhere"
    return acted


def _close_elsewhere(world: World) -> None:
    """Begin to close in another thread, which waits for this call. World.end() waits for the other."""
    closing = threading.Thread(target=world.store.close, daemon=True)
    closing.start()
    closing.join(0.002)
    world.closing = closing


def _collect(world: World) -> None:
    """Collect iterators, snapshots and batches in cycles, with a finaliser that calls."""
    for make in (world.store.scan, world.store.snapshot, world.store.scan_batches, world.store.batch):
        with suppress(alexpy.ClosedError):
            cycle: list[Any] = [make(), Dying(lambda: _reenter(world))]
            cycle.append(cycle)
            del cycle
    gc.collect()


def _end_batch(world: World) -> None:
    if world.batch is not None:
        world.batch.discard()


def _raise(_world: World) -> None:
    raise OwnError


def _fork(world: World) -> None:
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        world.store.close()
        del world
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the child hung or failed"


ACTS: tuple[Callable[[World], None], ...] = (
    _free, _replace, _change, _resize_buffer, _close, _reenter, _end_batch, _raise, _fork,
    _elsewhere(_reenter), _maintain, _elsewhere(_maintain), _close_elsewhere, _collect,
)  # fmt: skip


class Index:
    """An int whose `__index__` acts."""

    def __init__(self, act: Callable[[], None], value: int) -> None:
        self.act, self.value = act, value

    def __index__(self) -> int:
        self.act()
        return self.value


class Items:
    """An iterable that acts at its beginning, its middle or its end, with a length or without."""

    def __init__(self, act: Callable[[], None], items: list[Any], at: int) -> None:
        self.act, self.items, self.at = act, items, at

    def __iter__(self) -> Iterator[Any]:
        for place, item in enumerate(self.items):
            if place == self.at:
                self.act()
            yield item
        if self.at == len(self.items):
            self.act()


class Array:
    """Claims to be an array, and acts when asked for it."""

    def __init__(self, act: Callable[[], None], array: Any) -> None:
        self.act, self.array = act, array

    def __array__(self, *_: Any, **__: Any) -> Any:
        self.act()
        return self.array


class Dying:
    """Acts when it is collected."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.act = act

    def __del__(self) -> None:
        with suppress(Exception):
            self.act()


def _finalised(act: Callable[[], None], items: list[Any]) -> Iterator[Any]:
    """Make items while the last reference to something that acts goes away in a cycle, by collection."""
    for place, item in enumerate(items):
        if place == len(items) // 2:
            dying = Dying(act)
            dying.cycle = dying  # type: ignore[attr-defined]
            del dying
            gc.collect()
        yield item


def _keys(world: World, act: Callable[[], None]) -> Iterator[Any]:
    numbers = list(range(COUNT))
    yield from (Items(act, numbers, at) for at in (0, COUNT // 2, COUNT))
    yield [*numbers[:-1], Index(act, COUNT - 1)]
    yield (Index(act, 0), *numbers[1:])
    yield np.array([Index(act, 0), *numbers[1:]], object)
    yield Array(act, world.keys)
    yield _finalised(act, numbers)


def _values(world: World, act: Callable[[], None]) -> Iterator[Any]:
    items = [b"new"] * COUNT
    yield from (Items(act, items, at) for at in (0, COUNT // 2, COUNT))
    yield Items(act, [world.buffer] * COUNT, COUNT // 2)
    yield Array(act, world.rows)
    yield _finalised(act, items)


def _numbers(world: World, act: Callable[[], None]) -> Iterator[Any]:
    numbers = list(range(COUNT))
    yield from (Items(act, numbers, at) for at in (0, COUNT // 2, COUNT))
    yield [*numbers[:-1], Index(act, COUNT - 1)]
    yield Array(act, world.numbers)


def _progress(act: Callable[[], None], when: int) -> Callable[[int, int], None]:
    calls = itertools.count()

    def tell(_done: int, _total: int) -> None:
        if next(calls) == when:
            act()

    return tell


def _store_cases(world: World, act: Callable[[], None]) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield from _many_cases(world, act)
    yield from _single_cases(world, act)


def _many_cases(world: World, act: Callable[[], None]) -> Iterator[tuple[str, Callable[[], Any]]]:  # noqa: C901 - a list
    s = world.store
    for keys in _keys(world, act):
        yield "get_many", lambda keys=keys: s.get_many(keys)
    for keys in _keys(world, act):
        yield "get_array", lambda keys=keys: s.get_array(keys, "V3", fill=bytes(3), out=None)
    for keys in _keys(world, act):
        yield "get_array out", lambda keys=keys: s.get_array(keys, "u1", 3, fill=0, out=world.out)
    for name in ("get_buffers", "contains_many", "delete_many"):
        for keys in _keys(world, act):
            yield name, lambda keys=keys, name=name: getattr(s, name)(keys)
    for name in ("put_many", "bulk_load"):
        for keys in _keys(world, act):
            yield f"{name} keys", lambda keys=keys, name=name: getattr(s, name)(keys, world.rows)
        for values in _values(world, act):
            yield f"{name} values", lambda values=values, name=name: getattr(s, name)(world.keys, values)
    for when in range(3):
        for values in (world.rows, [b"new"] * COUNT, [world.buffer] * COUNT, world.rows[::1][:COUNT]):
            yield (
                f"bulk_load progress {when}",
                lambda values=values, when=when: s.bulk_load(
                    world.keys[::-1], values, progress=_progress(act, when)
                ),
            )
    for when in range(2):
        yield "verify", lambda when=when: s.verify(_progress(act, when))
        yield "compact", lambda when=when: s.compact(_progress(act, when))
        yield "backup", lambda when=when: s.backup(world.folder / "copy", _progress(act, when))


def _single_cases(world: World, act: Callable[[], None]) -> Iterator[tuple[str, Callable[[], Any]]]:
    s = world.store
    one = Index(act, 1)
    yield "get", lambda: s.get(one)
    yield "getitem", lambda: s[one]
    yield "in", lambda: one in s
    yield "put", lambda: s.put(one, world.buffer)
    yield "setdefault", lambda: s.setdefault(Index(act, COUNT + 1), world.buffer)
    yield "put_if_absent", lambda: s.put_if_absent(Index(act, COUNT + 1), world.buffer)
    yield "compare_and_set", lambda: s.compare_and_set(one, b"old", world.buffer)
    yield "delete", lambda: s.delete(one)
    yield "pop", lambda: s.pop(one)
    yield "floor", lambda: s.floor(one)
    yield "scan", lambda: list(s.scan(one, Index(act, 90), limit=Index(act, 5)))
    yield "count", lambda: s.count(one)
    yield "delete_range", lambda: s.delete_range(one, 9)
    yield "split", lambda: s.split(Index(act, 3))
    yield "update", lambda: s.update(Items(act, [(key, b"new") for key in range(COUNT)], 9))

    def iterate(iterator: Any) -> int:
        seen = 0
        for _ in iterator:
            seen += 1
            if seen == 1:
                act()
        return seen

    yield "iterate scan", lambda: iterate(s.scan())
    yield "iterate keys", lambda: iterate(s.keys())
    yield "iterate batches", lambda: iterate(s.scan_batches(rows=100))
    yield "default", lambda: s.get_many(range(COUNT + 5), default=Dying(act))


def _batch_cases(world: World, act: Callable[[], None]) -> Iterator[tuple[str, Callable[[], Any]]]:
    def within(use: Callable[[alexpy.WriteBatch], Any]) -> Callable[[], Any]:
        def run() -> None:
            with world.store.batch() as batch:
                world.batch = batch
                use(batch)

        return run

    for keys in _keys(world, act):
        yield "put_many keys", within(lambda b, keys=keys: b.put_many(keys, world.rows))
    for values in _values(world, act):
        yield "put_many values", within(lambda b, values=values: b.put_many(world.keys, values))
    for keys in _keys(world, act):
        yield "delete_many", within(lambda b, keys=keys: b.delete_many(keys))
    yield "put", within(lambda b: b.put(Index(act, 1), world.buffer))
    yield "delete", within(lambda b: b.delete(Index(act, 1)))


def _index_cases(world: World, act: Callable[[], None]) -> Iterator[tuple[str, Callable[[], Any]]]:
    x = world.index
    for keys in _keys(world, act):
        yield "put_many keys", lambda keys=keys: x.put_many(keys, world.numbers)
    for numbers in _numbers(world, act):
        yield "put_many values", lambda numbers=numbers: x.put_many(world.keys, numbers)
    for keys in _keys(world, act):
        yield "new keys", lambda keys=keys: alexpy.AlexIndex(keys, world.numbers).check()
    for numbers in _numbers(world, act):
        yield "new values", lambda numbers=numbers: alexpy.AlexIndex(world.keys, numbers).check()
    for name in ("contains_many", "delete_many"):
        for keys in _keys(world, act):
            yield name, lambda keys=keys, name=name: getattr(x, name)(keys)
    for keys in _keys(world, act):
        yield "get_many", lambda keys=keys: x.get_many(keys, default=Index(act, 3))
    yield "put", lambda: x.put(Index(act, 1), Index(act, 2))
    yield "scan", lambda: list(x.scan(Index(act, 1), 9))
    yield "update", lambda: x.update(Items(act, [(key, key) for key in range(COUNT)], 9))


CASES: dict[str, Callable[[World, Callable[[], None]], Iterator[tuple[str, Callable[[], Any]]]]] = {
    "store": _store_cases,
    "batch": _batch_cases,
    "index": _index_cases,
}


def _run_case(kind: str, act: Callable[[World], None], number: int, folder: Path) -> None:
    world = World(folder)
    acted = [0]

    def once() -> None:
        acted[0] += 1
        if acted[0] == 1:
            act(world)

    _, call = next(itertools.islice(CASES[kind](world, once), number, None))
    told = ""
    try:
        call()
    except OwnError:
        pass
    except CLEAR as error:
        told = str(error)
    # What the engine catches of its own panics is an AlexError.
    assert "panicked" not in told, told
    del call
    world.end()


def run(kind: str, folder: Path, stride: int) -> int:
    """Run every case with every act, or one in `stride` of them; return how many were run."""
    world = World(folder)
    names = [name for name, _ in CASES[kind](world, lambda: None)]
    world.end()
    made = 0
    for shift, act in enumerate(ACTS):
        # Each act meets each kind of call, and each call some act.
        for number, name in list(enumerate(names))[shift % stride :: stride]:
            print(f"{kind} {name} {number} {act.__name__}", flush=True)
            _run_case(kind, act, number, folder)
            made += 1
    return made


def signals(folder: Path) -> int:
    """Let a signal handler act at random moments of calls that check for signals."""
    world = World(folder)
    many = np.random.default_rng(0).integers(0, COUNT, 1 << 20)
    big = np.zeros((len(many), 3), np.uint8)
    calls: dict[str, Callable[[World], Any]] = {
        "get_many": lambda w: w.store.get_many(many),
        "get_array": lambda w: w.store.get_array(many, "u1", 3, out=big),
        "contains_many": lambda w: w.store.contains_many(many),
        "get_buffers": lambda w: w.store.get_buffers(many),
        "bulk_load": lambda w: w.store.bulk_load(w.keys, w.rows),
        "scan": lambda w: sum(1 for _ in w.store.scan()),
        "verify": lambda w: w.store.verify(),
        "index": lambda w: w.index.get_many(many),
    }
    acts = (
        _free, _replace, _change, _close, _reenter, _raise, lambda _: big.resize((0, 0), refcheck=False),
        _elsewhere(_reenter), _maintain, _elsewhere(_maintain), _close_elsewhere, _collect,
    )  # fmt: skip
    count = 0
    for act in acts:
        for name, call in calls.items():
            print(f"signals {name} {act.__name__}", flush=True)
            world = World(folder)
            big = np.zeros((len(many), 3), np.uint8)

            def handler(_number: int, _frame: Any, act: Any = act, world: World = world) -> None:
                act(world)

            signal.signal(signal.SIGALRM, handler)
            # The handler runs once, but anywhere: also while the inner block is entered or left.
            with suppress(OwnError, *CLEAR):
                with suppress(OwnError, *CLEAR):
                    signal.setitimer(signal.ITIMER_REAL, 0.0005 * (1 + count % 9))
                    call(world)
                # What is pending is handled here at the latest.
                signal.setitimer(signal.ITIMER_REAL, 0)
                list(range(100))
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            world.end()
            count += 1
    return count


def threads(folder: Path) -> int:
    """Change keys, offsets and values while calls read them: no false damage, no panic."""
    world = World(folder)
    stop = threading.Event()

    def scramble() -> None:
        rng = np.random.default_rng(1)
        while not stop.is_set():
            world.keys[rng.integers(0, COUNT)] = rng.integers(0, COUNT)
            world.rows[rng.integers(0, COUNT)] = ord("n")

    beside = threading.Thread(target=scramble)
    beside.start()
    rounds = 60
    for number in range(rounds):
        print(f"threads {number}", flush=True)
        world.store.get_many(world.keys)
        world.store.get_array(world.keys, "V3")
        world.store.get_buffers(world.keys)
        world.store.put_many(world.keys, world.rows)
        world.store.bulk_load(world.keys, world.rows)
        world.store.get_array(world.keys, "V3")
        with world.store.batch() as batch:
            batch.put_many(world.keys, world.rows)
        world.index.put_many(world.keys, world.numbers)
    stop.set()
    beside.join()
    world.end()
    return rounds


def main() -> None:
    """Run one part."""
    kind, folder, stride = sys.argv[1], Path(sys.argv[2]) / "world", int(sys.argv[3])
    faulthandler.dump_traceback_later(280, exit=True)
    others = {"signals": signals, "threads": threads}
    count = others[kind](folder) if kind in others else run(kind, folder, stride)
    print(f"done: {count} cases", flush=True)


if __name__ == "__main__":
    main()

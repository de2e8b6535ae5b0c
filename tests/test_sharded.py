"""`ShardedStore`: many stores read as one, and the manifests that say which."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import re
import shutil
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from alexpy import ShardedStore, _shards
from alexpy._mapping import same
from forked import outcome_in_fork

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS = ["int64", "uint64", "datetime64[ms]", "uuid"]
CODECS = {
    "none": (None, lambda number: b"%d" % number * (number % 7)),
    "text": (alexpy.codecs.text, lambda number: f"<{number}>" * (number % 5)),
    "rows": (alexpy.codecs.numpy(np.int32, 3), lambda number: np.array([number, -number, 7], np.int32)),
}


def key_of(number: int, kind: str) -> Any:
    """Return key `number` of -40 to 40, with others between them, so that the order is that of numbers."""
    if kind == "int64":
        return number * 10
    if kind == "uint64":
        return 2**63 + number * 10
    if kind == "uuid":
        # Many share their high word, and many end with NULs.
        return alexpy._kinds.uuid_of((number + 50 << 66) // 7 & ~0xFF)
    return np.datetime64(number * 10, "ms")


class Pair:
    """The same items in one store and in shards."""

    def __init__(self, folder: Path, kind: str, codec: str, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.kind, self.random = kind, random
        codec_object, value = CODECS[codec]
        count = int(random.integers(0, 5))
        bounds = sorted({int(number) for number in random.integers(-40, 40, count)})
        numbers = [int(number) for number in random.integers(-40, 40, int(random.choice([0, 1, 5, 60])))]
        self.whole = alexpy.open(folder / "whole", key=kind, codec=codec_object)
        self.paths = ShardedStore.create(
            folder / "shards", [key_of(bound, kind) for bound in bounds], key=kind, codec=codec_object
        )
        self.codec = codec_object
        for place, path in enumerate(self.paths):
            with alexpy.open(path) as shard:
                low = bounds[place - 1] if place else -1000
                high = bounds[place] if place < len(bounds) else 1000
                some = {
                    key_of(number, kind): value(abs(number)) for number in numbers if low <= number < high
                }
                shard.update(some)
                self.whole.update(some)
        self.sharded: ShardedStore[Any, Any] = ShardedStore.open(folder / "shards")

    def some_key(self) -> Any:
        return key_of(int(self.random.integers(-45, 45)), self.kind)

    def ends(self) -> list[Any]:
        return [None if self.random.random() < 0.3 else self.some_key() for _ in range(2)]

    def close(self) -> None:
        self.whole.close()
        self.sharded.close()


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, alexpy.ValueBuffers) and isinstance(other, alexpy.ValueBuffers):
        return equal(list(one), list(other)) and equal(one.found, other.found) and equal(one.data, other.data)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.dtype.kind == "M":
        # NaT equals itself here.
        return one.dtype == other.dtype and same(one.view(np.int64), other.view(np.int64))
    return (one is None) == (other is None) and same(one, other)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_call_that_reads_answers_as_one_store_would(tmp_path: Path, kind: str, codec: str) -> None:
    for seed in range(8):
        (tmp_path / str(seed)).mkdir()
        pair = Pair(tmp_path / str(seed), kind, codec, seed)
        whole, sharded, random = pair.whole, pair.sharded, pair.random
        asked: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
            (name, (), {}) for name in ("first", "last", "keys_array", "count")
        ]
        asked += [("split", (parts,), {}) for parts in (1, 2, 3, 7, 100)]
        for _ in range(25):
            key = pair.some_key()
            asked += [(name, (key,), {}) for name in ("get", "__contains__", "rank")]
            asked += [(name, (key,), {}) for name in ("floor", "lower", "ceiling", "higher")]
            many = [pair.some_key() for _ in range(int(random.choice([0, 1, 3, 40])))]
            asked += [(name, (many,), {}) for name in ("get_many", "get_buffers", "contains_many")]
            asked += [(name, (many,), {}) for name in ("floor_many", "ceiling_many")]
            ends = pair.ends()
            asked += [(name, tuple(ends), {}) for name in ("count", "keys_array")]
            options = {
                "include_start": bool(random.integers(2)),
                "include_stop": bool(random.integers(2)),
                "reverse": bool(random.integers(2)),
                "limit": None if random.integers(2) else int(random.integers(0, 30)),
            }
            asked += [(name, tuple(ends), options) for name in ("scan", "scan_keys", "scan_values")]
        for name, arguments, options in asked:
            outcomes = []
            for store in (whole, sharded):
                try:
                    outcome = getattr(store, name)(*arguments, **options)
                    outcomes.append(list(outcome) if name.startswith("scan") else outcome)
                except (KeyError, ValueError, TypeError) as error:
                    outcomes.append((type(error).__name__, str(error)))
            assert equal(*outcomes), (seed, name, arguments, options, outcomes)
        assert len(whole) == len(sharded)
        assert equal(list(whole.items()), list(sharded.items()))
        assert list(reversed(whole)) == list(reversed(sharded))
        for place in range(-len(whole), len(whole)):
            assert equal(whole.nth(place), sharded.nth(place))
        for place in (len(whole), -len(whole) - 1):
            with pytest.raises(IndexError):
                sharded.nth(place)
        sample = sharded.sample(len(whole) // 2, seed=seed)
        assert sample.dtype == whole.keys_array().dtype
        assert (sample == whole.sample(len(whole) // 2, seed=seed)).all()
        for rows in (1, 3, 1000):
            start, stop = pair.ends()
            options = {"reverse": bool(random.integers(2)), "limit": None if random.integers(2) else 9}
            batches = list(sharded.scan_batches(start, stop, rows=rows, **options))
            assert all(0 < len(batch) <= rows for batch in batches)
            items = [item for batch in batches for item in batch]
            assert equal(
                items, [item for batch in whole.scan_batches(start, stop, **options) for item in batch]
            )
        pair.close()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_equals_whatever_mapping_has_the_same_items(tmp_path: Path, kind: str, codec: str) -> None:
    pair = Pair(tmp_path, kind, codec, 7)
    with pair.whole as whole, pair.sharded as sharded, pickle.loads(pickle.dumps(sharded)) as again:
        assert len(whole) > 1
        for other in (whole, dict(whole), again):
            assert sharded == other
            assert other == sharded
        changed = dict(whole)
        key = next(reversed(changed))
        changed[key] = next(value for value in changed.values() if not same(value, changed[key]))
        assert sharded != changed
        assert sharded != {}
        assert sharded != "text"
        whole[key] = changed[key]
        assert sharded != whole
        assert whole != sharded
    with pytest.raises(TypeError, match="unhashable"):
        hash(sharded)


def test_rows_of_many_shards_go_into_one_array_also_one_of_the_callers(tmp_path: Path) -> None:
    rows = np.arange(300, dtype=np.float32).reshape(100, 3)
    for path, part in zip(
        ShardedStore.create(tmp_path / "s", [30, 60]), ((0, 30), (30, 60), (60, 100)), strict=True
    ):
        with alexpy.open(path) as shard:
            shard.put_many(range(*part), rows[slice(*part)])
    with ShardedStore.open(tmp_path / "s") as store:
        order = np.random.default_rng(1).permutation(100)
        assert (store.get_array(order, np.float32, 3) == rows[order]).all()
        out = np.empty((100, 3), np.float32)
        assert store.get_array(order, np.float32, 3, out=out) is out
        assert (out == rows[order]).all()
        filled = store.get_array([5, 777, 70], np.float32, 3, fill=-1)
        assert filled.tolist() == [rows[5].tolist(), [-1] * 3, rows[70].tolist()]
        with pytest.raises(KeyError, match="777"):
            store.get_array([5, 777, 70], np.float32, 3)
        with pytest.raises(ValueError, match="out has 100 rows for 2 keys"):
            store.get_array([5, 70], np.float32, 3, out=out)
        with pytest.raises(TypeError, match="dtype is None"):
            store.get_array([5, 70])
        with pytest.raises(ValueError, match="has 12 bytes"):
            store.get_array([5, 70], np.float64)


@pytest.mark.parametrize("wrong", ["a", 1.5, slice(1, 2), 2**70, b"1"])
@pytest.mark.parametrize("call", ["get", "floor", "rank", "__getitem__", "__contains__", "get_many"])
def test_what_is_no_key_is_refused_as_a_store_refuses_it(tmp_path: Path, call: str, wrong: Any) -> None:
    ShardedStore.create(tmp_path / "s", [10])
    told = []
    with ShardedStore.open(tmp_path / "s") as store, alexpy.open(tmp_path / "one") as one:
        for asked in (store, one):
            with pytest.raises((TypeError, OverflowError)) as caught:
                getattr(asked, call)(wrong)
            told.append((caught.type, str(caught.value)))
    assert told[0] == told[1]


@pytest.mark.parametrize("call", ["count", "scan", "scan_keys", "keys_array", "scan_batches"])
def test_a_range_may_end_at_what_is_no_key_as_in_a_store(tmp_path: Path, call: str) -> None:
    moments = [np.datetime64(second, "s") for second in (5, 10, 15)]
    ends = [
        *moments,
        None,
        np.datetime64(9_500, "ms"),
        np.datetime64(10_500, "ms"),
        np.datetime64(-(10**15), "Y"),
        np.datetime64(10**15, "Y"),
    ]
    paths = ShardedStore.create(tmp_path / "s", [moments[1]], key="datetime64[s]")
    for path, part in zip(paths, (moments[:1], moments[1:]), strict=True):
        with alexpy.open(path) as shard:
            shard.put_many(part, [b"x"] * len(part))
    with (
        ShardedStore.open(tmp_path / "s") as store,
        alexpy.open(tmp_path / "one", key="datetime64[s]") as one,
    ):
        one.put_many(moments, [b"x"] * 3)

        def told(asked: Any, start: Any, stop: Any) -> Any:
            found = getattr(asked, call)(start, stop)
            if call == "scan_batches":
                return [item for batch in found for item in batch]
            return found if call == "count" else list(found)

        for start in ends:
            for stop in ends:
                assert told(store, start, stop) == told(one, start, stop), (start, stop)


def write_shard(path: str, start: int, count: int) -> None:
    with alexpy.open(path) as shard:
        shard.put_many(range(start, start + count), [b"%d" % key for key in range(start, start + count)])


@pytest.mark.slow
def test_several_processes_write_a_shard_each_at_once_and_a_reader_follows(tmp_path: Path) -> None:
    paths = ShardedStore.create(tmp_path / "s", [1000, 2000, 3000])
    with ShardedStore.open(tmp_path / "s") as store:
        assert len(store) == 0
        jobs = [(str(path), place * 1000, 1000) for place, path in enumerate(paths)]
        with multiprocessing.get_context("spawn").Pool(4) as pool:
            pool.starmap(write_shard, jobs)
            pool.close()
            pool.join()
        assert len(store) == 0, "it shows the moment at which it was opened"
        assert store.refresh() == 1
        assert len(store) == 4000
        assert store.get_many([5, 1500, 3999, 4000]) == [b"5", b"1500", b"3999", None]


def test_a_new_epoch_is_seen_after_a_refresh_and_one_published_twice_is_fenced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    (first,) = ShardedStore.create(path, [])
    with alexpy.open(first) as shard:
        shard.update({1: b"old", 9: b"old"})
    with ShardedStore.open(path) as store:
        assert dict(store) == {1: b"old", 9: b"old"}
        for name, key in (("low", 1), ("high", 9)):
            with alexpy.open(path / name) as shard:
                shard[key] = b"new"
        layout = [("low", None, 5), ("high", 5, None)]
        ShardedStore.publish(path, layout, epoch=2)
        assert (store.epoch, store[1]) == (1, b"old")
        assert store.refresh() == 2
        assert dict(store) == {1: b"new", 9: b"new"}
        assert store.bounds == [(None, 5), (5, None)]
        for epoch in (1, 2, 4):
            with pytest.raises(
                alexpy.FencedError, match=f"epoch {epoch} of .* cannot be published: the newest is 2"
            ):
                ShardedStore.publish(path, layout, epoch=epoch)
        assert store.refresh() == 2


def test_of_many_that_publish_an_epoch_at_once_one_wins_and_the_others_are_fenced(tmp_path: Path) -> None:
    (shard,) = ShardedStore.create(tmp_path / "s", [])
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def publish() -> None:
        barrier.wait()
        try:
            ShardedStore.publish(tmp_path / "s", [(shard.name, None, None)], epoch=2)
            outcomes.append("published")
        except alexpy.FencedError:
            outcomes.append("fenced")

    threads = [threading.Thread(target=publish) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["fenced"] * 7 + ["published"]
    with ShardedStore.open(tmp_path / "s") as store:
        assert store.epoch == 2
    assert sorted(file.name for file in (tmp_path / "s").iterdir()) == [
        "SHARDS-00000001.json", "SHARDS-00000002.json", "shard-0",
    ]  # fmt: skip


def test_a_sharded_store_pickles_as_its_path_and_is_used_by_threads(tmp_path: Path) -> None:
    for place, path in enumerate(ShardedStore.create(tmp_path / "s", [100])):
        write_shard(str(path), place * 100, 100)
    with ShardedStore.open(tmp_path / "s") as store, pickle.loads(pickle.dumps(store)) as again:
        assert dict(again) == dict(store)
        assert store == again
        wrong: list[int] = []

        def read() -> None:
            expected = [b"%d" % key for key in range(200)]
            wrong.extend(1 for _ in range(50) if store.get_many(range(200)) != expected)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert [shard.path.name for shard in store.shards] == ["shard-0", "shard-1"]
        assert store.key_kind == "int64"
        assert (store.codec, store.codec_name, store.path) == (None, None, tmp_path / "s")
        assert "epoch 1, 2 shards" in repr(store)
    with pytest.raises(alexpy.ClosedError, match="is closed"):
        store.get(1)
    assert "closed" in repr(store)


def test_a_refresh_to_another_epoch_never_changes_what_other_threads_read(tmp_path: Path) -> None:
    path = tmp_path / "s"
    (whole,) = ShardedStore.create(path, [])
    write_shard(str(whole), 0, 300)
    for name, start in (("a", 0), ("b", 100), ("c", 200)):
        write_shard(str(path / name), start, 100)
    layouts: list[Any] = [
        [("a", None, 100), ("b", 100, 200), ("c", 200, None)],
        [(whole.name, None, None)],
    ]
    expected = [b"%d" % key for key in range(300)]
    wrong: list[Any] = []
    done = threading.Event()
    with ShardedStore.open(path) as store:

        def read() -> None:
            try:
                while not done.is_set():
                    seen = (
                        store.get_many(range(300)) == expected,
                        store[250] == b"250",
                        store.floor(1_000) == (299, b"299"),
                        store.nth(150) == (150, b"150"),
                        store.rank(200) == 200,
                        list(store.floor_many([150])[1]) == [b"150"],
                        len(store) == 300,
                    )
                    if not all(seen):
                        wrong.append(seen)
            except Exception as error:  # noqa: BLE001 - any of them is wrong
                wrong.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for epoch in range(2, 30):
            ShardedStore.publish(path, layouts[epoch % 2], epoch=epoch)
            assert store.refresh() == epoch
        done.set()
        for thread in threads:
            thread.join()
    assert not wrong


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_reads_on_and_leaves_the_parents_shards_alone(tmp_path: Path) -> None:
    for place, path in enumerate(ShardedStore.create(tmp_path / "s", [100])):
        write_shard(str(path), place * 100, 100)
    with ShardedStore.open(tmp_path / "s") as store:
        assert store[5] == b"5"

        def read() -> tuple[bytes, bytes, int]:
            with store:
                return store[5], store[150], len(store)

        assert outcome_in_fork(read) == repr((b"5", b"150", 200))
        assert (store[6], store[151], len(store)) == (b"6", b"151", 200)


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        (
            [("a", None, 5), ("b", 6, None)],
            "no shard has the keys from 5 to 6: a ends there and b begins here",
        ),
        ([("a", None, 6), ("b", 5, None)], "a and b both have the keys from 5"),
        ([("a", None, None), ("b", 5, None)], "a and b overlap: a bound is missing"),
        ([("a", 0, 5), ("b", 5, None)], "the first shard must begin, and the last one end, without a bound"),
        ([("a", None, 5), ("b", 5, 9)], "the first shard must begin, and the last one end, without a bound"),
        ([("a", None, 5), ("b", 5, 5), ("c", 5, None)], "b ends at 5, where it begins, or before"),
        ([("a", None, 5), ("a", 5, None)], "a is named twice"),
        ([], "there are no shards"),
    ],
)
def test_shards_that_overlap_or_leave_gaps_are_not_published(
    tmp_path: Path, shards: Any, message: str
) -> None:
    for name in "abc":
        alexpy.open(tmp_path / name).close()
    with pytest.raises(alexpy.FormatError, match=message):
        ShardedStore.publish(tmp_path, shards, epoch=1)
    assert not list(tmp_path.glob("SHARDS*"))


def test_what_cannot_be_published_is_named_and_nothing_is(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "a") as shard:
        shard[7] = b"seven"
    alexpy.open(tmp_path / "b", key="uuid").close()
    with pytest.raises(
        alexpy.FormatError, match=r"holds the key 7, which is outside of its range .* from None to 7"
    ):
        ShardedStore.publish(tmp_path, [("a", None, 7), ("c", 7, None)], epoch=1)
    with pytest.raises(FileNotFoundError, match="the shard c is not in "):
        ShardedStore.publish(tmp_path, [("a", None, 8), ("c", 8, None)], epoch=1)
    with pytest.raises(alexpy.FormatError, match="a and b differ in their kind of keys, or in their codec"):
        ShardedStore.publish(tmp_path, [("a", None, 8), ("b", 8, None)], epoch=1)
    with pytest.raises(TypeError, match="a bound of a is a str"):
        ShardedStore.publish(tmp_path, [("a", None, "x")], epoch=1)
    alexpy.open(tmp_path / "out").close()
    (tmp_path / "in").mkdir()
    with pytest.raises(
        alexpy.FormatError, match=r"'\.\./out' is not the name of a directory beside the manifest"
    ):
        ShardedStore.publish(tmp_path / "in", [("../out", None, None)], epoch=1)
    assert not list(tmp_path.rglob("SHARDS*"))


def test_what_cannot_be_made_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bounds must ascend"):
        ShardedStore.create(tmp_path / "s", [5, 5])
    with pytest.raises(TypeError, match=r"bounds\[1\] is a str"):
        ShardedStore.create(tmp_path / "s", [5, "x"])
    with pytest.raises(TypeError, match=r"bounds\[0\] is None"):
        ShardedStore.create(tmp_path / "s", [None])
    with pytest.raises(OverflowError, match="outside int64"):
        ShardedStore.create(tmp_path / "s", [2**63])
    with pytest.raises(FileNotFoundError):
        ShardedStore.create(tmp_path / "none" / "s", [5])
    with pytest.raises(TypeError, match="codec"):
        ShardedStore.create(tmp_path / "s", [5], codec=object())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"key must be one of int64, .*, not 'int32'"):
        ShardedStore.create(tmp_path / "s", [5], key="int32")
    for bounds in (5, None, "12", {1, 2}, {1: 2}):
        with pytest.raises(TypeError, match=r"bounds is .*; give a list of keys"):
            ShardedStore.create(tmp_path / "s", bounds)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    assert len(ShardedStore.create(tmp_path / "iterated", iter([1, 2]))) == 3
    ShardedStore.create(tmp_path / "none" / "s", [5], parents=True)
    with pytest.raises(FileExistsError):
        ShardedStore.create(tmp_path / "none" / "s", [5])


def test_what_is_no_sharded_store_or_lacks_a_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no sharded store at"):
        ShardedStore.open(tmp_path / "none")
    alexpy.open(tmp_path / "store").close()
    with pytest.raises(
        FileNotFoundError, match=r"no manifest of shards is there; alexpy\.open opens a store"
    ):
        ShardedStore.open(tmp_path / "store")
    paths = ShardedStore.create(tmp_path / "s", [5])
    shutil.rmtree(paths[1])
    with pytest.raises(FileNotFoundError, match="shard-1 is missing, which epoch 1 names as a shard"):
        ShardedStore.open(tmp_path / "s")
    paths[1].mkdir()
    with ShardedStore.open(tmp_path / "s") as store:
        assert store.get(1) is None
        with pytest.raises(FileNotFoundError, match="shard-1, which epoch 1 names as a shard, is no store"):
            store.get(7)


def test_a_shard_that_was_replaced_or_filled_with_keys_of_another_is_refused(tmp_path: Path) -> None:
    paths = ShardedStore.create(tmp_path / "s", [5])
    with alexpy.open(paths[0]) as shard:
        shard[7] = b"seven"
    with (
        ShardedStore.open(tmp_path / "s") as store,
        pytest.raises(
            alexpy.FormatError,
            match=r"holds the key 7, which is outside of its range as a shard, from None to 5",
        ),
    ):
        store.get(1)
    shutil.rmtree(paths[0])
    alexpy.open(paths[0], key="uint64").close()
    with (
        ShardedStore.open(tmp_path / "s") as store,
        pytest.raises(alexpy.FormatError, match=r"has keys of uint64 .* another store was published"),
    ):
        store.get(1)


@pytest.mark.parametrize("change", ["bound", "checksum", "text", "empty", "bit", "list", "deep"])
def test_a_damaged_manifest_is_never_believed(tmp_path: Path, change: str) -> None:
    ShardedStore.create(tmp_path / "s", [5])
    file = tmp_path / "s" / _shards.name_of(1)
    body = json.loads(file.read_text())
    if change == "bound":
        body["shards"][0]["stop"] = body["shards"][1]["start"] = "6"
    elif change == "checksum":
        del body["checksum"]
    changed = json.dumps(body)
    if change in ("text", "empty"):
        changed = "no manifest" if change == "text" else ""
    changed = {"list": "[]", "deep": "[" * 100_000}.get(change, changed)
    raw = bytearray(changed.encode())
    if change == "bit":
        raw[raw.index(b"shard-0")] ^= 1
    file.write_bytes(raw)
    with pytest.raises(alexpy.CorruptionError, match="is damaged"):
        ShardedStore.open(tmp_path / "s")


def forge(path: Path, **changes: Any) -> None:
    """Change the manifest of the first epoch, with the right checksum."""
    file = path / _shards.name_of(1)
    body = json.loads(file.read_text()) | changes
    del body["checksum"]
    file.write_text(json.dumps({**body, "checksum": _shards._checksum(body)}))


@pytest.mark.parametrize(
    ("key", "bound"),
    [
        ("int64", 2**63),
        ("int64", -(2**63) - 1),
        ("uint64", -1),
        ("uint64", 2**64),
        ("uuid", -1),
        ("uuid", 2**128),
        ("datetime64[ns]", -(2**63)),
        ("datetime64[ns]", 2**63),
        ("int64", "9" * 5000),
        ("int64", 1.5),
        ("int64", True),
        ("int64", "1_0"),
    ],
)
def test_a_bound_that_no_key_can_be_is_refused(tmp_path: Path, key: str, bound: Any) -> None:
    ShardedStore.create(tmp_path / "s", [], key=key)
    text = str(bound) if type(bound) is int else bound
    shards = [("a", None, text), ("b", text, None)]
    forge(
        tmp_path / "s", shards=[dict(zip(("directory", "start", "stop"), one, strict=True)) for one in shards]
    )
    with pytest.raises(alexpy.FormatError, match="bound") as caught:
        ShardedStore.open(tmp_path / "s")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("what", ["pipe", "directory", "device", "giant"])
def test_a_manifest_that_is_no_small_file_is_refused(tmp_path: Path, what: str) -> None:
    ShardedStore.create(tmp_path / "s", [5])
    file = tmp_path / "s" / _shards.name_of(1)
    file.unlink()
    if what == "pipe":
        os.mkfifo(file)
    elif what == "directory":
        file.mkdir()
    elif what == "device":
        file.symlink_to("/dev/zero")
    else:
        file.touch()
        os.truncate(file, 1 << 40)
    told = (
        "bytes, and is none of alexpy's" if what == "giant" else f"is a.* {what}.*, where alexpy has a file"
    )
    with pytest.raises(alexpy.FormatError, match=told):
        ShardedStore.open(tmp_path / "s")


def test_a_manifest_of_another_format_or_epoch_is_refused(tmp_path: Path) -> None:
    ShardedStore.create(tmp_path / "s", [5])
    file = tmp_path / "s" / _shards.name_of(1)
    shutil.copy(file, tmp_path / "s" / _shards.name_of(2))
    with pytest.raises(alexpy.FormatError, match="holds epoch 1; it was renamed, or copied from elsewhere"):
        ShardedStore.open(tmp_path / "s")
    body = json.loads(file.read_text())
    del body["checksum"]
    body |= {"format": 2, "epoch": 2}
    (tmp_path / "s" / _shards.name_of(2)).write_text(
        json.dumps({**body, "checksum": _shards._checksum(body)})
    )
    with pytest.raises(alexpy.FormatError, match="has format 2; this version of alexpy reads 1"):
        ShardedStore.open(tmp_path / "s")


def test_a_range_opens_only_the_shards_that_it_touches(tmp_path: Path) -> None:
    ShardedStore.create(tmp_path / "s", range(10, 100, 10))
    for place in range(10):
        with alexpy.open(tmp_path / "s" / f"shard-{place}") as shard:
            shard[place * 10 + 5] = b"five"

    def opened(work: Callable[[ShardedStore[int, bytes]], object]) -> list[int]:
        with ShardedStore.open(tmp_path / "s") as store:
            work(store)
            return [place for place, one in enumerate(store._epoch._stores) if one is not None]

    # The first one tells wrong bounds, and always is opened.
    assert opened(lambda store: list(store.scan(35, 45))) == [0, 3, 4]
    assert opened(lambda store: [list(batch) for batch in store.scan_batches(40, 50)]) == [0, 4, 5]
    assert opened(lambda store: store.keys_array(95)) == [0, 9]
    assert opened(lambda store: store.count(None, 15)) == [0, 1]
    assert opened(lambda store: list(store.scan_keys(70, 20))) == [0, 7]
    with ShardedStore.open(tmp_path / "s") as store:
        assert list(store.scan_keys(25, 55, include_start=False, include_stop=True)) == [35, 45, 55]
        assert list(store.scan_keys(25, 50, include_stop=True)) == [25, 35, 45]


@pytest.mark.parametrize("read_only", [True, False])
def test_opened_as_a_store_it_says_how_to_open_it(tmp_path: Path, read_only: bool) -> None:
    ShardedStore.create(tmp_path / "s", [5])
    before = sorted((tmp_path / "s").rglob("*"))
    with pytest.raises(alexpy.FormatError, match=r"is a sharded store: alexpy\.ShardedStore\.open reads it"):
        alexpy.open(tmp_path / "s", read_only=read_only)
    assert sorted((tmp_path / "s").rglob("*")) == before


def test_values_of_several_parts_in_one_are_refused_where_there_is_none() -> None:
    with pytest.raises(IndexError, match="no such part or value"):
        alexpy.ValueBuffers._joined([], [0], [0])


@pytest.mark.parametrize(
    ("shards", "error", "told"),
    [
        ([("west", None)], ValueError, "shards[0] is ('west', None); give (directory, start, stop)"),
        ([("a", None, 5), ("b", 5, None, 7)], ValueError, "shards[1] is ('b', 5, None, 7); give"),
        (["abc"], TypeError, "shards[0] is 'abc'; give (directory, start, stop)"),
        ([7], TypeError, "shards[0] is 7; give (directory, start, stop)"),
        ([(7, None, None)], TypeError, "shards[0] is (7, None, None); give (directory, start, stop), the"),
        ("abc", TypeError, "shards is 'abc'; give a list of (directory, start, stop)"),
        ({"west": None}, TypeError, "shards is {'west': None}; give a list of"),
        (None, TypeError, "shards is None; give a list of"),
    ],
)
def test_what_are_no_shards_is_refused_by_what_they_should_be(
    tmp_path: Path, shards: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=re.escape(told)):
        ShardedStore.publish(tmp_path, shards, epoch=1)
    assert not list(tmp_path.iterdir())

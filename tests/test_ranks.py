"""Ranks: `rank`, `nth` and `sample`, now, in snapshots, of readers, and of an index."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sortedcontainers import SortedDict

import alexpy

if TYPE_CHECKING:
    from pathlib import Path


def assert_ranks(reads: Any, expected: list[int], rng: random.Random) -> None:
    """`rank` and `nth` of `reads` are the places in `expected`, the keys in order."""
    places = [rng.randrange(len(expected)) for _ in range(20)] + [0, len(expected) - 1] if expected else []
    for place in places:
        key = expected[place]
        assert reads.nth(place)[0] == reads.nth(place - len(expected))[0] == key
        assert reads.rank(key) == place
        assert reads.rank(key + 1) == place + 1
    for place in (len(expected), -len(expected) - 1, 2**63 - 1, -(2**63), 2**80, -(2**80)):
        with pytest.raises(IndexError, match="nth"):
            reads.nth(place)
    assert (reads.rank(-(2**63)), reads.rank(2**63 - 1)) == (0, len(expected))


def change(rng: random.Random, store: alexpy.Store, now: SortedDict) -> None:
    """Change the store and the model in one of several ways."""
    first = rng.randrange(-50_000, 50_000)
    match rng.randrange(6):
        case 0:
            many = {first + place * rng.choice([1, 3]): b"%d" % place for place in range(2000)}
        case 1:
            many = {rng.randrange(-50_000, 50_000): b"any" for _ in range(1500)}
        case 2:
            many = {first: b"one"}
        case 3:
            many = {}
            gone = list(now.irange(first, first + 3000))
            assert store.delete_range(first, first + 3001) == len(gone)
            for key in gone:
                del now[key]
        case 4:
            many = {}
            gone = [key for key in now if rng.randrange(4) == 0]
            assert store.delete_many(gone) == len(gone)
            for key in gone:
                del now[key]
        case _:
            many = {}
            rng.choice([store.checkpoint, store.compact])()
    store.update(many)
    now.update(many)


@pytest.mark.parametrize("seed", range(4))
def test_ranks_are_those_of_a_sorted_dict_now_in_snapshots_and_of_readers(
    store_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    with alexpy.open(store_path, background=seed % 2 == 0, segment_bytes=1 << 18) as store:
        now, kept = SortedDict(), []
        for step in range(24):
            change(rng, store, now)
            assert_ranks(store, list(now), rng)
            if step % 6 == 2:
                kept.append((store.snapshot(), list(now)))
            for snapshot, then in kept:
                assert_ranks(snapshot, then, rng)
                size = min(len(then), 50)
                assert set(snapshot.sample(size, seed=step).tolist()) <= set(then)
        # What a reader finds behind an image it keeps apart until a call needs it whole.
        with alexpy.open(store_path, read_only=True) as reader:
            assert_ranks(reader, list(now), rng)
            change(rng, store, now)
            reader.refresh()
            assert_ranks(reader, list(now), rng)


def test_nth_returns_the_value_too(store: alexpy.Store) -> None:
    store.update({10: b"a", 20: b"b"})
    with store.snapshot() as snapshot:
        store[20] = b"c"
        assert (store.nth(1), store.nth(-2), snapshot.nth(1), snapshot.nth(-1)) == (
            (20, b"c"),
            (10, b"a"),
            (20, b"b"),
            (20, b"b"),
        )


@pytest.mark.parametrize("wrong", [1.0, "1", None, np.float64(2)])
def test_what_is_no_place_or_key_is_refused(store: alexpy.Store, wrong: Any) -> None:
    for mapping in (store, alexpy.AlexIndex()):
        for call in (mapping.nth, mapping.rank):
            with pytest.raises(TypeError):
                call(wrong)
    with pytest.raises(TypeError):
        store.sample(wrong)


def test_ranks_of_a_closed_store_are_refused(store: alexpy.Store) -> None:
    store[1] = b""
    snapshot = store.snapshot()
    store.close()
    for reads in (store, snapshot):
        for call in (lambda it: it.rank(1), lambda it: it.nth(0), lambda it: it.sample(1)):
            with pytest.raises(alexpy.ClosedError):
                call(reads)


def test_the_ends_of_int64_have_ranks(store: alexpy.Store) -> None:
    ends = [-(2**63), -1, 2**63 - 1]
    index = alexpy.AlexIndex(ends)
    store.update(dict.fromkeys(ends, b""))
    for mapping in (store, index):
        assert [mapping.rank(key) for key in ends] == [0, 1, 2]
        assert [mapping.nth(place)[0] for place in range(-3, 3)] == ends * 2
        with pytest.raises(OverflowError):
            mapping.rank(2**63)


def test_an_index_has_ranks_while_it_changes() -> None:
    rng = random.Random(9)
    index, now = alexpy.AlexIndex(), SortedDict()
    for _ in range(40):
        keys = [rng.randrange(-(10**6), 10**6) for _ in range(rng.choice([1, 50, 3000]))]
        if rng.randrange(3) == 0:
            gone = [key for key in now if rng.randrange(3) == 0]
            index.delete_many(gone)
            for key in gone:
                del now[key]
        elif len(keys) == 1:
            index[keys[0]] = now[keys[0]] = 5
        else:
            index.put_many(keys, range(len(keys)))
            now.update({key: place for place, key in enumerate(keys)})
        assert_ranks(index, list(now), rng)
        index.check()


# ---- sample ----


def test_a_sample_has_different_keys_and_the_same_seed_draws_the_same(store: alexpy.Store) -> None:
    store.put_many(range(0, 50_000, 5), [b""] * 10_000)
    keys = store.sample(1000, seed=4)
    assert keys.dtype == np.int64
    assert len(set(keys.tolist())) == 1000
    assert not np.array_equal(keys, np.sort(keys))
    assert (keys % 5 == 0).all()
    assert np.array_equal(keys, store.sample(1000, seed=4))
    assert not np.array_equal(keys, store.sample(1000, seed=5))
    assert not np.array_equal(store.sample(1000), store.sample(1000))
    assert np.array_equal(store.sample(5, 1), store.sample(5, np.random.default_rng(1)))
    assert sorted(store.sample(10_000).tolist()) == list(range(0, 50_000, 5))


def test_every_key_has_the_same_chance(store: alexpy.Store) -> None:
    store.put_many(range(20), [b""] * 20)
    drawn = np.concatenate([store.sample(5, seed=seed) for seed in range(2000)])
    # 500 of each are expected, and the standard deviation is 19.
    assert np.abs(np.bincount(drawn, minlength=20) - 500).max() < 100


def test_a_sample_of_more_than_there_is_or_of_less_than_none_is_refused(store: alexpy.Store) -> None:
    assert store.sample(0).tolist() == []
    store[7] = b""
    assert store.sample(1).tolist() == [7]
    for n in (-1, 2, 2**70):
        with pytest.raises(ValueError, match="number of keys, 1"):
            store.sample(n)

"""`AlexIndex`: its figures, its picture, batch neighbours, and long calls that can be interrupted."""

from __future__ import annotations

import builtins
import signal
import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sortedcontainers import SortedDict

from alexpy import AlexIndex, _plot

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
int64s = st.integers(INT64_MIN, INT64_MAX)


def _distributions(count: int) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    random = np.random.default_rng(1)
    centres = random.integers(-(2**61), 2**61, 40)
    return {
        "uniform": random.integers(INT64_MIN, INT64_MAX, count),
        "lognormal": (random.lognormal(0, 2, count) * 1e9).astype(np.int64),
        "clustered": random.choice(centres, count) + random.integers(0, 4096, count),
        "sequential": np.arange(count),
        "extreme": np.array([INT64_MIN, -1, 0, INT64_MAX]),
        "one": np.array([5]),
        "none": np.array([], np.int64),
    }


# ---- figures ----


def test_figures_agree_with_each_other_and_with_the_index() -> None:
    for name, keys in _distributions(50_000).items():
        index = AlexIndex(keys)
        stats = index.stats()
        assert stats.keys == len(index) == len(np.unique(keys)), name
        assert stats.bytes == index.nbytes
        assert stats.bytes_per_key * stats.keys == pytest.approx(stats.bytes if len(index) else 0)
        assert stats.fill * stats.slots == pytest.approx(stats.keys)
        assert stats.plain_leaves <= stats.leaves
        assert 1 <= stats.mean_depth <= stats.height or not stats.keys
        assert 64 <= stats.largest_leaf <= 2**14
        leaves = index._survey()
        assert leaves["keys"].sum() == stats.keys
        assert leaves["slots"].sum() == stats.slots
        assert len(leaves["keys"]) == stats.leaves
        assert sum(stats.errors) == leaves["keys"][~leaves["plain"]].sum()
        assert leaves["max_error"].max() == stats.max_error
        assert stats.simd in {"scalar", "avx2", "avx512"}
        for place in range(min(stats.leaves, 5)):
            keys_there, slots, expected = index._leaf(place)
            assert len(keys_there) == leaves["keys"][place]
            assert np.all(np.diff(slots) > 0) or len(slots) < 2
            if len(slots) and not leaves["plain"][place]:
                assert np.abs(slots - expected).max() == leaves["max_error"][place]


def test_the_figures_in_words_name_the_shape_and_the_errors() -> None:
    index = AlexIndex(np.arange(100_000) * 3)
    text = str(index.stats())
    assert text.startswith("AlexIndex of 100,000 keys in ")
    assert "1 model node with" in text
    assert "exact" in text
    shares = [float(line.split()[1].rstrip("%")) for line in text.splitlines()[6:]]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert str(AlexIndex().stats()).startswith("AlexIndex of 0 keys")
    assert repr(index.stats()).startswith("IndexStats(keys=100000")


# ---- the picture ----


@pytest.mark.parametrize("name", _distributions(10))
@pytest.mark.slow
def test_a_plot_of_any_index_is_drawn(name: str, tmp_path: Any) -> None:
    pytest.importorskip("matplotlib")
    figure = AlexIndex(_distributions(60_000)[name]).plot()
    assert len(figure.axes) == 5
    path = tmp_path / "index.png"
    figure.savefig(path, dpi=50)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install alexpy\[plot\]"):
        _plot.draw(AlexIndex([1]))


# ---- neighbours of many keys ----


@given(st.dictionaries(int64s | st.integers(-50, 50), int64s), st.lists(int64s | st.integers(-60, 60)))
def test_batch_neighbours_are_those_of_a_sorted_dict(items: dict[int, int], keys: list[int]) -> None:
    index = AlexIndex(list(items), list(items.values()))
    model = SortedDict(items)
    floors, floor_values, floor_found = index.floor_many(keys)
    ceilings, ceiling_values, ceiling_found = index.ceiling_many(keys)
    assert floors.dtype == floor_values.dtype == np.int64
    assert floor_found.dtype == ceiling_found.dtype == np.bool_
    for at, key in enumerate(keys):
        below = next(model.irange(None, key, reverse=True), None)
        above = next(model.irange(key), None)
        assert (floors[at], floor_values[at]) == ((below, items[below]) if below is not None else (0, 0))
        assert (ceilings[at], ceiling_values[at]) == ((above, items[above]) if above is not None else (0, 0))
        assert (bool(floor_found[at]), bool(ceiling_found[at])) == (below is not None, above is not None)


def test_batch_neighbours_take_what_other_batch_calls_take() -> None:
    index = AlexIndex([10, 20, 30])
    assert index.floor_many(np.array([25, 35], np.uint16))[0].tolist() == [20, 30]
    assert index.ceiling_many(iter([5, 31]))[2].tolist() == [True, False]
    assert [array.tolist() for array in index.floor_many([])] == [[], [], []]
    with pytest.raises(TypeError, match="keys"):
        index.floor_many(np.array([1.0]))
    with pytest.raises(OverflowError):
        index.ceiling_many([2**63])


# ---- many ranges ----


@given(
    st.dictionaries(int64s | st.integers(-50, 50), int64s), st.lists(st.tuples(st.integers(-60, 60), int64s))
)
def test_many_ranges_are_those_of_a_sorted_dict(items: dict[int, int], ranges: list[tuple[int, int]]) -> None:
    index = AlexIndex(list(items), list(items.values()))
    model = SortedDict(items)
    starts, stops = [start for start, _ in ranges], [stop for _, stop in ranges]
    keys, values, offsets = index.scan_many(starts, stops)
    assert keys.dtype == values.dtype == offsets.dtype == np.int64
    assert offsets.tolist()[:1] == [0]
    assert offsets.tolist()[-1:] == [len(keys)] == [len(values)]
    for at, (start, stop) in enumerate(ranges):
        found = slice(offsets[at], offsets[at + 1])
        expected = list(model.irange(start, stop, inclusive=(True, False))) if start < stop else []
        assert keys[found].tolist() == expected
        assert values[found].tolist() == [items[key] for key in expected]


def test_many_ranges_take_what_other_batch_calls_take() -> None:
    index = AlexIndex(range(0, 100_000, 10))
    keys, values, offsets = index.scan_many(np.array([20, 0], np.uint16), iter([50, 100_000]))
    assert keys[:4].tolist() == [20, 30, 40, 0]
    assert values[:4].tolist() == [2, 3, 4, 0]
    assert offsets.tolist() == [0, 3, 10_003]
    keys[0] = 99  # its own memory
    assert 99 not in index
    assert [array.tolist() for array in index.scan_many([], [])] == [[], [], [0]]
    with pytest.raises(ValueError, match="2 starts and 1 stops"):
        index.scan_many([1, 2], [3])
    with pytest.raises(TypeError, match="stops"):
        index.scan_many([1], np.array([1.0]))
    with pytest.raises(OverflowError):
        index.scan_many([2**63], [1])


# ---- long calls ----


@pytest.fixture
def interrupt_soon() -> Any:
    """Send Ctrl-C to this process a tenth of a second from now."""

    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handler)
    yield lambda: signal.setitimer(signal.ITIMER_REAL, 0.1)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


MANY = 24_000_000


@pytest.mark.parametrize(
    "call", ["put_many", "delete_many", "get_many", "contains_many", "floor_many", "scan_many"]
)
@pytest.mark.slow
def test_ctrl_c_ends_a_long_call_and_leaves_a_whole_index(call: str, interrupt_soon: Any) -> None:
    # Spread over the key range, so that each key costs its cache misses and the call lasts for seconds.
    keys = np.arange(MANY, dtype=np.int64) * 0x5851_F42D_4C95_7F2D
    index = AlexIndex(keys[: MANY // 8])
    two = {"put_many": (keys, keys), "get_many": (keys, 0), "scan_many": (keys, keys + 1)}
    arguments = two.get(call, (keys,))
    start = time.perf_counter()
    interrupt_soon()
    with pytest.raises(KeyboardInterrupt):
        getattr(index, call)(*arguments)
    # Far from a judgement of speed: the whole call would take longer than this on any machine.
    assert time.perf_counter() - start < 60
    index.check()
    if call == "put_many":
        assert MANY // 8 <= len(index) < MANY
    index[7] = 8
    assert index[7] == 8


def test_native_int64_keys_are_read_from_read_only_and_strided_arrays() -> None:
    keys = np.arange(1_000_000, dtype=np.int64)
    keys.flags.writeable = False
    index = AlexIndex()
    assert index.put_many(keys, keys) == len(keys)
    # A view of every second key is not contiguous: it is copied, and means the same.
    assert index.get_many(keys[::2]).tolist() == list(range(0, 1_000_000, 2))
    assert index.contains_many(keys.astype(">i4")).all()

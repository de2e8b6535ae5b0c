"""Integers of every size, and other things, wherever an integer is taken: an answer, or our own words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GIVEN: list[Any] = [
    2**64, -(2**64), 2**63, -1, 0, 3, 10**5000, -(10**5000), True, 1.5, float("nan"), "1", None, b"1",
    np.int64(3), np.uint64(2**64 - 1), np.float64(2.0),
]  # fmt: skip
# What Python and its extensions say of integers of C and of Rust.
FOREIGN = re.compile(
    r"too large to convert|C (long|int)|ssize|\b[ui](8|16|32|64|128|size)\b|out of range integral|interpreted"
    r"|Exceeds the limit|can't convert|must be real|argument '|unprintable|not iterable"
)
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "nth": lambda s, i: s.nth(i),
    "split": lambda s, n: s.split(n),
    "sample": lambda s, n: s.sample(n),
    "scan": lambda s, limit: list(s.scan(limit=limit)),
    "scan_keys": lambda s, limit: list(s.scan_keys(limit=limit)),
    "scan_values": lambda s, limit: list(s.scan_values(limit=limit)),
    "scan_batches": lambda s, rows: list(s.scan_batches(rows=rows)),
    "limit of scan_batches": lambda s, limit: list(s.scan_batches(limit=limit)),
    "shape": lambda s, shape: s.get_array([], "u1", shape),
    "fill": lambda s, fill: s.get_array([99], "u1", fill=fill),
    "wait": lambda s, seq: s.wait(seq, timeout=0),
    "timeout": lambda s, timeout: s.wait(0, timeout=timeout),
    "changes": lambda s, since: list(s.changes(since)),
}


def check(call: Callable[[], Any]) -> None:
    try:
        call()
    except (
        TypeError,
        ValueError,
        OverflowError,
        IndexError,
        KeyError,
        MemoryError,
        alexpy.AlexError,
    ) as error:
        text = f"{type(error).__name__}: {error}"
        assert not FOREIGN.search(text), text
        assert "\n" not in text
        assert len(text) < 300


def method_of(name: str) -> str:
    """Return the method that a name of `CALLS` is about."""
    return {"shape": "get_array", "fill": "get_array", "timeout": "wait"}.get(
        name, name.rsplit(maxsplit=1)[-1]
    )


OWNERS = ("Store", "Snapshot", "ShardedStore", "AlexIndex")
PAIRS = [
    (owner, name) for owner in OWNERS for name in CALLS if hasattr(getattr(alexpy, owner), method_of(name))
]


@pytest.fixture
def owner(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "AlexIndex":
        return alexpy.AlexIndex({key: key for key in range(10)})
    if request.param == "ShardedStore":
        for path in alexpy.ShardedStore.create(tmp_path / "s", [5]):
            with alexpy.open(path) as shard:
                shard[5 if path.name.endswith("1") else 1] = b"1"
        return alexpy.ShardedStore.open(tmp_path / "s")
    store = alexpy.open(tmp_path / "s")
    store.put_many(range(10), [b"1"] * 10)
    return store if request.param == "Store" else store.snapshot()


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(("owner", "name"), PAIRS, indirect=["owner"])
def test_every_integer_is_taken_or_refused_in_our_own_words(owner: Any, name: str) -> None:
    for given in GIVEN:
        check(lambda given=given: CALLS[name](owner, given))


@pytest.mark.parametrize("field", alexpy.Config.__dataclass_fields__)
def test_every_option_is_taken_or_refused_in_our_own_words(field: str) -> None:
    for given in GIVEN:
        check(lambda given=given: alexpy.Config(**{field: given}))


def test_what_is_refused_says_what_is_allowed(store: alexpy.Store) -> None:
    store[1] = b"one"
    with pytest.raises(ValueError, match=r"since is 18446744073709551616; it must be from 0 to 2\*\*64-1"):
        store.changes(2**64)
    with pytest.raises(ValueError, match=r"seq is -1; it must be from 0 to 2\*\*64-1"):
        store.wait(-1)
    with pytest.raises(TypeError, match=r"timeout is '1' \(str\); give seconds as a number, or None"):
        store.wait(0, "1")  # type: ignore[arg-type]
    assert store.wait(0, 10**5000) == 1
    with pytest.raises(ValueError, match="timeout must be at least 0, not an enormous int"):
        store.wait(0, -(10**5000))
    assert [len(batch) for batch in store.scan_batches(rows=2**64)] == [1]
    with pytest.raises(ValueError, match="rows must be at least 1, not -18446744073709551616"):
        store.scan_batches(rows=-(2**64))
    with pytest.raises(IndexError, match=r"nth\(an enormous int\): there are not so many keys"):
        store.nth(10**10000)
    with pytest.raises(ValueError, match="fill is 300, which uint8 cannot hold"):
        store.get_array([2], "u1", fill=300)

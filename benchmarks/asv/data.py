"""Keys and values for all suites, made from one seed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SEED = 20130704
COUNT = 200_000
BATCH = 10_000
WIDTH = 100
KINDS = ("uniform", "sequential", "lognormal", "clustered")


def keys_of(kind: str, count: int = COUNT) -> NDArray[np.int64]:
    """Return distinct keys, in the order of writing."""
    random = np.random.default_rng(SEED)
    if kind == "sequential":
        return np.arange(count, dtype=np.int64)
    if kind == "uniform":
        drawn = random.integers(-(2**63), 2**63, count + count // 50, dtype=np.int64)
    elif kind == "lognormal":
        drawn = (random.lognormal(0, 2, count + count // 50) * 1e12).astype(np.int64)
    else:
        centres = random.integers(-(2**61), 2**61, count // 500)
        drawn = random.choice(centres, 2 * count) + random.integers(0, 4096, 2 * count)
    return random.permutation(np.unique(drawn))[:count]


def values_of(count: int = COUNT, width: int = WIDTH) -> list[bytes]:
    """Return random values of one width."""
    data = np.random.default_rng(SEED).bytes(count * width)
    return [data[at : at + width] for at in range(0, len(data), width)]


@contextlib.contextmanager
def api() -> Iterator[None]:
    """Skip a benchmark on commits that lack the call it measures."""
    try:
        yield
    except AttributeError as missing:
        raise NotImplementedError(str(missing)) from missing


def right(answer: bool) -> None:  # noqa: FBT001 - a check
    """Fail a benchmark whose answers are wrong."""
    if not answer:
        raise AssertionError("a wrong answer; the figure is void")

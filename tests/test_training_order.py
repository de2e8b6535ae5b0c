"""The order of a training set: any part of a shuffle without the whole, the same everywhere and for ever."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from alexpy import _alexpy
from alexpy._training import Order

WORD = 2**64


def mixed(bits: int) -> int:
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % WORD
    return bits ^ (bits >> 31)


def by_the_paper(place: int, n: int, seed: int, epoch: int) -> int:
    """The same order in plain Python: generalized Feistel with cycle walking (Black and Rogaway 2002)."""
    state, keys = mixed(seed) ^ epoch, []
    for _ in range(12):
        state = (state + 0x9E3779B97F4A7C15) % WORD
        keys.append(mixed(state))
    columns = math.isqrt(n - 1) + 1 if n > 1 else 1
    rows = -(-n // columns)
    while True:
        row, column = divmod(place, columns)
        for of_row, of_column in zip(keys[::2], keys[1::2], strict=True):
            column = (column + (mixed(row ^ of_row) * columns >> 64)) % columns
            row = (row + (mixed(column ^ of_column) * rows >> 64)) % rows
        place = row * columns + column
        if place < n:
            return place


def shuffled(n: int, seed: int, epoch: int) -> list[int]:
    found: list[int] = Order.of(n).shuffled(seed, epoch).positions(range(n)).tolist()
    return found


@pytest.mark.parametrize("n", [*range(1, 70), 255, 256, 257, 1_000, 10_007, 65_536, 65_537])
def test_a_shuffle_holds_everything_once(n: int) -> None:
    assert sorted(shuffled(n, seed=n, epoch=3)) == list(range(n))


@pytest.mark.parametrize("n", [1, 2, 3, 10, 97, 1_000_003, 2**40 + 1, 2**63 - 1])
def test_a_shuffle_is_that_of_the_paper_at_every_size(n: int) -> None:
    places = sorted({(n - 1) * part // 49 for part in range(50)})
    for seed, epoch in [(0, 0), (1, 0), (0, 1), (WORD - 1, WORD - 1), (12_345, 678)]:
        expected = [by_the_paper(place, n, seed, epoch) for place in places]
        assert _alexpy._shuffled(places, n, seed, epoch).tolist() == expected


def test_an_order_never_changes_from_one_version_to_the_next() -> None:
    assert shuffled(10, seed=1, epoch=0) == [2, 6, 5, 3, 7, 4, 1, 9, 8, 0]


def test_every_order_of_a_few_is_equally_likely() -> None:
    for n in (2, 3, 4, 5):
        epochs = 100 * math.factorial(n)
        seen = Counter(tuple(shuffled(n, seed=7, epoch=epoch)) for epoch in range(epochs))
        squares = sum((seen[order] - 100) ** 2 / 100 for order in permutations(range(n)))
        freedom = math.factorial(n) - 1
        # Five standard deviations of chi-squared.
        assert squares < freedom + 5 * math.sqrt(2 * freedom)


def test_neighbours_in_a_large_shuffle_are_as_far_apart_as_in_a_random_one() -> None:
    n = 100_000
    for epoch in range(5):
        order = np.array(shuffled(n, seed=3, epoch=epoch))
        steps = np.abs(np.diff(order))
        assert abs(steps.mean() / n - 1 / 3) < 0.01
        # As many stay where they are as in a random order: one, on average.
        assert (order == np.arange(n)).sum() < 8
        assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.02
    other = np.array(shuffled(n, seed=4, epoch=4))
    assert (order == other).sum() < 8


def test_parts_of_parts_in_any_order_are_those_of_a_list() -> None:
    random = np.random.default_rng(5)
    for _ in range(300):
        n = int(random.integers(0, 40))
        order, model = Order.of(n), list(range(n))
        for _ in range(int(random.integers(1, 6))):
            if random.random() < 0.3:
                seed, epoch = (int(number) for number in random.integers(0, 1000, 2))
                model = [model[place] for place in shuffled(len(model), seed, epoch)]
                order = order.shuffled(seed, epoch)
                continue
            ends = [None if random.random() < 0.3 else int(random.integers(-45, 45)) for _ in range(2)]
            part = slice(*ends, int(random.choice([-7, -2, -1, 1, 2, 3])))
            order, model = order[part], model[part]
        assert len(order) == len(model)
        assert order.positions(range(len(model))).tolist() == model
        assert order.positions(range(-len(model), 0)).tolist() == model


def test_an_epoch_can_be_left_and_taken_up_again_anywhere() -> None:
    whole = shuffled(1_000, seed=1, epoch=2)
    for done in (0, 1, 333, 999, 1_000):
        rest = Order.of(1_000).shuffled(1, 2)[done:]
        assert rest.positions(range(len(rest))).tolist() == whole[done:]


def test_an_order_of_many_takes_no_memory() -> None:
    order = Order.of(2**62).shuffled(1, 0)[5:].shuffled(2, 0)[::3]
    assert len(order) == (2**62 - 5 + 2) // 3
    assert len(set(order.positions([0, 1, 2, -1]).tolist())) == 4


@pytest.mark.parametrize(
    ("places", "error", "message"),
    [
        ([3], IndexError, "there is no sample 3: there are 3"),
        ([0, -4], IndexError, "there is no sample -4: there are 3"),
        (np.array([2**64 - 1], np.uint64), IndexError, "there is no sample 18446744073709551615"),
        ([0.5], TypeError, "integers, not float64"),
        ([[0]], TypeError, "of 2 axes"),
        (["a"], TypeError, "integers"),
    ],
)
def test_a_place_that_is_not_there_is_named(places: Any, error: type[Exception], message: str) -> None:
    for order in (Order.of(3), Order.of(9)[::3], Order.of(3).shuffled(0, 0)):
        with pytest.raises(error, match=message):
            order.positions(places)


@pytest.mark.parametrize(
    ("seed", "epoch", "error", "message"),
    [
        (-1, 0, ValueError, "seed must be from 0 to 2\\*\\*64-1, not -1"),
        (0, 2**64, ValueError, "epoch must be from 0"),
        (0.5, 0, TypeError, "float"),
    ],
)
def test_a_seed_that_is_none_is_refused(seed: Any, epoch: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Order.of(3).shuffled(seed, epoch)


def test_positions_outside_a_shuffle_are_refused_by_the_native_half() -> None:
    for place in (-1, 5, 2**62):
        with pytest.raises(IndexError, match=f"position {place} is not below 5"):
            _alexpy._shuffled([place], 5, 0, 0)
    assert _alexpy._shuffled([], 0, 0, 0).tolist() == []

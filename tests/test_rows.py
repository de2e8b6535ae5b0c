"""Values that would change as rows of an array, alone or beside others: each is refused with its key."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from alexpy import codecs

if TYPE_CHECKING:
    from pathlib import Path

    from alexpy import Codec

FAR, NOW = np.datetime64("9999-12-31"), np.datetime64("2026-01-01T00:00:00.000000001")
LONG, SHORT = np.timedelta64(200_000, "D"), np.timedelta64(1, "ns")


@pytest.mark.parametrize(
    ("codec", "values"),
    [
        (codecs.numpy("M8[ns]"), [NOW, FAR]),
        (codecs.numpy("m8[ns]"), [SHORT, LONG]),
        (codecs.numpy("M8[ns]", 2), [[NOW, NOW], [FAR, NOW]]),
        (codecs.numpy("M8[ns]", 2), [[NOW, NOW], deque([FAR, NOW])]),
        (codecs.numpy("M8[ns]", 2), [[NOW, NOW], np.array([FAR, NOW], object)]),
        (codecs.numpy("m8[ns]", (1, 2)), [[[SHORT, SHORT]], [[SHORT, LONG]]]),
        (codecs.numpy([("at", "M8[ns]", 2), ("n", "i4")]), [([NOW, NOW], 1), ([NOW, FAR], 2)]),
    ],
    ids=map(str, range(7)),
)
def test_a_date_is_not_wrapped_into_the_unit_of_its_neighbour(
    tmp_path: Path, codec: Codec[Any], values: list[Any]
) -> None:
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        store.put(1, values[0])
        for call in (lambda: store.put(2, values[1]), lambda: store.put_many([1, 2], values)):
            with pytest.raises(alexpy.CodecError, match=r"value of key 2: .* does not hold this"):
                call()
        assert list(store) == [1]


def test_dates_of_several_units_are_stored_where_all_fit(tmp_path: Path) -> None:
    day = np.datetime64("2024-02-29")
    with alexpy.open(tmp_path / "store", codec=codecs.numpy("M8[ns]", 2)) as store:
        store.put_many([1, 2], [[day, NOW], [NOW, day]])
        assert store.get_many([1, 2]).tolist() == np.array([[day, NOW], [NOW, day]], "M8[ns]").tolist()


MASKED, HALF = np.ma.masked, np.ma.masked_array([1, 2], [False, True])


@pytest.mark.parametrize(
    ("codec", "good", "masked"),
    [
        (codecs.numpy("f8"), 1.5, MASKED),
        (codecs.numpy("f8", 2), [1.5, 2.5], [MASKED, 2.5]),
        (codecs.numpy("i8", 2), [1, 2], HALF),
        (codecs.numpy("i8", (1, 2)), [[1, 2]], [HALF]),
        (codecs.numpy("i8", (1, 1, 2)), [[[1, 2]]], ([HALF],)),
        (codecs.numpy("f8", (1, 1, 1)), [[[1.5]]], [[[MASKED]]]),
        (codecs.numpy("M8[s]", 2), [NOW.astype("M8[s]")] * 2, [np.ma.masked_array(FAR, True), FAR]),
        (codecs.numpy([("a", "f8", (1, 2))]), ([[1.5, 2.5]],), ([[1.5, MASKED]],)),
        (codecs.struct("<d"), 1.5, MASKED),
        (codecs.struct("<id"), (1, 1.5), (1, MASKED)),
    ],
    ids=map(str, range(10)),
)
def test_what_a_mask_hides_is_not_stored(
    tmp_path: Path, codec: Codec[Any], good: object, masked: object
) -> None:
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        store.put(1, good)
        for call in (lambda: store.put(2, masked), lambda: store.put_many([1, 2], [good, masked])):
            with pytest.raises(alexpy.CodecError, match=r"value of key 2: .*it is masked"):
                call()
        assert list(store) == [1]


@pytest.mark.parametrize(
    ("codec", "good", "rounded"),
    [
        (codecs.numpy("f8"), 0.5, 2**53 + 1),
        (codecs.numpy("f8"), 0.5, -(2**53) - 1),
        (codecs.numpy("f8"), 0.5, np.int64(2**53 + 1)),
        (codecs.numpy("f8"), -1, 2**63 + 1),
        (codecs.numpy("f4"), 0.5, 2**24 + 1),
        (codecs.numpy("f2"), 0.5, 2**11 + 1),
        (codecs.numpy("c16"), 0.5j, 2**53 + 1),
        (codecs.numpy("f8", 2), [0.5, 0.5], [2**53 + 1, 0.5]),
        (codecs.numpy("f8", 2), [0.5, 0.5], deque([2**53 + 1, 0.5])),
        (codecs.numpy("f8", (2, 1)), [[0.5], [0.5]], [np.array([2**53 + 1]), np.array([0.5])]),
        (codecs.numpy([("a", "f8", 2)]), ([0.5, 0.5],), ([2**53 + 1, 0.5],)),
    ],
    ids=map(str, range(11)),
)
def test_an_integer_is_not_rounded_because_it_stands_beside_a_float(
    tmp_path: Path, codec: Codec[Any], good: object, rounded: object
) -> None:
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        store.put(1, good)
        for call in (lambda: store.put(2, rounded), lambda: store.put_many([1, 2], [good, rounded])):
            with pytest.raises(alexpy.CodecError, match=r"value of key 2: .* does not hold this"):
                call()
        assert list(store) == [1]


def test_large_integers_that_a_float_holds_stand_beside_floats(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "store", codec=codecs.numpy("f8", 2)) as store:
        store.put_many([1, 2], [[2**53, 0.5], [1e300, 2**62]])
        assert store.get_many([1, 2]).tolist() == [[2.0**53, 0.5], [1e300, 2.0**62]]


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (codecs.numpy("M8[s]", 2), [NOW.astype("M8[s]"), None]),
        (codecs.numpy("m8[s]", 2), np.array([None, None])),
        (codecs.numpy([("at", "M8[s]")]), (None,)),
    ],
    ids=map(str, range(3)),
)
def test_none_is_no_date(tmp_path: Path, codec: Codec[Any], value: object) -> None:
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        for call in (lambda: store.put(1, value), lambda: store.put_many([1], [value])):
            with pytest.raises(alexpy.CodecError, match=r"value of key 1: .*not None; give numpy\..*'NaT'"):
                call()
        assert len(store) == 0

"""Values of other types than bytes: what every call takes and gives in a store with a codec."""

from __future__ import annotations

import asyncio
import enum
import pickle
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sortedcontainers import SortedDict

import alexpy
import alexpy.aio
from alexpy import Codec, codecs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROW = np.dtype([("size", "<i4"), ("price", "<f8")])


def reverse(data: bytes) -> bytes:
    return bytes(data)[::-1]


OWN = Codec("reversed", reverse, reverse)

# Each codec with what it takes, as it comes back.
TAKEN: dict[str, tuple[Codec[Any], st.SearchStrategy[Any]]] = {
    "text": (codecs.text, st.text(st.characters(codec="utf-8"), max_size=20)),
    "json": (
        codecs.json,
        st.recursive(
            st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda inner: st.lists(inner | st.none()) | st.dictionaries(st.text(), inner | st.none()),
            max_leaves=5,
        ),
    ),
    "float": (codecs.numpy("f8"), st.floats(allow_nan=False)),
    "vector": (codecs.numpy(np.int16, 2), st.lists(st.integers(-(2**15), 2**15 - 1), min_size=2, max_size=2)),
    "record": (codecs.numpy(ROW), st.tuples(st.integers(-(2**31), 2**31 - 1), st.floats(allow_nan=False))),
    "struct": (
        codecs.struct("<?xi3s"),
        st.tuples(st.booleans(), st.integers(-5, 5), st.binary(min_size=3, max_size=3)),
    ),
    "number": (codecs.struct(">q"), st.integers(-(2**63), 2**63 - 1)),
    "own": (OWN, st.binary(max_size=20)),
}
KEYS = st.integers(0, 12)


def plain(value: Any) -> Any:
    """Return a value as lists, tuples and numbers of Python."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    return value


def listed(found: Any) -> list[Any]:
    return [plain(value) for value in found]


def check(store: alexpy.Store[int, Any], model: SortedDict[int, Any]) -> None:
    """Compare every call that reads with the model."""
    items = list(model.items())
    keys, values = list(model), list(model.values())
    for reads in (store, store.snapshot()):
        assert len(reads) == len(model)
        assert listed(reads.items()) == listed(reads.scan()) == items
        assert listed(reversed(reads.items())) == listed(reads.scan(reverse=True)) == items[::-1]
        assert listed(reads.values()) == listed(reads.scan_values()) == values
        assert list(reads) == keys
        assert [plain(reads[key]) for key in keys] == values
        assert listed(reads.get_many(keys)) == values
        assert plain(reads.first()) == (items[0] if items else None)
        assert plain(reads.last()) == (items[-1] if items else None)
        for key in range(-1, 14):
            at = model.bisect_right(key)
            assert plain(reads.floor(key)) == (items[at - 1] if at else None)
            assert plain(reads.higher(key)) == (items[at] if at < len(items) else None)
            assert plain(reads.get(key)) == model.get(key)
            assert (key in reads) == (key in model)
        for i, item in enumerate(items):
            assert plain(reads.nth(i)) == item
            assert (item[0], reads[item[0]]) in reads.items()
            assert reads[item[0]] in reads.values()
        assert reads == dict(reads.items())


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["put", "many", "load", "update", "batch", "default", "absent", "swap", "pop", "last", "delete"]
        ),
        KEYS,
        st.integers(0, 7),
    ),
    max_size=12,
)


def apply(  # noqa: C901 - a branch for each call
    store: alexpy.Store[int, Any], model: SortedDict[int, Any], what: str, key: int, value: Any
) -> None:
    if what == "put":
        store[key] = model[key] = value
    elif what == "many":
        assert store.put_many([key, key + 1], [value, value]) == 2
        model.update({key: value, key + 1: value})
    elif what == "load":
        store.bulk_load(iter([key]), iter([value]))
        model[key] = value
    elif what == "update":
        store |= {key: value}
        model[key] = value
    elif what == "batch":
        with store.batch() as batch:
            batch[key] = value
            batch.put_many([key + 1], [value])
        model.update({key: value, key + 1: value})
    elif what == "default":
        assert plain(store.setdefault(key, value)) == model.setdefault(key, value)
    elif what == "absent":
        assert store.put_if_absent(key, value) == (key not in model)
        model.setdefault(key, value)
    elif what == "swap":
        assert store.compare_and_set(key, store.get(key), value)
        model[key] = value
    elif what == "pop":
        assert plain(store.pop(key, None)) == model.pop(key, None)
    elif what == "last":
        if model:
            assert plain(store.popitem()) == model.popitem()
    else:
        assert store.delete(key) == (key in model)
        model.pop(key, None)


@pytest.mark.parametrize("kind", TAKEN)
@given(data=st.data())
def test_a_store_with_a_codec_is_a_sorted_dict_of_its_values(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    codec, strategy = TAKEN[kind]
    values = data.draw(st.lists(strategy, min_size=8, max_size=8))
    path = tmp_path_factory.mktemp("codec") / "store"
    model: SortedDict[int, Any] = SortedDict()
    with alexpy.open(path, codec=codec, background=False) as store:
        for what, key, number in data.draw(OPERATIONS):
            apply(store, model, what, key, values[number])
        check(store, model)
    with alexpy.open(path, codec=OWN if codec is OWN else None, background=False) as store:
        check(store, model)
        assert store.codec == codec


@pytest.fixture
def texts(store_path: Path) -> Any:
    with alexpy.open(store_path, codec=codecs.text) as opened:
        opened.put_many([1, 2], ["one", "zwei ä"])
        yield opened


def test_text_is_stored_as_utf8_and_seen_raw_where_memory_is_asked_for(texts: alexpy.Store[int, str]) -> None:
    assert texts[2] == "zwei ä"
    view = texts.get_view(2)
    assert view is not None
    assert bytes(view) == "zwei ä".encode()
    assert texts.get_buffers([2]).data.tobytes() == "zwei ä".encode()
    assert next(texts.scan_batches()).data.tobytes() == "onezwei ä".encode()
    assert texts.floor_many([9])[1].data.tobytes() == "zwei ä".encode()


def test_get_takes_any_default_as_it_is(texts: alexpy.Store[int, str]) -> None:
    default = object()
    assert texts.get(9, default) is default
    assert texts.pop(9, default) is default
    assert texts.get_many([1, 9], default) == ["one", default]
    assert texts.get_many([1, 9]) == ["one", None]
    assert texts.get_many([9], b"bytes") == [b"bytes"]


def test_changes_come_as_values(texts: alexpy.Store[int, str]) -> None:
    seq = texts.stats().last_seq
    texts[3] = "three"
    del texts[3]
    assert [(key, value) for _, key, value in texts.changes(seq)] == [(3, "three"), (3, None)]


def test_comparing_is_by_value_and_merging_keeps_values(
    texts: alexpy.Store[int, str], tmp_path: Path
) -> None:
    assert texts == {1: "one", 2: "zwei ä"}
    assert texts != {1: b"one", 2: "zwei ä".encode()}
    assert texts | {3: "three"} == {1: "one", 2: "zwei ä", 3: "three"}
    with alexpy.open(tmp_path / "json", codec=codecs.json) as other:
        other.update(texts)
        assert other == texts
        assert texts == other.snapshot()
        other[2] = "two"
        assert other != texts


def test_arrays_are_compared_whole(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "a", codec=codecs.numpy("f8", 2)) as store:
        store.put_many([1, 2], np.array([[1, 2], [3, 4]]))
        assert store == {1: np.array([1.0, 2.0]), 2: np.array([3.0, 4.0])}
        assert store != {1: np.array([1.0, 2.0]), 2: np.array([3.0, 5.0])}
        assert store == store.snapshot()
        assert np.array([3.0, 4.0]) in store.values()
        assert (2, [3.0, 4.0]) in store.items()
        assert (2, [3.0]) not in store.items()


def test_a_read_only_handle_is_pickled_with_its_codec(texts: alexpy.Store[int, str], tmp_path: Path) -> None:
    with alexpy.open(texts.path, read_only=True) as reader:
        copy = pickle.loads(pickle.dumps(reader))
        assert copy[1] == "one"
        copy.close()
    with alexpy.open(tmp_path / "own", codec=OWN) as store:
        store[1] = b"abc"
    with alexpy.open(tmp_path / "own", codec=OWN, read_only=True) as reader:
        copy = pickle.loads(pickle.dumps(reader))
        assert copy[1] == b"abc"
        copy.close()


def test_asyncio_sees_values(tmp_path: Path) -> None:
    async def main() -> None:
        async with alexpy.aio.open(tmp_path / "store", codec=codecs.json) as store:
            await store.put_many([1, 2], [{"a": 1}, [1]])
            assert await store.get(1) == {"a": 1}
            assert [item async for item in store.scan()] == [(1, {"a": 1}), (2, [1])]
            async with store.batch() as batch:
                batch[3] = "x"
            assert await store.floor(9) == (3, "x")
            async with await store.snapshot() as snapshot:
                assert await snapshot.get_many([2, 3]) == [[1], "x"]

    asyncio.run(main())


# ---- names ----


@pytest.mark.parametrize("kind", TAKEN)
def test_a_codec_of_alexpy_is_found_again_by_its_name(kind: str) -> None:
    codec, _ = TAKEN[kind]
    if codec is OWN:
        with pytest.raises(alexpy.FormatError, match=r"codec=alexpy.Codec\('reversed', encode, decode\)"):
            codecs.named(codec.name)
        return
    again = codecs.named(codec.name)
    assert again == codec
    assert hash(again) == hash(codec)
    assert pickle.loads(pickle.dumps(codec)) == codec
    assert eval(repr(codec), {"alexpy": alexpy}) == codec


def test_another_codec_is_refused_and_both_are_named(tmp_path: Path) -> None:
    alexpy.open(tmp_path / "text", codec=codecs.text).close()
    alexpy.open(tmp_path / "bytes").close()
    for path, codec, words in (
        ("text", codecs.json, ["text", "json"]),
        ("bytes", codecs.text, ["bytes", "text"]),
        ("text", codecs.numpy("<f8"), ["text", "numpy('<f8', ())"]),
    ):
        with pytest.raises(alexpy.FormatError) as raised:
            alexpy.open(tmp_path / path, codec=codec)
        for word in words:
            assert word in str(raised.value)
    with alexpy.open(tmp_path / "text", codec=codecs.text) as store:
        assert store.codec is codecs.text


def test_a_codec_of_ones_own_is_to_be_passed(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "own", codec=OWN) as store:
        store[1] = b"abc"
    for _ in range(2):
        with pytest.raises(
            alexpy.FormatError, match=r"codec 'reversed', which is none of alexpy\.codecs; pass it"
        ):
            alexpy.open(tmp_path / "own")
    with alexpy.open(tmp_path / "own", codec=OWN) as store:
        assert store[1] == b"abc"


@pytest.mark.parametrize(
    "name",
    [
        "numpy(1)",
        "numpy('O', ())",
        "numpy('<f8', (-1,))",
        "struct('@i')",
        "numpy(",
        "struct(())",
        "numpy('f8', ())",
        "numpy('<M8[D/0]', ())",
        "numpy({'a': 1}, ())",
        "numpy([('a',)], ())",
    ],
)
def test_a_name_that_no_codec_has_is_a_format_error(name: str) -> None:
    with pytest.raises(alexpy.FormatError):
        codecs.named(name)


class Side(enum.IntEnum):
    X = 3


NO_CODECS: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: Codec("text", reverse, reverse), ValueError, "is the name of a codec of alexpy.codecs"),
    (lambda: Codec("numpy(x)", reverse, reverse), ValueError, "is the name of a codec of alexpy.codecs"),
    (lambda: Codec("", reverse, reverse), ValueError, "printable"),
    (lambda: Codec("a\nb", reverse, reverse), ValueError, "printable"),
    (lambda: Codec(5, reverse, reverse), TypeError, "is a str, not a int"),  # type: ignore[arg-type]
    (lambda: Codec("own", 5, reverse), TypeError, "encode is a int"),  # type: ignore[arg-type]
    (lambda: codecs.numpy(object), TypeError, "holds Python objects"),
    (lambda: codecs.numpy("V0"), ValueError, "no bytes"),
    (lambda: codecs.numpy("f8", (0,)), ValueError, "no bytes"),
    (lambda: codecs.numpy("f8", "12"), TypeError, "shape is '12' (str"),  # type: ignore[call-overload]
    (lambda: codecs.numpy("f8", b"12"), TypeError, "shape is b'12' (bytes"),  # type: ignore[call-overload]
    (lambda: codecs.numpy("f8", (2.7,)), TypeError, "shape is 2.7 (float"),  # type: ignore[arg-type]
    (lambda: codecs.numpy("f8", 2.0), TypeError, "shape is 2.0 (float"),  # type: ignore[call-overload]
    (lambda: codecs.numpy("f8", None), TypeError, "shape is None; shape is an integer"),  # type: ignore[call-overload]
    (lambda: codecs.numpy("M8"), ValueError, "dates without a unit"),
    (lambda: codecs.numpy([("at", "M8", 2)]), ValueError, "dates without a unit"),
    (lambda: codecs.struct("id"), ValueError, "begin it with a byte order: '<id'"),
    (lambda: codecs.struct("@id"), ValueError, "begin it with a byte order: '<id'"),
    (lambda: codecs.struct("<k"), ValueError, "is no format"),
    (lambda: codecs.struct("<"), ValueError, "no field"),
    (lambda: codecs.struct("<0s"), ValueError, "has the field '0s', which holds nothing"),
    (lambda: codecs.numpy("f8", 2**30), ValueError, "has 8,589,934,592 bytes; a value has at most"),
    (lambda: codecs.struct("<3p"), ValueError, "which NumPy has not"),
    (lambda: codecs.struct(b"<i"), TypeError, "give the format as str"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("make", "error", "words"), NO_CODECS, ids=map(str, range(len(NO_CODECS))))
def test_what_is_no_codec_is_refused(make: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words.replace("(", r"\(")):
        make()


@pytest.mark.parametrize(
    ("shape", "lengths"),
    [
        (Side.X, (3,)),
        ((Side.X, 2), (3, 2)),
        (True, (1,)),
        (np.int64(3), (3,)),
        (np.array(3), (3,)),
        (np.array([3, 2]), (3, 2)),
        ([3, 2], (3, 2)),
    ],
    ids=repr,
)
def test_lengths_of_any_integer_type_make_a_name_that_opens_the_store(
    tmp_path: Path, shape: Any, lengths: tuple[int, ...]
) -> None:
    codec = codecs.numpy("f4", shape)
    assert codec.name == f"numpy('<f4', {lengths!r})"
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        store[1] = np.ones(lengths)
    with alexpy.open(tmp_path / "store") as store:
        assert store[1].shape == lengths


def test_what_is_passed_as_codec_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"codec is a str; give one of alexpy.codecs"):
        alexpy.open(tmp_path / "store", codec="text")  # type: ignore[arg-type]
    assert not (tmp_path / "store").exists()
    with pytest.raises(AttributeError):
        codecs.text.name = "other"  # type: ignore[misc]


# ---- rows of arrays ----


def test_bytes_in_records_keep_their_nuls(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "store", codec=codecs.struct("<h3s")) as store:
        store.put_many([1], np.array([(1, b"a\0")], [("a", "<i2"), ("b", "S3")]))
        store.put_many([2], [(2, b"a\0\0")])
        assert store[1] == (1, b"a\0\0")
        assert store.get_many([1, 2]).tolist() == [(1, b"a\0\0"), (2, b"a\0\0")]
        store[3] = store.get_many([1])[0]
        assert store[3] == store[1]
    with alexpy.open(tmp_path / "one", codec=codecs.struct("<3s")) as one:
        one.put_many([1, 2], np.array([b"a", b"bcd"], "S3"))
        assert one.get_many([1, 2]).tolist() == list(one.values()) == [b"a\0\0", b"bcd"]


def test_many_rows_are_one_array(tmp_path: Path) -> None:
    rows = np.arange(12.0).reshape(4, 3)
    with alexpy.open(tmp_path / "store", codec=codecs.numpy(np.float32, 3)) as store:
        assert store.put_many([4, 3, 2, 1], rows) == 4
        found = store.get_many([1, 4])
        assert found.dtype == np.float32
        assert found.tolist() == [[9, 10, 11], [0, 1, 2]]
        assert store.get_array([2]).tolist() == [[6, 7, 8]]
        assert store.get_many([]).shape == (0, 3)
        with pytest.raises(KeyError, match="9"):
            store.get_many([1, 9])
        assert store.get_many([9], [7, 8, 9]).tolist() == [[7, 8, 9]]
        with pytest.raises(alexpy.CodecError, match="cannot encode the default"):
            store.get_many([9], "a")
        assert store[1].tolist() == [9, 10, 11]
        assert not store[1].flags.writeable
        batch = next(store.scan_batches())
        assert batch.to_array(np.dtype((np.float32, 3))).shape == (4, 3)


def test_a_column_of_a_frame_is_many_rows_of_a_struct(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    with alexpy.open(tmp_path / "store", codec=codecs.struct("<d")) as store:
        store.put_many([1, 2], pandas.Series([0.5, 1.5]))
        assert list(store.values()) == [0.5, 1.5]


def test_rows_of_a_struct_are_a_structured_array(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "store", codec=codecs.struct("<id")) as store:
        store.put_many([1, 2], [(1, 0.5), (2, 1.5)])
        own = np.array([(3, 2.5)], ROW.newbyteorder("<"))
        packed = np.dtype([("a", "<i4"), ("b", "<f8")])
        assert own.dtype.itemsize == packed.itemsize == 12
        store.put_many([3], own)
        assert store[3] == (3, 2.5)
        found = store.get_many([3, 1])
        assert found["f0"].tolist() == [3, 1]
        assert found["f1"].tolist() == [2.5, 0.5]
        store[4] = found[0]
        assert store[4] == (3, 2.5)


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (codecs.numpy("i4"), 1.5),
        (codecs.numpy("i4"), 2**40),
        (codecs.numpy("u1"), -1),
        (codecs.numpy("f4"), 1e300),
        (codecs.numpy("f8"), "1.5"),
        (codecs.numpy("f8"), None),
        (codecs.numpy("f8"), [1.0]),
        (codecs.numpy("f8", 2), [1.0]),
        (codecs.numpy("S2"), b"abc"),
        (codecs.numpy("U2"), 5),
        (codecs.numpy("M8[D]"), np.datetime64("2024-01-01T12:00")),
        (codecs.numpy("M8[ns]"), np.datetime64("3000-01-01", "s")),
        (codecs.numpy("m8[ns]"), np.timedelta64(2**62, "s")),
        (codecs.numpy("f8"), np.ma.masked_array(1.5, mask=True)),
        (codecs.numpy("f8", 2), np.ma.masked_array([1.5, 2.5], mask=[True, False])),
        (codecs.numpy(ROW), (1.5, 1.5)),
        (codecs.numpy(ROW), (1, 1.5, 2)),
        (codecs.numpy(ROW), [1, 1.5]),
        (codecs.struct("<i"), 1.5),
        (codecs.struct("<id"), 5),
        (codecs.struct("<id"), (1,)),
        (codecs.struct("<B"), 256),
        (codecs.struct("<i3s"), (1, b"abcd")),
        (codecs.struct("<3s"), b"abcd"),
        (codecs.text, b"bytes"),
        (codecs.text, 5),
        (codecs.text, "\ud800"),
        (codecs.json, {1, 2}),
        (codecs.json, float("nan")),
        (codecs.json, b"bytes"),
        (codecs.json, None),
    ],
    ids=repr,
)
def test_a_value_that_would_change_is_refused_with_its_key(
    tmp_path: Path, codec: Codec[Any], value: Any
) -> None:
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        refused: list[Callable[[], object]] = [
            lambda: store.put(7, value),
            lambda: store.setdefault(7, value),
            lambda: store.put_if_absent(7, value),
            lambda: store.put_many([7], [value]),
            lambda: store.bulk_load([7], [value]),
            lambda: store.bulk_load([7], [value], progress=lambda *_: None),
            lambda: store.update({7: value}),
            lambda: store.batch().put(7, value),
            lambda: store.batch().put_many([7], [value]),
        ]
        if value is not None:
            refused.append(lambda: store.compare_and_set(7, None, value))
        for call in refused:
            with pytest.raises(alexpy.CodecError, match="value of key 7: ") as raised:
                call()
            assert (raised.value.key, raised.value.codec) == (7, codec.name)
            assert isinstance(raised.value, TypeError)
            assert isinstance(raised.value, ValueError)
            assert raised.value.__cause__ is not None
            assert "\n" not in str(raised.value)
        assert len(store) == 0
        assert store.stats().last_seq == 0


def test_dates_and_numbers_of_any_fitting_kind_are_rows(tmp_path: Path) -> None:
    import datetime as dt  # noqa: PLC0415

    with alexpy.open(tmp_path / "dates", codec=codecs.numpy("M8[s]")) as dates:
        dates[1] = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - what people have
        dates[2] = np.datetime64("2024-01-02")
        dates.put_many([3], np.array(["2024-01-03", "NaT"], "M8[ns]")[:1])
        assert dates.get_many([1, 2, 3]).astype("M8[D]").astype(str).tolist() == [
            "2024-01-01",
            "2024-01-02",
            "2024-01-03",
        ]
    with alexpy.open(tmp_path / "floats", codec=codecs.numpy("f4")) as floats:
        floats.put_many([1, 2, 3], [1, np.float64(0.5), True])
        floats.put_many([4], pa.array([2.5]))
        floats.put_many([5, 6], (x / 2 for x in (1, 2)))
        assert floats.get_many([1, 2, 3, 4, 5, 6]).tolist() == [1, 0.5, 1, 2.5, 0.5, 1]


@pytest.mark.parametrize(
    ("codec", "values", "words"),
    [
        (codecs.text, "ab", "values is a single str"),
        (codecs.text, {1: "a"}, "values is a dict"),
        (codecs.text, {"a"}, "values is a set"),
        (codecs.text, None, "values is None"),
        (codecs.text, 5, "values is a int"),
        (codecs.text, pa.table({"a": ["b"]}), "is a table; pick one column"),
        (codecs.text, pa.array([1]), "takes text"),
        (codecs.text, pa.array(["a", None]), r"values\[1\] is null"),
        (codecs.numpy("f8"), np.array([[1.0]]), r"must have the shape \(keys\)"),
        (codecs.numpy("f8", 3), np.array([1.0]), r"must have the shape \(keys, 3\)"),
        (codecs.numpy("i4"), np.array([1.5]), "takes int32, not float64"),
        (codecs.numpy("i4"), np.array([2**40]), "int32 does not hold"),
        (codecs.numpy(ROW), np.array([(1, 2)], [("a", "i4"), ("b", "i4")]), "it takes"),
    ],
    ids=map(str, range(13)),
)
def test_what_is_not_many_values_of_a_codec_is_refused(
    tmp_path: Path, codec: Codec[Any], values: Any, words: str
) -> None:
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        for call in (store.put_many, store.bulk_load, store.batch().put_many):
            with pytest.raises((TypeError, ValueError, OverflowError), match=words):
                call([1], values)
        assert len(store) == 0


@pytest.mark.parametrize(
    "values", [["a"], ["a", "b", "c"], np.array(["a"]), pa.array(["a"])], ids=["1", "3", "array", "arrow"]
)
def test_lengths_are_checked_first(tmp_path: Path, values: Any) -> None:
    with alexpy.open(tmp_path / "store", codec=codecs.text) as store:
        with pytest.raises(ValueError, match="there are 2 keys and"):
            store.put_many([1, 2], values)
        assert len(store) == 0


def test_text_comes_from_arrays_of_any_library(tmp_path: Path) -> None:
    values = ["a", "", "zwei ä"]
    forms: list[Any] = [
        values,
        iter(values),
        np.array(values),
        np.array(values, object),
        pa.array(values),
        pa.array(values).dictionary_encode(),
        pa.chunked_array([values[:1], values[1:]]),
        pa.array(values, pa.large_string())[0:3],
        pytest.importorskip("pandas").Series(values),
        pytest.importorskip("polars").Series(values),
    ]
    with alexpy.open(tmp_path / "store", codec=codecs.text) as store:
        for number, form in enumerate(forms):
            store.clear()
            assert store.put_many([1, 2, 3], form) == 3, number
            assert list(store.values()) == values, number


def test_counters_are_added_to_where_values_are_such_numbers(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "ints", codec=codecs.numpy("i8")) as ints:
        assert ints.add_many([1, 2], 5).tolist() == [5, 5]
        assert ints[1] == 5
        with pytest.raises(TypeError, match="deltas are floats"):
            ints.add_many([1], 0.5)
    with alexpy.open(tmp_path / "floats", codec=codecs.struct("<d")) as floats:
        assert floats.add_many([1, 1], [1, 2]).tolist() == [1, 3]
        assert floats[1] == 3.0
    with alexpy.open(tmp_path / "text", codec=codecs.text) as text:
        with pytest.raises(TypeError, match="codec of this store is text"):
            text.add_many([1], 1)
        assert len(text) == 0


# ---- codecs that misbehave ----


class TroubleError(Exception):
    pass


def failing(error: BaseException) -> Callable[[bytes], bytes]:
    def fail(data: bytes) -> bytes:
        if data == b"bad":
            raise error
        return data

    return fail


READS: dict[str, Callable[[alexpy.Store[int, Any]], object]] = {
    "getitem": lambda s: s[7],
    "get": lambda s: s.get(7),
    "get_many": lambda s: s.get_many([1, 7]),
    "first": lambda s: s.floor(7),
    "nth": lambda s: s.nth(-1),
    "items": lambda s: list(s.items()),
    "values": lambda s: list(s.values()),
    "dict": dict,
    "pop": lambda s: s.pop(7),
    "pop with default": lambda s: s.pop(7, None),
    "popitem": lambda s: s.popitem(),
    "setdefault": lambda s: s.setdefault(7, b"good"),
    "changes": lambda s: list(s.changes(0)),
    "equal": lambda s: s == {1: b"good", 7: b"bad"},
    "snapshot": lambda s: s.snapshot()[7],
    "in items": lambda s: (7, b"bad") in s.items(),
}


@pytest.fixture
def spoiled(store_path: Path) -> Path:
    """A store in which key 7 has a value that `failing` does not decode."""
    with alexpy.open(store_path, codec=Codec("failing", bytes, bytes)) as store:
        store.update({1: b"good", 7: b"bad"})
    return store_path


@pytest.mark.parametrize("call", READS.values(), ids=READS)
@pytest.mark.parametrize("error", [KeyError(7), StopIteration(), TroubleError("my\nown")], ids=repr)
def test_what_a_codec_raises_is_neither_a_missing_key_nor_an_end(
    spoiled: Path, call: Callable[..., object], error: Exception
) -> None:
    with alexpy.open(spoiled, codec=Codec("failing", bytes, failing(error))) as store:
        with pytest.raises(
            alexpy.CodecError, match="the codec failing cannot decode the value of key 7: "
        ) as raised:
            call(store)
        assert raised.value.__cause__ is error
        assert raised.value.key == 7
        assert "\n" not in str(raised.value)
        view = store.get_view(7)
        assert view is not None
        assert bytes(view) == b"bad"


@pytest.mark.parametrize("call", READS.values(), ids=READS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=repr)
def test_ctrl_c_and_no_memory_pass(spoiled: Path, call: Callable[..., object], error: BaseException) -> None:
    with (
        alexpy.open(spoiled, codec=Codec("failing", bytes, failing(error))) as store,
        pytest.raises(type(error)),
    ):
        call(store)


def test_an_iteration_goes_on_after_a_value_that_is_not_decoded(spoiled: Path) -> None:
    with alexpy.open(spoiled, codec=Codec("failing", bytes, failing(TroubleError()))) as store:
        store[8] = b"good"
        iterator = store.scan()
        assert next(iterator) == (1, b"good")
        with pytest.raises(alexpy.CodecError):
            next(iterator)
        assert next(iterator) == (8, b"good")


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        ("text", "its encode() returned a str, which is no buffer"),
        (5, "its encode() returned a int, which is no buffer"),
        (None, "its encode() returned a NoneType, which is no buffer"),
        (np.str_("text"), "its encode() returned a str_, which is no buffer"),
        (np.arange(4)[::2], "not C-contiguous"),
    ],
    ids=repr,
)
def test_a_codec_that_returns_no_buffer_is_named_with_the_key(
    tmp_path: Path, encoded: Any, words: str
) -> None:
    with alexpy.open(tmp_path / "store", codec=Codec("mine", lambda _: encoded, bytes)) as store:
        for call in (
            lambda: store.put(7, "x"),
            lambda: store.put_many([7], ["x"]),
            lambda: store.batch().put(7, "x"),
        ):
            with pytest.raises((TypeError, BufferError)) as raised:
                call()
            for word in ("codec mine", "key 7", words):
                assert word in str(raised.value)
        assert len(store) == 0


@pytest.mark.parametrize(
    "encoded",
    [bytearray(b"abc"), memoryview(b"abc"), np.frombuffer(b"abc", "u1")],
    ids=["bytearray", "memoryview", "array"],
)
def test_a_codec_may_return_any_buffer(tmp_path: Path, encoded: Any) -> None:
    with alexpy.open(tmp_path / "store", codec=Codec("mine", lambda _: encoded, bytes)) as store:
        store[1] = "x"
        store.put_many([2], ["x"])
        assert store[1] == store[2] == b"abc"


def test_none_is_no_value(spoiled: Path) -> None:
    with alexpy.open(spoiled, codec=Codec("failing", lambda _: b"", lambda _: None)) as store:
        with pytest.raises(alexpy.CodecError, match="None is no value; to remove a key, delete it"):
            store[1] = None
        with pytest.raises(alexpy.CodecError, match=r"its decode\(\) returned None"):
            store.get(1)
        with pytest.raises(alexpy.CodecError):
            store.pop(1)
        assert len(store) == 2


def test_a_codec_may_use_and_close_the_store(tmp_path: Path) -> None:
    store: alexpy.Store[int, Any]
    seen: list[int] = []

    def encode(value: bytes) -> bytes:
        seen.append(len(store))
        return value

    def decode(data: bytes) -> bytes:
        seen.append(len(store))
        if data == b"close":
            store.close()
        return data

    def calls() -> list[Callable[[], object]]:
        return [
            lambda: store[1],
            lambda: store.get_many([1] * 20_000),
            lambda: next(store.scan()),
            lambda: next(store.snapshot().scan_values()),
            lambda: store.first(),  # noqa: PLW0108 - bound late
            lambda: next(store.changes(0)),
            lambda: store.setdefault(1, b"x"),
            lambda: store.put_many([1], [b"x"]),
            lambda: store.pop(1),
            lambda: store.popitem(),  # noqa: PLW0108 - bound late
        ]

    for number in range(len(calls())):
        store = alexpy.open(tmp_path / str(number), codec=Codec("busy", encode, decode))
        store[1] = b"close"
        try:
            calls()[number]()
        except alexpy.AlexError:
            assert store.closed
        store.close()
    assert seen


def test_a_codec_of_a_library_is_used_as_it_is(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "store", codec=Codec("zlib", zlib.compress, zlib.decompress)) as store:
        store.put_many(range(3), [b"a" * 1000] * 3)
        assert store.get_many([2]) == [b"a" * 1000]
        assert store.get_buffers([2]).offsets[1] < 50


def test_a_store_can_be_annotated_at_run_time() -> None:
    assert isinstance(alexpy.Store[int, str], type(list[int]))
    assert alexpy.Store[int, str].__origin__ is alexpy.Store
    assert alexpy.Snapshot[int, str].__origin__ is alexpy.Snapshot
    assert alexpy.WriteBatch[int, str].__origin__ is alexpy.WriteBatch
    assert struct.calcsize("<id") == codecs.struct("<id")._row_bytes


NO_UNITS = [
    "numpy('<M8[D/0]', ())",
    "numpy('<M8[0s]', ())",
    "numpy([('a', ('M8[D/0]', 2))], ())",
    "numpy(('M8[D/0]', 2), ())",
    "numpy({'names': ['a'], 'formats': ['M8[D/0]']})",
    "numpy('i4,m8[0ns]')",
]


@pytest.mark.parametrize("name", NO_UNITS)
def test_a_unit_of_no_length_does_not_end_the_process(tmp_path: Path, name: str) -> None:
    for call in (codecs.named, codecs.called):
        with pytest.raises((ValueError, alexpy.FormatError)):
            call(name)
    with pytest.raises((ValueError, alexpy.FormatError)):
        alexpy.repair(tmp_path, tmp_path / "new", codec=name)


def test_arrays_with_a_unit_of_no_length_are_refused(tmp_path: Path) -> None:
    nothing = np.array([1], "i8").view("M8[0s]")
    with pytest.raises(ValueError, match="no unit"):
        alexpy.AlexIndex(nothing, key="datetime64[s]")
    with alexpy.open(tmp_path / "store", key="datetime64[s]") as store:
        for call in (lambda: store.get(nothing[0]), lambda: [*store.scan(nothing[0])]):
            with pytest.raises(ValueError, match="no unit"):
                call()
    with pytest.raises(ValueError, match="of no length"):
        codecs.numpy("m8[0s]")


@pytest.mark.parametrize("name", ["numpy(", "numpy('<f4',(3,)", "TEXT", "no\nprint", "", "json(1)"])
def test_repair_takes_no_name_that_opens_nothing(store: alexpy.Store, tmp_path: Path, name: str) -> None:
    store.close()
    with pytest.raises((ValueError, alexpy.FormatError)):
        alexpy.repair(store.path, tmp_path / "new", codec=name)
    with pytest.raises(TypeError, match="codec is a int; give a codec, or its name"):
        alexpy.repair(store.path, tmp_path / "new", codec=5)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_a_struct_of_many_fields_is_refused_before_they_are_made() -> None:
    for fmt in ("<50000000i", "<3000000000x", "<i50000000x"):
        with pytest.raises(ValueError, match="at most"):
            codecs.struct(fmt)


@pytest.mark.parametrize(
    "dtype", [np.longdouble, np.clongdouble, [("a", "i1"), ("b", np.longdouble, 2)]], ids=str
)
def test_equal_values_are_equal_bytes_whatever_memory_held_before(tmp_path: Path, dtype: Any) -> None:
    codec = codecs.numpy(dtype)
    value: Any = (1, [1.5, 2.5]) if isinstance(dtype, list) else 1.5
    for _ in range(20):
        garbage = np.frombuffer(b"\xab" * 16, "u1").copy()
        del garbage
        assert bytes(codec.encode(value)) == bytes(codec.encode(value))
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        rows = np.empty(3, dtype)
        rows.view(np.uint8)[:] = 0xAB
        rows[:] = np.array([value] * 3, dtype)
        store.put_many([1, 2, 3], rows)
        store[4] = value
        assert len({bytes(view) for key in range(1, 5) if (view := store.get_view(key)) is not None}) == 1
        assert store.compare_and_set(1, value, value)


def test_bytes_between_fields_are_zeros(tmp_path: Path) -> None:
    codec = codecs.struct("<bxi")
    with alexpy.open(tmp_path / "store", codec=codec) as store:
        store.put_many([1], np.frombuffer(bytes(range(1, 7)), codec.dtype))  # type: ignore[attr-defined]
        view = store.get_view(1)
        assert view is not None
        assert bytes(view) == bytes([1, 0, 3, 4, 5, 6])


def test_arrays_of_text_are_rows_of_a_codec_of_such(tmp_path: Path) -> None:
    with alexpy.open(tmp_path / "store", codec=codecs.numpy("U3")) as store:
        store.put_many([1, 2], np.array(["abc", "ä"]))
        store.bulk_load([3, 4], np.array(["x", "yz"]))
        assert [*store.values()] == ["abc", "ä", "x", "yz"]

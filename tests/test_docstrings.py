"""Every public name has a docstring whose example runs, and the stub repeats the native ones."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from alexpy import (
    _alexpy,
    _convert,
    _index,
    _kinds,
    _mapping,
    _options,
    _rows,
    _shards,
    _store,
    _training,
    aio,
    codecs,
    errors,
    ship,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]


def _public() -> Iterator[tuple[str, Any]]:
    for name in alexpy.__all__:
        member = getattr(alexpy, name)
        if name == "__version__":
            continue
        yield name, member
        if inspect.isclass(member):
            for attribute in dir(member):
                owned = not any(hasattr(base, attribute) for base in (BlockingIOError, tuple))
                # What a sharded store does as one store does has its example there.
                told = name == "ShardedStore" and f"As `Store.{attribute}`" in str(
                    getattr(member, attribute).__doc__
                )
                if not attribute.startswith("_") and owned and not told:
                    yield f"{name}.{attribute}", getattr(member, attribute)
    yield "IndexStats", _index.IndexStats
    yield "StoreIterator", _alexpy.StoreIterator
    yield "ChangeIterator", _alexpy.ChangeIterator
    yield "AsyncStore", aio.AsyncStore
    for returned in (_alexpy.ArrowArray, _alexpy.ArrowStream, _alexpy.BatchIterator, _alexpy.RowIterator):
        yield returned.__name__, returned
    yield "IndexIterator", _alexpy.IndexIterator
    yield from ((f"ship.{name}", getattr(ship, name)) for name in ship.__all__)
    yield "alexpy._convert.Row", _convert.Row
    yield "alexpy._training.Order", _training.Order
    yield "alexpy._mapping.same", _mapping.same
    yield "alexpy._mapping.has", _mapping.has
    for module in (_convert, _kinds, _options, _rows, _shards, _store, codecs):
        for name, member in vars(module).items():
            if (
                inspect.isfunction(member)
                and not name.startswith("_")
                and member.__module__ == module.__name__
            ):
                yield f"{module.__name__}.{name}", member


PUBLIC = {
    name: member
    for name, member in _public()
    # Fields of dataclasses and exceptions are documented beside their annotation.
    if inspect.isclass(member) or inspect.isroutine(member) or inspect.isgetsetdescriptor(member)
}


def test_the_walk_finds_the_public_names() -> None:
    assert {"Store.scan", "Store.pop", "AlexIndex.get_many", "WriteBatch.put", "open", "LockedError"} <= set(
        PUBLIC
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_a_docstring_with_an_example_that_runs(
    name: str, store: alexpy.Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doc = inspect.getdoc(PUBLIC[name])
    assert doc, f"{name} has no docstring"
    summary = doc.splitlines()[0]
    assert summary.endswith("."), f"{name}: the first line is a sentence: {summary!r}"
    names = {"s": store, "x": alexpy.AlexIndex(), "np": np, "alexpy": alexpy}
    names |= vars(alexpy) | vars(errors) | {"integers": _convert.integers, "values": _convert.values}
    names |= {"refused_value": _convert.refused_value, "deltas": _convert.deltas}
    names |= {
        "Order": _training.Order,
        "raw": _convert.raw,
        "Row": _convert.Row,
        "share_memory": _convert.share_memory,
    }
    names |= {name: getattr(_options, name) for name in ("option", "described", "tell", "naming")}
    names |= {"check_names": _options.check_names, "nearest": _options.nearest}
    names |= {"same": _mapping.same, "of": _rows.of, "many": _rows.many, "arrow_parts": _rows.arrow_parts}
    names |= {
        "encoded": _rows.encoded,
        "decoded": _rows.decoded,
        "packed": _rows.packed,
        "texts": _rows.texts,
        "struct": struct,
    }
    names |= {"text_as_binary": _convert.text_as_binary, "open_raw": _store.open_raw}
    names |= {
        "name_of": _shards.name_of,
        "newest": _shards.newest,
        "check": _shards.check,
        "triples": _shards.triples,
        "names_any": _shards.names_any,
    }
    names |= {"publish": _shards.publish, "read": _shards.read, "Manifest": _shards.Manifest}
    names |= {"Shard": _shards.Shard, "any_array": _convert.any_array, "table": _convert.table}
    if name.startswith("alexpy._kinds."):
        names |= vars(_kinds)
    names |= {"refuse_one_value": codecs.refuse_one_value, "path": tmp_path / "index"}
    if name.startswith("ship."):
        pytest.importorskip("obstore", reason="obstore is not installed: pip install 'alexpy[ship]'")
        names |= {
            "folder": tmp_path / "shipped",
            "dest": tmp_path / "restored",
            "push": ship.push,
            "follow": ship.follow,
        }
    if inspect.isfunction(PUBLIC[name]):
        # Modules have functions of the same name: the one that is shown is meant.
        names[PUBLIC[name].__name__] = PUBLIC[name]
    test = doctest.DocTestParser().get_doctest(doc, names, name, None, None)
    is_property = inspect.isgetsetdescriptor(PUBLIC[name])
    assert test.examples or is_property, f"{name} has no example"
    failed = doctest.DocTestRunner(verbose=False).run(test).failed
    assert failed == 0, capsys.readouterr().out


def test_the_stub_repeats_the_docstrings_of_the_module() -> None:
    path = ROOT / "rust" / "python" / "stub_docs.py"
    spec = importlib.util.spec_from_file_location("stub_docs", path)
    assert spec is not None
    assert spec.loader is not None
    stub_docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stub_docs)
    text = stub_docs.STUB.read_text()
    assert stub_docs.documented(text) == text, f"run python {path.relative_to(ROOT)}"

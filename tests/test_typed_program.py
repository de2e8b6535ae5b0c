"""The program that `make lint` gives to type checkers runs, and leaves no public name out."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import alexpy
import alexpy.aio
import typed_program

# Whoever uses a store has one of these in hand.
USED = [
    alexpy.Store,
    alexpy.Snapshot,
    alexpy.WriteBatch,
    alexpy.AlexIndex,
    alexpy.ScanBatch,
    alexpy.ValueBuffers,
]


def test_the_typed_program_runs(tmp_path: Path) -> None:
    typed_program.main(tmp_path)


def _attributes() -> set[str]:
    tree = ast.parse(Path(typed_program.__file__).read_text())
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("owner", [alexpy, *USED], ids=lambda owner: owner.__name__)
def test_the_typed_program_uses_every_public_name(owner: object) -> None:
    names = alexpy.__all__ if inspect.ismodule(owner) else [n for n in dir(owner) if not n.startswith("_")]
    # A picture, which needs matplotlib.
    missing = set(names) - _attributes() - {"plot"}
    assert not missing, f"use {sorted(missing)} in tests/typed_program.py"

"""The engines by name. Their packages are imported only when one is made, in the process that measures it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alexpy.compare.engine import IndexEngine, StoreEngine

# Name: module below this package, class, and the package that must be there.
_STORES = {
    "alexpy": ("alexpy_store", "AlexpyStore", "alexpy"),
    "alexpy-unattended": ("alexpy_store", "Unattended", "alexpy"),
    "sqlite": ("sqlite", "SQLite", "sqlite3"),
    "lmdb": ("lightning", "Lmdb", "lmdb"),
    "rocksdict": ("rocks_default", "RocksDefault", "rocksdict"),
    "rocksdict-tuned": ("rocks_tuned", "RocksTuned", "rocksdict"),
    "leveldb": ("level", "LevelDb", "plyvel"),
    "rocksstore": ("rocks_store", "PhaseOne", "rocksdict"),
    "rocksstore-untuned": ("rocks_store", "PhaseOneAsItWas", "rocksdict"),
    "dict": ("dict_store", "DictStore", "alexpy"),
    "sorteddict": ("sorted_dict_store", "SortedDictStore", "sortedcontainers"),
    "lobtree": ("lobtree_store", "LOBTreeStore", "BTrees"),
}
_INDEXES = {
    "alexpy": ("alexpy_index", "AlexpyIndex", "alexpy"),
    "dict": ("dict_index", "DictIndex", "alexpy"),
    "sorteddict": ("sorted_dict_index", "SortedDictIndex", "sortedcontainers"),
    "llbtree": ("llbtree_index", "LLBTreeIndex", "BTrees"),
    "searchsorted": ("searchsorted_index", "SearchsortedIndex", "numpy"),
}
ON_DISK = ("alexpy", "sqlite", "lmdb", "rocksdict", "rocksdict-tuned", "leveldb")
OURS = "alexpy"
UNATTENDED = "alexpy-unattended"
"""Ours with nothing in the background: what keeping files small costs is judged by it."""
IN_MEMORY = ("dict", "sorteddict", "lobtree")
STORES = (*ON_DISK, *IN_MEMORY)
# Ours, phase 1 of the first plan (`decide.py`); they take part in that decision only.
PHASE_ONE = ("rocksstore", "rocksstore-untuned")
INDEXES = tuple(_INDEXES)
RIVALS_EXTRA = "pip install 'alexpy[compare]'"


def missing_package(kind: str, name: str) -> str | None:
    """Return the package that an engine needs and this Python lacks, or None."""
    package = (_INDEXES if kind == "index" else _STORES)[name][2]
    return None if find_spec(package) else package


def make_store(name: str) -> StoreEngine:
    """Return a new adapter; imports its package."""
    module, member, _ = _STORES[name]
    engine: StoreEngine = getattr(import_module(f".{module}", __name__), member)()
    return engine


def make_index(name: str) -> IndexEngine:
    """Return a new adapter; imports its package."""
    module, member, _ = _INDEXES[name]
    engine: IndexEngine = getattr(import_module(f".{module}", __name__), member)()
    return engine

"""What shows that a class is a database of PyTorch Geometric: its own tests, and rows of every type.

Its tests are in its repository, not in its package, so they are run from a checkout.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch_geometric import data
from torch_geometric.data import Database, OnDiskDataset, SQLiteDatabase, on_disk_dataset

if TYPE_CHECKING:
    from pathlib import Path

FILES = ("data/test_database.py", "data/test_on_disk_dataset.py", "loader/test_dataloader.py")


class Outcomes:
    """Collects how each test ended, in words, with its name."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a test's end, or the failure before it."""
        if report.when == "call" or report.outcome != "passed":
            self.found.append(f"{report.nodeid.rpartition('/')[2]} {report.outcome}")


def outcomes(kind: type[Database], folder: Path) -> tuple[list[str], list[str]]:
    """Run the tests in `folder`, that of a checkout; return what should come of them, and what did."""

    class InPlaceOfSQLite(kind):  # type: ignore[misc]
        def __init__(self, path: str, name: str, schema: Any = object) -> None:
            self.name = name
            super().__init__(path, schema)

    class InPlaceOfRocks(kind):  # type: ignore[misc]
        pass

    with pytest.MonkeyPatch.context() as patch:
        for module in (data, data.database, on_disk_dataset):
            patch.setattr(module, "SQLiteDatabase", InPlaceOfSQLite)
            patch.setattr(module, "RocksDatabase", InPlaceOfRocks)
        patch.setitem(OnDiskDataset.BACKENDS, "sqlite", InPlaceOfSQLite)
        ended = Outcomes()
        files = [str(folder / file) for file in FILES]
        code = pytest.main(
            ["-q", "--no-header", "-p", "no:cacheprovider", "-k", "database or on_disk", *files], [ended]
        )
    if code != pytest.ExitCode.OK:
        ended.found.append(f"pytest ended with {code}")
    return [f"{line.rpartition(' ')[0]} passed" for line in ended.found], ended.found


def mixed(kind: type[Database], folder: Path) -> list[str]:
    """Write rows of every type that a schema has, close, open, and return what is read, as text."""
    schema = {
        "count": int,
        "mean": float,
        "name": str,
        "x": {"dtype": torch.long, "size": (-1, 2)},
        "rest": object,
    }
    options = {"name": "mixed"} if kind is SQLiteDatabase else {}
    path = str(folder / f"mixed-{kind.__name__}")
    first = kind(path, schema=schema, **options)
    for at in range(100):
        means = (at, at / 3, math.inf, math.nan)
        tensor = torch.arange(2 * (at % 5)).view(-1, 2)
        first.insert(
            at - 50,
            {"count": -at, "mean": means[at % 4], "name": "\u00e9" * at, "x": tensor, "rest": [at, None]},
        )
    first.close()
    again = kind(path, schema=schema, **options)
    found = list(map(str, again.multi_get(range(-50, 50))))
    again.close()
    return found

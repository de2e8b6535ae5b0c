"""Copies a shelf into a new store of alexpy, and compares all of it.

    python examples/migrate/from_shelve.py data.shelf events --values json

The keys of a shelf are text; those that are integers in decimal digits are taken, or UUIDs with --keys uuid.
Values are unpickled: copy only a shelf that you trust. `dbm` holds all keys in memory. Needs no package
beside alexpy.
"""

from __future__ import annotations

import dbm
import shelve
from contextlib import contextmanager
from typing import TYPE_CHECKING

from moving import RefusedError, arguments, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from moving import Items


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Items]:
    """Open the shelf for reading."""
    try:
        with shelve.open(str(options.source), flag="r") as shelf:
            yield shelf.items
    except dbm.error as error:
        raise RefusedError(f"{options.source}: {error}") from error


def is_there(path: Path) -> bool:
    """Say whether a shelf goes by this name, whose files may have endings of their own."""
    return dbm.whichdb(path) is not None


def main() -> None:
    """Run the program."""
    run(arguments(__doc__ or "", keys="text"), opened, is_there)


if __name__ == "__main__":
    main()

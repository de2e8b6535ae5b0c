"""Copies a RocksDB database of rocksdict into a new store of alexpy, and compares all of it.

    python examples/migrate/from_rocksdict.py data.rocks events
    python examples/migrate/from_rocksdict.py data.rocks events --keys '>Q'      # made with raw_mode=True

Without raw mode, keys and values come back as the Python objects that they were, unpickled where rocksdict
pickled them: copy only a database that you trust. Needs rocksdict.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from moving import RefusedError, arguments, needed, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from moving import Items

rocksdict = needed("rocksdict")


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Items]:
    """Read a snapshot of a database that is open read-only."""
    if not (options.source / "CURRENT").is_file():
        # rocksdict would make the directory.
        raise RefusedError(f"{options.source} is no RocksDB database: it has no file CURRENT")
    family = options.column_family
    if family not in rocksdict.Rdict.list_cf(str(options.source)):
        raise RefusedError(f"{options.source} has no column family {family!r}")
    access = rocksdict.AccessType.read_only()
    with closing(rocksdict.Rdict(str(options.source), access_type=access)) as database:
        chosen = database if family == "default" else database.get_column_family(family)
        snapshot = chosen.snapshot()
        yield snapshot.items


def main() -> None:
    """Run the program."""
    parser = arguments(__doc__ or "", keys="int")
    parser.add_argument("--column-family", default="default", help="which one (default: default)")
    run(parser, opened)


if __name__ == "__main__":
    main()

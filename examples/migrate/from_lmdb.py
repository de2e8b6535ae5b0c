"""Copies a database of LMDB into a new store of alexpy, and compares all of it.

    python examples/migrate/from_lmdb.py data.lmdb events --keys '>Q'

Keys of a database with `integerkey=True` are '<Q' on most machines ('<I' if they have four bytes). As every
reader of LMDB, this one makes the lock file if there is none. Needs lmdb.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from moving import RefusedError, arguments, needed, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from moving import Items

lmdb = needed("lmdb")


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Items]:
    """Read in one transaction, so that both passes see the same items."""
    try:
        with lmdb.open(
            str(options.source), subdir=options.source.is_dir(), readonly=True, create=False, max_dbs=1
        ) as environment:
            name = None if options.database is None else options.database.encode()
            database = environment.open_db(name, create=False)
            with environment.begin(database) as transaction:
                if database.flags(transaction)["dupsort"]:
                    raise RefusedError(
                        "the database has many values a key (dupsort); a store has one; nothing was kept"
                    )
                yield lambda: iter(transaction.cursor())
    except lmdb.NotFoundError:
        raise RefusedError(f"{options.source} has no database {options.database!r}") from None
    except lmdb.Error as error:
        raise RefusedError(str(error)) from error


def main() -> None:
    """Run the program."""
    parser = arguments(__doc__ or "", keys=None)
    parser.add_argument("--database", help="a named database; without it the unnamed one")
    run(parser, opened)


if __name__ == "__main__":
    main()

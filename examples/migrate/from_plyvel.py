"""Copies a LevelDB database into a new store of alexpy, and compares all of it.

    python examples/migrate/from_plyvel.py data.ldb events --keys '>Q' --prefix event-

LevelDB has no way to open a database read-only: as at every opening, it takes the lock and recovers its log.
The items are not changed. Needs plyvel.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from moving import RefusedError, arguments, needed, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from moving import Items

plyvel = needed("plyvel")


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Items]:
    """Read a snapshot, without filling the cache."""
    try:
        with closing(plyvel.DB(str(options.source), create_if_missing=False)) as database:
            snapshot = database.prefixed_db(options.prefix.encode()).snapshot()
            yield lambda: snapshot.iterator(fill_cache=False, verify_checksums=True)
    except plyvel.Error as error:
        raise RefusedError(f"{options.source}: {_told(error)}") from error


def _told(error: Exception) -> str:
    """Return what LevelDB says, which plyvel passes on as bytes."""
    return "; ".join(part.decode() if isinstance(part, bytes) else str(part) for part in error.args)


def main() -> None:
    """Run the program."""
    parser = arguments(__doc__ or "", keys=None)
    parser.add_argument(
        "--prefix", default="", help="only the keys that begin so, without it, as prefixed_db has them"
    )
    run(parser, opened)


if __name__ == "__main__":
    main()

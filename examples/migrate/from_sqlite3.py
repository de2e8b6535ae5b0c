"""Copies the rows of a query of an SQLite database into a new store of alexpy, and compares all of them.

    python examples/migrate/from_sqlite3.py app.db events "SELECT id, payload FROM events"

The first column is the key. Of two columns the second is the value; with --values json the other columns,
however many, make an object of their names and values. Needs no package beside alexpy.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from moving import RefusedError, arguments, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from moving import Items


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Items]:
    """Read in one transaction, so that both passes see the same rows."""
    uri = options.source.resolve().as_uri() + "?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN")
            yield lambda: rows(connection, options.query, as_json=options.values == "json")
        except sqlite3.Error as error:
            raise RefusedError(f"{options.source}: {error}") from error


def rows(connection: sqlite3.Connection, query: str, *, as_json: bool) -> Iterator[tuple[Any, Any]]:
    """Return an iterator over key and value of each row."""
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description or ()][1:]
    if not names or (len(names) > 1 and not as_json):
        raise RefusedError("the query must have two columns, or two or more with --values json")
    if not as_json:
        return cursor
    return ((key, dict(zip(names, rest, strict=True))) for key, *rest in cursor)


def main() -> None:
    """Run the program."""
    parser = arguments(__doc__ or "", keys="int")
    parser.add_argument("query", help="a SELECT whose first column is the key; ORDER BY it is fastest")
    run(parser, opened)


if __name__ == "__main__":
    main()

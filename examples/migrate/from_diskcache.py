"""Copies a diskcache.Cache, Index or FanoutCache into a new store of alexpy, and compares all of it.

    python examples/migrate/from_diskcache.py cache events

Values are unpickled where diskcache pickled them: copy only a cache that you trust. Items that have expired
are left out. Items that will expire stop the copy, for a store keeps what it has; --keep-expiring takes them.
Needs diskcache.
"""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

from moving import RefusedError, arguments, needed, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from moving import Items

diskcache = needed("diskcache")
GONE = object()


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Items]:
    """Open the cache, or the caches of which a FanoutCache is made."""
    # diskcache would make one that is not there.
    found = [
        path.parent for pattern in ("cache.db", "*/cache.db") for path in sorted(options.source.glob(pattern))
    ]
    if not found:
        raise RefusedError(f"{options.source} is no cache: no file cache.db in it or one folder below")
    with ExitStack() as stack:
        caches = [stack.enter_context(closing(diskcache.Cache(str(path)))) for path in found]
        yield lambda: (item for cache in caches for item in items(cache, keep=options.keep_expiring))


def items(cache: Any, *, keep: bool) -> Iterator[tuple[Any, Any]]:
    """Yield key and value of each item that has not expired."""
    for key in cache:
        value, expires = cache.get(key, default=GONE, expire_time=True)
        if value is GONE:
            continue
        if expires is not None and not keep:
            raise RefusedError(
                f"the key {key!r} has an expiry time, which a store does not; --keep-expiring takes it"
            )
        yield key, value


def main() -> None:
    """Run the program."""
    parser = arguments(__doc__ or "", keys="int")
    parser.add_argument(
        "--keep-expiring", action="store_true", help="copy items that have an expiry time, without it"
    )
    run(parser, opened)


if __name__ == "__main__":
    main()

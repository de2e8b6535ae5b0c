"""Opens the store of a command; what cannot be opened is told in the command line's words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexpy._store import open_raw

from .options import BAD_INPUT, STORE_ERROR, Stopped, config_from_env

if TYPE_CHECKING:
    import alexpy


def reader(store: str) -> alexpy.Store:
    """Open `store` for reading, also while it is written.

    Raises:
        Stopped: there is none.

    """
    return _opened(store, read_only=True)


def writer(store: str) -> alexpy.Store:
    """Open `store`, which must be there, for writing.

    Raises:
        Stopped: there is none.

    """
    return _opened(store, create=False)


def writer_of_new(store: str, durability: str | None = None) -> alexpy.Store:
    """Open `store` for writing, and make it if there is none.

    Raises:
        Stopped: the directory in which it would lie is not there.

    """
    return _opened(store, durability)


def codec_of(store: str) -> str | None:
    """Return the name of the codec of `store`; None if there is none, or no store."""
    try:
        with reader(store) as opened:
            return opened.codec_name
    except Stopped:
        return None


def no_store(store: str) -> Stopped:
    """Return the end of a command whose store is not there."""
    return Stopped(
        f"there is no store at {store}; check the path (`alexpy load` and `alexpy put` make new stores)",
        STORE_ERROR,
    )


def no_directory_for(path: str) -> Stopped:
    """Return the end of a command that would make a store in a directory that is not there."""
    # Not made as well: a mistyped path should not become a tree of directories.
    above = Path(path).absolute().parent
    return Stopped(f"there is no directory {above} to make {path} in; make that first", STORE_ERROR)


def _opened(store: str, durability: str | None = None, **options: Any) -> alexpy.Store:
    try:
        return open_raw(store, config=config_from_env(durability), **options)
    except FileNotFoundError as error:
        if error.filename is None or Path(error.filename) != Path(store).absolute():
            # Something in the store is missing.
            raise
        if options:
            raise no_store(store) from error
        raise no_directory_for(store) from error
    except ValueError as error:
        raise Stopped(str(error), BAD_INPUT) from error

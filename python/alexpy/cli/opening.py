"""Opens the store of a command; what cannot be opened is told in the command line's words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from alexpy._store import open_raw
from alexpy.errors import AlexError, FormatError

from .options import BAD_INPUT, STORE_ERROR, Stopped, config_from_env

if TYPE_CHECKING:
    import alexpy
    from alexpy import codecs


def reader(store: str) -> alexpy.Store[Any, bytes]:
    """Open `store` for reading, also while it is written.

    Raises:
        Stopped: there is none.

    """
    return _opened(store, read_only=True)


def writer(store: str, kind: str | None = None) -> alexpy.Store[Any, bytes]:
    """Open `store`, which must be there and whose keys must be of that `kind`, for writing.

    Raises:
        NoStore: there is none.
        FormatError: its keys are of another kind.

    """
    return _opened(store, create=False, key=kind)


def writer_of_new(
    store: str,
    durability: str | None = None,
    *,
    kind: str | None = None,
    codec: codecs.Codec[Any] | None = None,
    compression: str | None = None,
) -> alexpy.Store[Any, bytes]:
    """Open `store` for writing, and make it if there is none: with keys of `kind`, `codec` and `compression`.

    Raises:
        Stopped: the directory in which it would lie is not there.
        FormatError: it is there, with keys of another kind, values of another codec, or not compressed.

    """
    return _opened(store, durability, key=kind, codec=codec, compression=compression)


def made_with(store: str, kind: str | None, codec: codecs.Codec[Any] | None) -> tuple[str, str | None]:
    """Return the kind of keys of `store` and the name of its codec; what was asked for, if there is no store.

    Raises:
        FormatError: its keys are of another kind, or its values of another codec, than was asked for.

    """
    try:
        with _opened(store, read_only=True, key=kind, codec=codec) as opened:
            return opened.key_kind, opened.codec_name
    except NoStore:
        return kind or "int64", None if codec is None else codec.name


class NoStore(Stopped):
    """Ends a command whose store is not there."""


def no_store(store: str) -> NoStore:
    """Return the end of a command whose store is not there."""
    return NoStore(
        f"there is no store at {store}; check the path (`alexpy load` and `alexpy put` make new stores)",
        STORE_ERROR,
    )


def no_directory_for(path: str) -> Stopped:
    """Return the end of a command that would make a store in a directory that is not there."""
    # Not made as well: a mistyped path should not become a tree of directories.
    above = Path(path).absolute().parent
    return Stopped(f"there is no directory {above} to make {path} in; make that first", STORE_ERROR)


def _opened(store: str, durability: str | None = None, **options: Any) -> alexpy.Store[Any, bytes]:
    try:
        return open_raw(store, config=config_from_env(durability), **options)
    except FileNotFoundError as error:
        if error.filename is None or Path(error.filename) != Path(store).absolute():
            # Something in the store is missing.
            raise
        if options.get("read_only") or not options.get("create", True):
            raise no_store(store) from error
        raise no_directory_for(store) from error
    except FormatError as error:
        raise _another(store, **options) or _sharded(store) or error from error
    except ValueError as error:
        raise Stopped(str(error), BAD_INPUT) from error


def _sharded(store: str) -> Stopped | None:
    """Return the end of a command that was given many stores in place of one."""
    from alexpy import _shards  # noqa: PLC0415 - for an error only

    try:
        epoch = _shards.newest(Path(store))
        shards = _shards.read(Path(store), epoch).shards if epoch else ()
    except (AlexError, OSError):
        return None
    if not shards:
        return None
    return Stopped(
        f"{store} is a sharded store of {len(shards)} stores; commands take one of them: "
        f"{Path(store) / shards[0].directory}",
        STORE_ERROR,
    )


def _another(
    store: str,
    *,
    key: str | None = None,
    codec: codecs.Codec[Any] | None = None,
    compression: str | None = None,
    **_: Any,
) -> Stopped | None:
    """Return the end of a command that asked for another kind of keys or values than a store has."""
    if key is None and codec is None and compression is None:
        return None
    with reader(store) as opened:
        kind, name = opened.key_kind, opened.codec_name
        compressed = opened.compression
    if compression not in {None, compressed}:
        return Stopped(f"the values of {store} are not compressed; leave out --compression", STORE_ERROR)
    if key not in {None, kind}:
        return Stopped(
            f"the keys of {store} are of kind {kind}, not {key}; leave out --key-kind, or give {kind}",
            STORE_ERROR,
        )
    if codec is None or codec.name == name:
        return None
    if name is None:
        return Stopped(
            f"the values of {store} are plain bytes, made without --codec; leave it out", STORE_ERROR
        )
    return Stopped(
        f"the values of {store} are of the codec {name}, not {codec.name}; leave out --codec", STORE_ERROR
    )

"""Places that hold objects: the calls that shipping makes, and obstore behind them.

The only file that knows obstore, which is imported when it is needed (`pip install 'alexpy[ship]'`). Knows
keys and bytes; must not know what is shipped. What a place refuses is an OSError with the place, the key and
the place's own words.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from alexpy._path import absolute, flush, kind_of, lies_in
from alexpy.errors import CorruptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from obstore.store import ObjectStore

    Place: TypeAlias = str | os.PathLike[str] | ObjectStore
    """Where a store is shipped: a local directory, a URL, or a store object of obstore."""

_INSTALL = "alexpy.ship needs the package obstore: pip install 'alexpy[ship]'"
# A place that does not answer is an error after so long.
_RETRIES = 5
_RETRY_FOR = timedelta(seconds=60)
_OF_STATUS = {"401": errno.EACCES, "403": errno.EACCES, "404": errno.ENOENT}
# A store deletes up to this many objects in one request.
_DELETED_TOGETHER = 1000
# What obstore writes to a directory has such a name until it is whole, which its list leaves out.
_UNFINISHED = re.compile(r".+#\d+")


@dataclass(frozen=True, slots=True)
class Meta:
    """What a place says of an object without sending it."""

    key: str
    size: int
    etag: str | None
    modified: float
    """Seconds since 1970, by the clock of the place."""


class Objects(Protocol):
    """A place that holds objects. Keys are ASCII paths; every call sees what calls before it have done."""

    @property
    def place(self) -> str:
        """Its name in messages."""

    @property
    def folder(self) -> Path | None:
        """The directory, if it is a local one."""

    def put(self, key: str, data: bytes) -> None:
        """Store an object, in place of one that is there."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store an object unless one is there already, as one step; return whether it was stored."""

    def settle(self, key: str) -> None:
        """Make an object that is there safe from a power cut, if whoever stored it was killed before that."""

    def get(self, key: str) -> bytes:
        """Return an object; FileNotFoundError if there is none, CorruptionError if it is no file."""

    def head(self, key: str) -> Meta | None:
        """Return what is known of an object, as `get`; None if there is none."""

    def list(self, folder: str) -> Iterable[Meta]:
        """Return all objects below `folder`, in any order."""

    def top(self) -> Iterable[str]:
        """Return the first part of every key."""

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are not there are left out."""

    def sweep(self, folder: str, before: float) -> Iterable[int]:
        """Remove what puts that were killed before that time have left below `folder`; the bytes of each."""


def check_outside(objects: Objects, dest: str | os.PathLike[str]) -> None:
    """Refuse to make a store in the place that it comes from; ValueError."""
    folder = objects.folder
    if folder is not None and lies_in(absolute(dest), folder):
        raise ValueError(
            f"{absolute(dest)} lies in the place {folder}, which holds shipments and nothing else; choose a "
            "directory outside of it (nothing was changed)"
        )


def connect(where: Place, *, make: bool, outside: str | None = None) -> Objects:
    """Return the place that `where` names; with `make`, a local directory is made, but not in `outside`.

    Raises:
        FileNotFoundError: there is no such directory, or none to make it in.
        NotADirectoryError: it is a file.
        TypeError, ValueError: it is no path, no URL and no place of obstore, or one that cannot hold a store.
        ValueError: it is, or lies in, the directory `outside`.
        ImportError: obstore is not installed.

    """
    try:
        import obstore.store as stores  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError(_INSTALL, name="obstore") from None
    if isinstance(where, stores.ObjectStore):
        bucket = _Bucket(where, _name_of(where))
        _refuse_inside(bucket.folder, outside)
        return bucket
    if not isinstance(where, str | os.PathLike):
        raise TypeError(
            f"{where!r} is a {type(where).__name__}; give a directory, a URL such as s3://bucket/folder, or a"
            " store object of obstore"
        )
    text = os.fsdecode(where)
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is no place to ship to; give a directory, or a URL (s3://bucket/folder)")
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?", text)
    if scheme is None:
        return _directory(Path(text), make=make, outside=outside)
    rest = text[len(scheme[0]) :]
    if not scheme[2]:
        raise ValueError(
            f"{text} is no URL; write {scheme[1]}://..., or ./{text} if a directory of that name is meant"
        )
    if scheme[1].lower() == "file" and rest.startswith("/"):
        return _directory(Path(rest), make=make, outside=outside)
    return _Bucket(_of_url(text, scheme[1].lower()), text)


def _of_url(url: str, scheme: str) -> ObjectStore:
    import obstore.store as stores  # noqa: PLC0415 - an extra

    if scheme == "file":
        raise ValueError(f"{url} names no directory; write file:///path with three slashes")
    if scheme == "memory":
        raise ValueError(f"{url} would be empty each time; in a program, give an obstore.store.MemoryStore()")
    if scheme in {"http", "https"}:
        raise ValueError(f"{url} is a web server, which cannot hold a store; s3, gs, az and directories can")
    try:
        return stores.from_url(url, retry_config={"max_retries": _RETRIES, "retry_timeout": _RETRY_FOR})
    except Exception as error:
        raise ValueError(f"{url} is no place that obstore knows: {_first_line(error)}") from error


def _refuse_inside(folder: Path | None, outside: str | None) -> None:
    if folder is not None and outside is not None and lies_in(folder, outside):
        raise ValueError(
            f"{folder} is inside the store {outside}; ship to another directory (nothing was changed)"
        )


def _directory(path: Path, *, make: bool, outside: str | None) -> Objects:
    from obstore.store import LocalStore  # noqa: PLC0415 - an extra

    path = path.absolute()
    _refuse_inside(path, outside)
    if not path.is_dir():
        if path.exists():
            raise NotADirectoryError(
                errno.ENOTDIR, "is a file, and a store is shipped to a directory", str(path)
            )
        if not make:
            raise FileNotFoundError(errno.ENOENT, "there is no such directory", str(path))
        # Not made as well: a mistyped path should not become a tree of directories.
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no such directory to ship to", str(path.parent))
    return _Bucket(LocalStore(path, automatic_cleanup=True, mkdir=make), str(path))


def _name_of(store: ObjectStore) -> str:
    from obstore.store import LocalStore, MemoryStore  # noqa: PLC0415 - an extra

    if isinstance(store, LocalStore) and store.prefix is not None:
        return str(store.prefix)
    return "the store in memory" if isinstance(store, MemoryStore) else repr(store)


class _Bucket:
    """A place of obstore. What is put into a local directory is on the device before the call returns.

    Others see it before that, so what a put that was killed has left may be in the page cache alone.
    """

    def __init__(self, store: ObjectStore, place: str) -> None:
        import obstore.store  # noqa: PLC0415 - an extra

        self._obstore = obstore
        self._store = store
        self.place = place
        self.folder: Path | None = None
        if isinstance(store, obstore.store.LocalStore):
            self.folder = Path(store.prefix or "/")

    def put(self, key: str, data: bytes) -> None:
        with self._asked(key):
            self._obstore.put(self._store, key, data, mode="overwrite", use_multipart=False)
        self.settle(key)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        is_new = True
        try:
            with self._asked(key):
                self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except FileExistsError:
            is_new = False
        self.settle(key)
        return is_new

    def settle(self, key: str) -> None:
        # Buckets answer once an object is safe.
        if self.folder is not None:
            self._check_file(key)
            flush_tree(self.folder, key)

    def get(self, key: str) -> bytes:
        self._check_file(key)
        with self._asked(key):
            answer = self._obstore.get(self._store, key)
            data = bytes(answer.bytes())
            size = answer.meta["size"]
        if len(data) != size:
            raise OSError(errno.EIO, f"sent {len(data)} of {size} bytes", self._at(key))
        return data

    def head(self, key: str) -> Meta | None:
        self._check_file(key)
        try:
            with self._asked(key):
                found = self._obstore.head(self._store, key)
        except FileNotFoundError:
            return None
        return Meta(key, found["size"], found["e_tag"], found["last_modified"].timestamp())

    def list(self, folder: str) -> Iterator[Meta]:
        with self._asked(folder):
            for some in self._obstore.list(self._store, folder, chunk_size=1000):
                for one in some:
                    yield Meta(one["path"], one["size"], one["e_tag"], one["last_modified"].timestamp())

    def top(self) -> Iterable[str]:
        with self._asked(""):
            found = self._obstore.list_with_delimiter(self._store)
        return {*found["common_prefixes"], *(one["path"] for one in found["objects"])}

    def delete(self, keys: Iterable[str]) -> None:
        left = list(keys)
        while left:
            some, left = left[:_DELETED_TOGETHER], left[_DELETED_TOGETHER:]
            try:
                with self._asked(some[0]):
                    self._obstore.delete(self._store, some)
            except FileNotFoundError:
                # A directory says so, and stops there.
                for key in some:
                    self._delete_one(key)

    def sweep(self, folder: str, before: float) -> Iterator[int]:
        # Buckets keep nothing of a put that did not end.
        for at, _, names in os.walk(self.folder / folder) if self.folder is not None else ():
            for path in (Path(at, name) for name in names if _UNFINISHED.fullmatch(name)):
                with suppress(FileNotFoundError):
                    about = path.lstat()
                    if about.st_mtime < before:
                        path.unlink()
                        yield about.st_size

    def _delete_one(self, key: str) -> None:
        try:
            with self._asked(key):
                self._obstore.delete(self._store, key)
        except FileNotFoundError:
            pass

    def _check_file(self, key: str) -> None:
        """Refuse what would be waited for, or read, for ever; CorruptionError."""
        if self.folder is None:
            return
        path = self.folder / key
        try:
            mode = path.stat().st_mode
        except OSError:
            # Reading it says what is wrong.
            return
        if not stat.S_ISREG(mode):
            found = kind_of(mode)
            text = f"{path} is {found}, where a file was shipped; put the file back, or remove this one"
            raise CorruptionError(text, str(path), 0, "a file", found)

    def _at(self, key: str) -> str:
        return f"{self.place}/{key}" if key else self.place

    @contextmanager
    def _asked(self, key: str) -> Iterator[None]:
        """Turn what obstore raises into an OSError that names the object."""
        from obstore import exceptions  # noqa: PLC0415 - an extra

        at = self._at(key)
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, _first_line(error), at) from error
        except exceptions.BaseError as error:
            # OSError makes PermissionError and its like of the number.
            raise OSError(_errno_of(error), _first_line(error), at) from error


def flush_tree(root: Path, key: str) -> None:
    """Flush a file below `root`, and every directory from it up to the one that holds `root`."""
    path = root / key
    flush(path)
    for above in path.parents:
        flush(above)
        if above == root.parent:
            break


def _errno_of(error: Exception) -> int:
    from obstore import exceptions  # noqa: PLC0415 - an extra

    if isinstance(error, exceptions.AlreadyExistsError):
        return errno.EEXIST
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        return errno.EACCES
    if isinstance(error, exceptions.NotSupportedError):
        return errno.EOPNOTSUPP
    # Some errors are told by their text alone.
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        return int(found[1])
    status = re.search(r"status code: (\d+)", str(error))
    return errno.EIO if status is None else _OF_STATUS.get(status[1], errno.EIO)


def _first_line(error: Exception) -> str:
    # obstore adds a dump of its own structs behind the message.
    return str(error).split("\n", 1)[0].strip()

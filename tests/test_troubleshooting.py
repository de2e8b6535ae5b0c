"""The page of errors by their text: each text that it quotes is one that users meet.

Most are provoked here. Those for which a device would have to fail, or a newer version to exist, are looked
for in the sources instead. Capital words in a quoted text stand for anything.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import alexpy
from alexpy import codecs, errors

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
QUOTED = [
    " ".join(text.split()) for text in re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
]
ANYTHING = r"\b(?:PATH|FILE|FILES|PLACE|N|KIND|NAME|WHAT|WHY|CAUSE|MESSAGE)\b"

# Functions that return what an error says, each given an empty folder.
PROVOKE: list[Callable[[Path], str]] = []


def pattern(quoted: str) -> str:
    return ".+?".join(re.escape(part) for part in re.split(ANYTHING, quoted))


def make(path: Path, **options: Any) -> Path:
    with alexpy.open(path, **options) as store:
        if store.codec is None:
            store.put_many([1, 2, 3], [b"value" * 1000] * 3)
    return path


def provokes(function: Callable[[Path], str]) -> Callable[[Path], str]:
    PROVOKE.append(function)
    return function


def message(call: Callable[[], object]) -> str:
    """What a call raises or warns of, as a user sees it."""
    with pytest.raises((Exception, Warning)) as raised:
        call()
    return " ".join(str(raised.value).split())


def of_child(run: Callable[[], object]) -> str:
    """What a call raises in a forked child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        text = "nothing was raised"
        try:
            run()
        except alexpy.ForkedError as error:
            text = str(error)
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


def of_process(program: str, *arguments: object, **environment: str) -> str:
    """The last line that a program writes to standard error."""
    package = str(Path(alexpy.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": package} | environment,
        timeout=60,
    )
    assert done.returncode == 1, done
    return done.stderr.strip().splitlines()[-1]


@provokes
def locked_by_this_process(tmp: Path) -> str:
    with alexpy.open(tmp / "s"):
        return message(lambda: alexpy.open(tmp / "s"))


@provokes
def locked_by_another(tmp: Path) -> str:
    with alexpy.open(tmp / "s"):
        return of_process("import alexpy, sys; alexpy.open(sys.argv[1])", tmp / "s")


@provokes
def no_store(tmp: Path) -> str:
    return message(lambda: alexpy.open(tmp / "s", read_only=True))


@provokes
def no_parent(tmp: Path) -> str:
    return message(lambda: alexpy.open(tmp / "a" / "s"))


@provokes
def a_file(tmp: Path) -> str:
    (tmp / "s").touch()
    return message(lambda: alexpy.open(tmp / "s"))


@provokes
def other_files(tmp: Path) -> str:
    (tmp / "x").touch()
    return message(lambda: alexpy.open(tmp))


@provokes
def another_kind(tmp: Path) -> str:
    return message(lambda: alexpy.open(make(tmp / "s"), key="uuid"))


@provokes
def another_codec(tmp: Path) -> str:
    return message(lambda: alexpy.open(make(tmp / "s"), codec=codecs.json))


@provokes
def a_codec_of_ones_own(tmp: Path) -> str:
    make(tmp / "s", codec=alexpy.Codec("mine", str.encode, bytes.decode))
    return message(lambda: alexpy.open(tmp / "s"))


@provokes
def a_sharded_store(tmp: Path) -> str:
    alexpy.ShardedStore.create(tmp / "s", [10])
    return message(lambda: alexpy.open(tmp / "s"))


@provokes
def older_manifests(tmp: Path) -> str:
    path = make(tmp / "s", segment_bytes=1 << 16)
    older = {name: (path / name).read_bytes() for name in ("MANIFEST-A", "MANIFEST-B")}
    with alexpy.open(path, segment_bytes=1 << 16) as store:
        for key in range(400):
            store[key] = bytes(1000)
    for name, content in older.items():
        (path / name).write_bytes(content)
    return message(lambda: alexpy.open(path))


@provokes
def damage(tmp: Path) -> str:
    path = make(tmp / "s")
    [segment, *_] = sorted(path.glob("seg-*"))
    content = bytearray(segment.read_bytes())
    content[content.index(b"value") + 100] ^= 1
    segment.write_bytes(content)

    def read() -> None:
        with alexpy.open(path, read_only=True) as store:
            store.get_many([1, 2, 3])

    return message(read)


_LIMITED = """
import alexpy, os, resource, signal, sys
store = alexpy.open(sys.argv[1])
store.put_many(range(100), [bytes(1_000_000)] * 100)
"""


@provokes
def no_descriptors(tmp: Path) -> str:
    program = "resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6)); alexpy.open(sys.argv[1] + '2')"
    return of_process(_LIMITED + program, tmp / "s")


@provokes
def no_memory(tmp: Path) -> str:
    program = """
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20),) * 2)
store.get_buffers(range(100))
"""
    return of_process(_LIMITED + program, tmp / "s")


@provokes
def moved(tmp: Path) -> str:
    with alexpy.open(tmp / "s") as store:
        store[1] = b"one"
        (tmp / "s").rename(tmp / "t")
        text = message(store.flush)
        (tmp / "t").rename(tmp / "s")
    return text


@provokes
def history_gone(tmp: Path) -> str:
    with alexpy.open(tmp / "s", segment_bytes=1 << 16) as store:
        for _ in range(30):
            store.put_many(range(100), [bytes(100)] * 100)
        store.compact()
        return message(lambda: list(store.changes(0)))


def two_copies(tmp: Path) -> None:
    ship = pytest.importorskip("alexpy.ship")
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'alexpy[ship]'")
    with alexpy.open(make(tmp / "a")) as store:
        ship.push(store, tmp / "place")
    shutil.copytree(tmp / "a", tmp / "b")
    with alexpy.open(tmp / "a") as store:
        store[4] = b"four"
        ship.push(store, tmp / "place")


@provokes
def fenced(tmp: Path) -> str:
    two_copies(tmp)
    with alexpy.open(tmp / "b") as store:
        store[5] = b"five"
        return message(lambda: alexpy.ship.push(store, tmp / "place"))


@provokes
def followed_epoch_given_up(tmp: Path) -> str:
    two_copies(tmp)
    alexpy.ship.follow(tmp / "place", tmp / "mirror")
    with alexpy.open(tmp / "b") as store:
        alexpy.ship.push(store, tmp / "place", fork=True)
    return message(lambda: alexpy.ship.follow(tmp / "place", tmp / "mirror"))


@provokes
def mirror(tmp: Path) -> str:
    two_copies(tmp)
    alexpy.ship.follow(tmp / "place", tmp / "mirror")
    return message(lambda: alexpy.open(tmp / "mirror"))


@provokes
def epoch_taken(tmp: Path) -> str:
    alexpy.ShardedStore.create(tmp / "s", [10])
    shards = [("shard-0", None, 10), ("shard-1", 10, None)]
    return message(lambda: alexpy.ShardedStore.publish(tmp / "s", shards, epoch=1))


@provokes
def read_only(tmp: Path) -> str:
    with alexpy.open(make(tmp / "s"), read_only=True) as store:
        return message(lambda: store.put(1, b""))


@provokes
def closed(tmp: Path) -> str:
    store = alexpy.open(tmp / "s")
    store.close()
    return message(lambda: store.get(1))


@provokes
def ended_batch(tmp: Path) -> str:
    with alexpy.open(tmp / "s") as store:
        batch = store.batch()
        batch.discard()
        return message(batch.commit)


@provokes
def closed_snapshot(tmp: Path) -> str:
    with alexpy.open(tmp / "s") as store:
        snapshot = store.snapshot()
        snapshot.close()
        return message(snapshot.first)


@provokes
def forked(tmp: Path) -> str:
    with alexpy.open(tmp / "s") as store:
        return of_child(lambda: store.get(1))


@provokes
def forked_snapshot(tmp: Path) -> str:
    with alexpy.open(tmp / "s") as store, store.snapshot() as snapshot:
        return of_child(lambda: snapshot.get(1))


@provokes
def forked_iterator(tmp: Path) -> str:
    with alexpy.open(make(tmp / "s")) as store:
        items = store.scan()
        return of_child(lambda: next(items))


@provokes
def pickled(tmp: Path) -> str:
    with alexpy.open(tmp / "s") as store:
        return message(lambda: pickle.dumps(store))


@provokes
def closed_in_a_call(tmp: Path) -> str:
    with alexpy.open(make(tmp / "s")) as store:
        return message(lambda: store.backup(tmp / "t", progress=lambda *_: store.close()))


@provokes
def text_key(tmp: Path) -> str:
    with alexpy.open(tmp / "s") as store:
        return message(lambda: store.get("seven"))  # type: ignore[call-overload]


@provokes
def large_key(tmp: Path) -> str:
    with alexpy.open(tmp / "s") as store:
        return message(lambda: store.get(2**63))


@provokes
def text_value(tmp: Path) -> str:
    with alexpy.open(tmp / "s") as store:
        return message(lambda: store.put(1, "one"))  # type: ignore[call-overload]


@provokes
def refused_by_a_codec(tmp: Path) -> str:
    with alexpy.open(tmp / "s", codec=codecs.json) as store:
        return message(lambda: store.put(1, {1, 2}))


@provokes
def misspelt(tmp: Path) -> str:
    return message(lambda: alexpy.open(tmp / "s", durabilty="sync"))  # type: ignore[call-overload]


@provokes
def forgotten(tmp: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.warns(ResourceWarning) as seen:
            alexpy.open(tmp / "s")
    return str(seen[0].message)


@provokes
def no_such_instructions(tmp: Path) -> str:
    return of_process("import alexpy", tmp, ALEXPY_SIMD="avx3")


# A device that fails, a file system that is full, versions to come, defects.
IN_SOURCES = (
    "PATH needs a reader of format",
    "PATH uses features",
    "PATH takes no more writes because",
    "cannot WHAT: No space left on device",
    "cannot WHAT: Input/output error",
    "there is no memory for N more bytes of the index",
    "PLACE holds sequence N, shipped from PATH",
    "WHAT failed: MESSAGE; that is a defect",
    "alexpy was built for debugging",
)
# What the operating system says, behind our own words.
OF_THE_SYSTEM = {"No space left on device", "Input/output error"}


def sources() -> str:
    """All text of the sources, string literals joined over their lines."""
    files = [*ROOT.glob("rust/*/src/**/*.rs"), *ROOT.glob("python/alexpy/**/*.py")]
    text = "\n".join(path.read_text() for path in files)
    text = re.sub(r"\\\n\s*", "", text)
    return re.sub(r'"\n\s*f?"', "", text)


def test_every_class_of_errors_is_on_the_page() -> None:
    for name in errors.__all__:
        assert f"`{name}`" in PAGE, name


@pytest.mark.slow
def test_every_error_that_is_provoked_is_on_the_page_and_every_text_on_it_is_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    met: set[str] = set()
    for provoke in PROVOKE:
        folder = tmp_path / provoke.__name__
        folder.mkdir()
        text = " ".join(provoke(folder).split())
        fits = {quoted for quoted in QUOTED if re.search(pattern(quoted), text)}
        assert fits, f"{provoke.__name__}: {text}"
        met |= fits
    rest = sorted(set(QUOTED) - met)
    assert [one for one in rest if not one.startswith(IN_SOURCES)] == []
    everything = sources()
    for quoted in rest:
        parts = [part.strip(" ;:(){}'\"") for part in re.split(ANYTHING, quoted)]
        lost = [part for part in parts if part not in everything and part not in OF_THE_SYSTEM]
        assert not lost, quoted
    assert len(met) > len(rest) > 0

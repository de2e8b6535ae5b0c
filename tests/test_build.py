"""Builds of sharded stores by many tasks: what a task leaves that goes on when its build has ended."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from alexpy import ShardedStore, _build, _shards
from alexpy._build import Build, Column, plan_of

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = Column("int64", np.dtype("i8"))
PLAN = plan_of({"id": NUMBERS, "x": NUMBERS}, "id", None, None, "")


def filled(build: Build, first: int) -> str:
    return build.fill(PLAN, np.arange(first, first + 10), np.arange(10))


@contextlib.contextmanager
def at_work(build: Build, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A task that has made its store, and goes on when the block is left."""
    made, go_on = threading.Event(), threading.Event()

    @contextlib.contextmanager
    def slow(*arguments: Any, **options: Any) -> Any:
        with alexpy.open(*arguments, **options) as shard:
            made.set()
            go_on.wait()
            yield shard

    def task() -> None:
        # Its files may be gone.
        with contextlib.suppress(OSError, alexpy.AlexError):
            filled(build, 0)

    monkeypatch.setattr("alexpy._store.open", slow)
    thread = threading.Thread(target=task)
    thread.start()
    made.wait()
    monkeypatch.setattr("alexpy._store.open", alexpy.open)
    yield
    go_on.set()
    thread.join()


def test_a_try_that_goes_on_when_its_build_was_given_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Build(str(tmp_path / "s"))
    with at_work(build, monkeypatch):
        build.abandon()
    with pytest.raises(FileNotFoundError):
        filled(build, 0)
    assert not list(tmp_path.iterdir())


def test_a_try_that_goes_on_when_its_build_was_published_leaves_nothing_and_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Build(str(tmp_path / "s"))
    with at_work(build, monkeypatch):
        build.publish([filled(build, 0), filled(build, 100)], [100])
        assert len(list((tmp_path / "s").iterdir())) == 3
    assert len(list((tmp_path / "s").iterdir())) == 3
    with ShardedStore.open(tmp_path / "s") as store:
        assert store.bounds == [(None, 100), (100, None)]
        assert len(store) == 20


def test_what_a_task_makes_while_its_build_is_being_removed_is_removed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Build(str(tmp_path / "s"))
    filled(build, 0)
    late = [build.path / build.name / "late"]
    remove = shutil.rmtree

    def overtaken(directory: Path, **options: Any) -> None:
        remove(directory, **options)
        if late:
            late.pop().mkdir(parents=True)

    monkeypatch.setattr("alexpy._build.shutil.rmtree", overtaken)
    build.abandon()
    assert not late
    assert not list(tmp_path.iterdir())


def failing(function: Callable[..., Any], error: BaseException, *, after: bool) -> Callable[..., Any]:
    """Return a function that raises once: before it has done its work, or after it."""
    calls: list[None] = []

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(None)
        if len(calls) > 1:
            return function(*arguments, **options)
        if after:
            function(*arguments, **options)
        raise error

    return call


def written(path: Path, keys: range) -> None:
    """Build and publish two shards of keys, as what schedules tasks does."""
    build = Build(str(path))
    try:
        middle = keys[len(keys) // 2]
        parts = [np.arange(keys.start, middle), np.arange(middle, keys.stop)]
        build.publish([build.fill(PLAN, part, part) for part in parts], [middle])
    except BaseException:
        build.abandon()
        raise


def check_no_remains(path: Path) -> None:
    manifests = [_shards.read(path, epoch) for epoch in range(1, _shards.newest(path) + 1)]
    named = {shard.directory for manifest in manifests for shard in manifest.shards}
    assert {one.name for one in path.iterdir() if one.is_dir()} == named


# What is called on the way to a publication and after it, in this order.
STEPS: dict[str, tuple[object, str]] = {
    "flush of shards": (_build, "flush"),
    "link": (os, "link"),
    "unlink": (Path, "unlink"),
    "flush of the manifest": (_shards, "flush"),
    "removal of tries": (_build, "_remove"),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")], ids=["interrupt", "disk"]
)
@pytest.mark.parametrize("step", range(len(STEPS)), ids=STEPS)
def test_a_build_that_ends_early_at_any_step_of_its_publication_leaves_a_whole_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException, after: bool
) -> None:
    path, (owner, name) = tmp_path / "s", list(STEPS.values())[step]
    written(path, range(10))
    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt, OSError):
        patch.setattr(owner, name, failing(getattr(owner, name), error, after=after))
        written(path, range(100, 120))
    check_no_remains(path)
    published = step + after > 1
    with ShardedStore.open(path) as store:
        assert list(store) == list(range(100, 120) if published else range(10))
        written(path, range(200, 210))
        assert store.refresh() == 2 + published
        assert list(store) == list(range(200, 210))
    check_no_remains(path)


def test_an_epoch_that_could_not_be_flushed_says_that_it_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.EIO, "Input/output error")
    monkeypatch.setattr(_shards, "flush", failing(_shards.flush, error, after=False))
    with pytest.raises(OSError, match=r"epoch 1 is published, but .* could not be flushed .*kept") as raised:
        written(tmp_path / "s", range(10))
    assert raised.value.errno == errno.EIO


def test_a_build_that_cannot_know_whether_it_was_published_keeps_its_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"

    def damaged(where: Path) -> None:
        manifest = where / _shards.name_of(1)
        manifest.rename(tmp_path / "whole")
        manifest.write_text("{")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(_shards, "flush", damaged)
    with pytest.raises(OSError, match="Input/output error"):
        written(path, range(10))
    (tmp_path / "whole").rename(path / _shards.name_of(1))
    with ShardedStore.open(path) as store:
        assert list(store) == list(range(10))


def test_of_two_builds_the_one_that_was_overtaken_removes_its_own_shards_only(tmp_path: Path) -> None:
    path = tmp_path / "s"
    late = Build(str(path))
    written(path, range(10))
    with pytest.raises(alexpy.FencedError):
        late.publish([filled(late, 0)], [])
    late.abandon()
    check_no_remains(path)
    with ShardedStore.open(path) as store:
        assert list(store) == list(range(10))


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")], ids=["interrupt", "disk"]
)
def test_shards_that_were_made_and_published_stay_when_what_follows_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(_shards, "flush", failing(_shards.flush, error, after=False))
    with pytest.raises(type(error)):
        ShardedStore.create(tmp_path / "s", [10])
    with ShardedStore.open(tmp_path / "s") as store:
        assert len(store) == 0
        assert store.bounds == [(None, 10), (10, None)]


def test_what_another_build_has_published_in_the_directory_stays_when_making_shards_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = ShardedStore.publish

    def beaten(path: Path, shards: Any, *, epoch: int) -> None:
        with alexpy.open(path / "other") as other:
            other[1] = b"one"
        publish(path, [("other", None, None)], epoch=epoch)
        publish(path, shards, epoch=epoch)

    monkeypatch.setattr(ShardedStore, "publish", beaten)
    with pytest.raises(alexpy.FencedError):
        ShardedStore.create(tmp_path / "s", [10])
    with ShardedStore.open(tmp_path / "s") as store:
        assert dict(store) == {1: b"one"}
    assert sorted(path.name for path in (tmp_path / "s").iterdir() if path.is_dir()) == ["other"]

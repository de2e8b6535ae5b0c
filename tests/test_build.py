"""Builds of sharded stores by many tasks: what a task leaves that goes on when its build has ended."""

from __future__ import annotations

import contextlib
import shutil
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import alexpy
from alexpy import ShardedStore
from alexpy._build import Build, Column, plan_of

if TYPE_CHECKING:
    from pathlib import Path

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

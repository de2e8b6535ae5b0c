"""The process that measures one engine in one suite: a line of JSON in, a line of JSON out.

    echo '{"suite": "small", "engine": "sqlite", "sizes": {}, "folder": "."}' | python -m
    alexpy.compare.worker

A wrong answer ends it with exit code 1 and a line on standard error.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bench import Bench, WrongAnswer
from .engine import Lacks
from .engines import IN_MEMORY, OURS, make_index, make_store
from .promise import Mode
from .sizes import Sizes
from .suites import RAW, SUITES, followers, growth, huge, large, readers, squeezed

if TYPE_CHECKING:
    from collections.abc import Callable

# What a process does that a suite started, by the name under which its line has the path of the store.
_CHILDREN: dict[str, Callable[[Any, Path, dict[str, Any]], None]] = {
    "reader": lambda store, path, spec: readers.run_reader(
        store, path, Path(spec["keys"]), Path(spec["own"])
    ),
    "follower": lambda store, path, spec: followers.run_follower(
        store, path, Path(spec["keys"]), Path(spec["own"])
    ),
    "squeezed": lambda store, path, spec: squeezed.run_reader(
        store,
        Mode(spec["mode"]),
        (path, Path(spec["asked"]), Path(spec["group"])),
        spec["cell"],
        Sizes(**spec["sizes"]),
    ),
    "writer": lambda store, path, spec: large.run_writer(
        store, Mode(spec["mode"]), Sizes(**spec["sizes"]), path, (spec["first"], spec["tail"])
    ),
    "adder": lambda store, path, spec: huge.run_writer(
        store, Mode(spec["mode"]), path, spec["first"], spec["count"]
    ),
    "grower": lambda store, path, spec: growth.run_writer(store, spec, path),
}


def main() -> int:
    """Do what the line says."""
    spec = json.loads(sys.stdin.readline())
    for role, work in _CHILDREN.items():
        if role in spec:
            work(make_store(spec["engine"]), Path(spec[role]), spec)
            return 0
    sizes = Sizes(**spec["sizes"])
    try:
        answer = measure(spec["suite"], spec["engine"], sizes, Path(spec["folder"]))
    except WrongAnswer as wrong:
        sys.stderr.write(f"wrong answer of {spec['engine']} in suite {spec['suite']}: {wrong}\n")
        return 1
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def measure(suite_name: str, name: str, sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Run one suite on one engine in this process; return its figures and how they were taken."""
    suite = SUITES[suite_name]
    bench = Bench()
    about: dict[str, Any] = {"versions": {}, "settings": {}}
    mode = suite.mode
    if name == RAW:
        about |= {"label": "raw disk", "promise": _module(suite.module).RAW_PROMISE}
        _module(suite.module).run_raw(bench, sizes, folder)
    elif suite.kind == "index":
        index = make_index(name)
        about |= {"label": index.name, "versions": index.versions(), "promise": Mode.MEMORY.text}
        _module(suite.module).run(bench, index, mode, sizes, folder)
    else:
        mode = Mode.MEMORY if name in IN_MEMORY else mode
        store = make_store(name)
        about |= {"label": store.name, "versions": store.versions(), "settings": store.settings()}
        try:
            about["promise"] = store.promise(mode)
        except Lacks as reason:
            about["promise"] = f"n/a: {reason}"
            return {"figures": {}, "checked": 0, "memory": {}, "mode": mode, **about}
        if suite_name == "large":
            large.run(bench, store, mode, sizes, folder, name)
            if name == OURS:
                large.run_readers(bench, sizes, folder / "store", name)
        elif suite_name in {"followers", "squeezed", "growth", "huge"}:
            # These start processes of their own, which find the engine by its name.
            _module(suite.module).run(bench, store, mode, sizes, folder, name)
        else:
            getattr(_module(suite.module), suite.work)(bench, store, mode, sizes, folder)
    return {
        "figures": bench.figures,
        "checked": bench.checked,
        "memory": bench.memory,
        "mode": mode,
        **about,
    }


def _module(name: str) -> Any:
    return import_module(f".suites.{name}", __package__)


if __name__ == "__main__":
    sys.exit(main())

"""Folders are layers: no file of the Rust crates uses one above it, and no files use each other in a circle.

The layers stand in layers.toml. Nothing need be built: `pytest --noconftest tests/test_layers.py`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from rust_arrows import Crate, circles, upward

ROOT = Path(__file__).parents[1]
TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_name("layers.toml").read_text())
EXCEPTIONS: list[dict[str, str]] = TABLE.pop("exceptions", [])
PICTURE = ROOT / "docs" / "ARCHITECTURE.md"


def excepted(crate: str) -> frozenset[tuple[str, str]]:
    return frozenset((entry["from"], entry["to"]) for entry in EXCEPTIONS if entry["crate"] == crate)


def listed(layers: list[str | list[str]]) -> list[str]:
    return [name for names in layers for name in ([names] if isinstance(names, str) else names)]


def faults(
    src: Path, layers: list[str | list[str]], ground: list[str], let: frozenset[tuple[str, str]] = frozenset()
) -> list[str]:
    """What is wrong with the arrows of the crate in `src`, each in a sentence."""
    arrows = Crate(src).arrows()
    found = [
        f"an exception names {here} -> {there}, which is no arrow"
        for here, there in sorted(let)
        if there not in arrows.get(here, ())
    ]
    arrows = {here: {there for there in ends if (here, there) not in let} for here, ends in arrows.items()}
    tops, names = {name.split("/")[0] for name in arrows}, [*listed(layers), *ground]
    found += [f"{name} is in no layer" for name in sorted(tops.difference(names))]
    found += [f"no file is in the layer {name}" for name in names if name not in tops]
    beside = [[names] if isinstance(names, str) else names for names in layers]
    found += [
        f"{here} uses {there}, which does not lie below it" for here, there in upward(arrows, beside, ground)
    ]
    return found + [f"files use each other: {' -> '.join([*way, way[0]])}" for way in circles(arrows)]


@pytest.mark.parametrize("crate", TABLE)
def test_no_file_of_a_crate_uses_one_above_it_and_none_use_each_other(crate: str) -> None:
    found = faults(ROOT / "rust" / crate / "src", **TABLE[crate], let=excepted(crate))
    assert not found, "\n".join(["", *found])


def test_three_exceptions_at_most_and_each_has_a_reason() -> None:
    assert len(EXCEPTIONS) <= 3
    for entry in EXCEPTIONS:
        assert entry.keys() == {"crate", "from", "to", "reason"}
        assert len(entry["reason"].split()) > 5, entry


def drawn(picture: str, crate: str) -> dict[str, set[str]]:
    """The layers of a crate in the block that begins with its folder, each with its files.

    Names are indented by two spaces, prose follows behind two more, files of a folder are indented further.
    """
    block = picture.split(f"\nrust/{crate}/src/", 1)[1].split("\n```", 1)[0].split("\n")[1:]
    layers: dict[str, set[str]] = {}
    for line in block:
        names = line.strip().split("  ")[0].split()
        if line.startswith("   "):
            layers[next(reversed(layers))].update(names)
        else:
            layers |= {name.removesuffix("/").removesuffix(".rs"): set() for name in names}
    return layers


@pytest.mark.parametrize("crate", TABLE)
def test_the_picture_in_the_architecture_page_shows_the_same_layers_and_their_files(crate: str) -> None:
    layers, ground = listed(TABLE[crate]["layers"]), TABLE[crate]["ground"]
    picture = drawn(PICTURE.read_text(), crate)
    assert list(picture)[: len(layers)] == layers
    assert sorted(list(picture)[len(layers) :]) == sorted(ground)
    for name, files in picture.items():
        folder = ROOT / "rust" / crate / "src" / name
        assert files == {path.stem for path in folder.glob("*.rs")} - {"mod"}, name


# What the test itself sees, on small crates that were made up for it.


def crate_of(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.rs"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


THREE = {
    "lib": "mod calls;\nmod disk;\nmod error;\npub use calls::get;\n",
    "calls__mod": "mod get;\nmod put;\npub use get::get;\npub(crate) use self::put::{put, Put as Write};\n",
    "calls__get": "use crate::disk::{self, Disk};\nuse super::put::put;\npub fn get() {}\n",
    "calls__put": "use crate::error::Error;\npub(crate) fn put() {}\npub(crate) struct Put;\n",
    "disk__mod": "mod file;\npub(crate) trait Disk {}\n",
    "disk__file": "use super::Disk;\nfn open() -> crate::error::Error { crate::error::Error }\n",
    "error": "pub struct Error;\n",
}  # fmt: skip
LAYERS = {"layers": ["lib", "calls", "disk"], "ground": ["error"]}


def test_arrows_lead_to_the_file_that_defines_a_name(tmp_path: Path) -> None:
    assert Crate(crate_of(tmp_path, **THREE)).arrows() == {
        "lib": set(),
        "calls/mod": set(),
        "calls/get": {"disk/mod", "calls/put"},
        "calls/put": {"error"},
        "disk/mod": set(),
        "disk/file": {"disk/mod", "error"},
        "error": set(),
    }
    assert faults(tmp_path, **LAYERS) == []


@pytest.mark.parametrize(
    "line",
    [
        "use crate::calls::put;",
        "use crate::calls::Write;",
        "use crate::{calls::{put as write}, error::Error};",
        "use super::super::calls::put::Put;",
        "pub(crate) use crate::calls::put;",
        "fn f() { crate::calls::put() }",
        "use crate::calls;\nfn f() { calls::put() }",
        "macro_rules! m { () => { $crate::calls::put() } }",
        "const A: char = '\"'; fn f<'a>(_: &'a str) { crate::calls::put(); let _ = \"\\\"\"; }",
        "mod inner { use super::super::super::calls::put; }",
        "use crate::calls::*;\nuse crate::calls::put::*;",
    ],
)
def test_an_arrow_up_is_found_however_it_is_written(tmp_path: Path, line: str) -> None:
    crate_of(tmp_path, **THREE, disk__map=line)
    assert "disk/map uses calls/put, which does not lie below it" in faults(tmp_path, **LAYERS)


@pytest.mark.parametrize(
    "line",
    [
        "// use crate::calls::put;",
        "/* crate::calls::put() */",
        "/// See [`crate::calls::put`].\nfn f() {}",
        'const A: &str = "crate::calls::put()";',
        'const A: &str = r#"" crate::calls::put()"#;',
        "#[cfg(test)]\nmod tests { use crate::calls::put; }",
        "#[cfg(test)]\nuse crate::calls::put;",
        "#[cfg(all(test, unix))]\n#[allow(x)]\nfn f(_: [u8; 2]) { crate::calls::put() }",
        "use std::calls::put;\nuse alex_index::calls;",
        "fn f() { other::crate_::calls() }",
    ],
)
def test_what_is_no_code_of_the_crate_is_no_arrow(tmp_path: Path, line: str) -> None:
    crate_of(tmp_path, **THREE, disk__map=line)
    assert faults(tmp_path, **LAYERS) == []


def test_what_stands_behind_a_module_of_tests_counts(tmp_path: Path) -> None:
    crate_of(tmp_path, **THREE, disk__map="#[cfg(test)]\nmod t { fn f() { {} } }\nuse crate::calls::put;")
    assert faults(tmp_path, **LAYERS) == ["disk/map uses calls/put, which does not lie below it"]


def test_a_file_of_tests_is_left_out(tmp_path: Path) -> None:
    files = THREE | {"disk__mod": THREE["disk__mod"] + "#[cfg(test)]\nmod tests;\n"}
    crate_of(tmp_path, **files, disk__tests="use crate::calls::put;")
    assert faults(tmp_path, **LAYERS) == []


def test_the_ground_uses_the_ground_only(tmp_path: Path) -> None:
    files = THREE | {
        "error": "use crate::disk::Disk;\nuse crate::options::Options;\n",
        "options": "pub struct Options;",
    }
    crate_of(tmp_path, **files)
    assert faults(tmp_path, layers=LAYERS["layers"], ground=["error", "options"]) == [
        "error uses disk/mod, which does not lie below it",
    ]


def test_layers_side_by_side_do_not_use_each_other(tmp_path: Path) -> None:
    crate_of(tmp_path, **THREE)
    assert faults(tmp_path, layers=["lib", ["calls", "disk"]], ground=["error"]) == [
        "calls/get uses disk/mod, which does not lie below it",
    ]


def test_a_circle_of_files_is_found_within_one_layer(tmp_path: Path) -> None:
    files = THREE | {
        "calls__put": "use super::scan::Scan;\npub fn put() {}\n",
        "calls__scan": "use super::get::get;\npub struct Scan;\n",
    }
    crate_of(tmp_path, **files)
    assert faults(tmp_path, **LAYERS) == [
        "files use each other: calls/get -> calls/put -> calls/scan -> calls/get",
    ]


def test_a_module_and_the_file_inside_it_that_use_each_other_are_a_circle(tmp_path: Path) -> None:
    crate_of(
        tmp_path, **THREE | {"disk__mod": "mod file;\npub(crate) trait Disk {}\nfn f() { file::open() }\n"}
    )
    assert faults(tmp_path, **LAYERS) == ["files use each other: disk/file -> disk/mod -> disk/file"]


def test_files_and_layers_belong_together(tmp_path: Path) -> None:
    crate_of(tmp_path, **THREE, index__tail="")
    assert faults(tmp_path, layers=["lib", "calls", "log", "disk"], ground=["error"]) == [
        "index is in no layer",
        "no file is in the layer log",
    ]


def test_an_exception_lets_one_arrow_stand_and_falls_with_it(tmp_path: Path) -> None:
    crate_of(tmp_path, **THREE, disk__map="use crate::calls::put;")
    assert faults(tmp_path, **LAYERS, let=frozenset({("disk/map", "calls/put")})) == []
    (tmp_path / "disk" / "map.rs").write_text("")
    assert faults(tmp_path, **LAYERS, let=frozenset({("disk/map", "calls/put")})) == [
        "an exception names disk/map -> calls/put, which is no arrow",
    ]


def test_the_layers_are_read_from_a_picture() -> None:
    picture = """
```
rust/store/src/        from top to bottom
  lib.rs               the public names
  calls/               open/ close.rs and others
                         open close
  error.rs options.rs  the ground
```
rust/index/src/
  tree.rs
```
"""
    layers = {"lib": set(), "calls": {"open", "close"}, "error": set(), "options": set()}
    assert drawn(picture, "store") == layers
    assert drawn(picture, "index") == {"tree": set()}

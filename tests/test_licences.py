"""A wheel brings the licences of every crate that is linked into it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LICENCES = ROOT / "THIRD_PARTY_LICENSES.txt"
RULER = "=" * 80


def toml(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text())


def linked() -> set[str]:
    """Name and version of the crates in the extension module, without those of this repository."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("cargo is not installed")
    targets = [argument for target in toml("about.toml")["targets"] for argument in ("--target", target)]
    tree = f"{cargo} tree --frozen --package alexpy --edges normal --prefix none --format {{p}}".split()
    out = subprocess.run(
        [*tree, *targets], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    ).stdout
    lines = {line.removesuffix(" (*)").removesuffix(" (proc-macro)") for line in out.splitlines() if line}
    return {line.replace(" v", " ", 1) for line in lines if f"({ROOT}" not in line}


def sections() -> list[str]:
    return LICENCES.read_text().split(RULER)[1:]


def test_the_licences_are_those_of_the_crates_that_cargo_lock_has() -> None:
    listed = {
        crate for section in sections() for crate in re.findall(r"^- (\S+ \S+)$", section, re.MULTILINE)
    }
    crates = linked()
    assert len(crates) > 30
    assert listed == crates, "run `make licences`"


def test_every_licence_has_its_text_and_arrow_its_notice() -> None:
    for section in sections():
        head, text = section.split("-" * 80, 1)
        assert len(text.split()) > 40, head
    notice = "This product includes software developed at\nThe Apache Software Foundation"
    assert notice in LICENCES.read_text()


def test_the_licences_are_part_of_every_wheel() -> None:
    assert LICENCES.name in toml("pyproject.toml")["project"]["license-files"]


def test_cargo_deny_and_cargo_about_accept_the_same_licences() -> None:
    assert set(toml("about.toml")["accepted"]) == set(toml("deny.toml")["licenses"]["allow"])
    assert set(toml("about.toml")["targets"]) == set(toml("deny.toml")["graph"]["targets"])

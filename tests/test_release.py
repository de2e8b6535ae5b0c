"""A release is refused where its tag, the version of the crates and the changelog differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import check_release

if TYPE_CHECKING:
    from pathlib import Path

CARGO = """
[workspace.package]
version = "{version}"
[workspace.dependencies]
alex-index = {{ path = "rust/index", version = "{needed}" }}
alex-store = {{ path = "rust/store", version = "=0.2.0" }}
"""


def tree(
    folder: Path, version: str = "0.2.0", needed: str = "=0.2.0", heading: str = "## 0.2.0, 2027-01-31"
) -> Path:
    (folder / "Cargo.toml").write_text(CARGO.format(version=version, needed=needed))
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n\n- New.\n")
    return folder


def test_a_tree_that_fits_its_tag_is_released(tmp_path: Path) -> None:
    assert check_release.faults(tree(tmp_path), "v0.2.0") == []


@pytest.mark.parametrize("tag", ["0.2.0", "v0.2", "v0.2.0rc1", ""])
def test_a_tag_of_another_form_is_refused(tmp_path: Path, tag: str) -> None:
    assert len(check_release.faults(tree(tmp_path), tag)) == 1


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"version": "0.1.0"}, "has the version 0.1.0"),
        ({"needed": "0.2.0"}, "asks for alex-index 0.2.0"),
        ({"heading": "## Unreleased: 0.2.0"}, "no heading"),
        ({"heading": "## 0.2.01, 2027-01-31"}, "no heading"),
    ],
)
def test_what_does_not_fit_the_tag_is_named(tmp_path: Path, changed: dict[str, str], named: str) -> None:
    found = check_release.faults(tree(tmp_path, **changed), "v0.2.0")
    assert len(found) == 1
    assert named in found[0]

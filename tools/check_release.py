"""Says whether this tree is the release that a tag names: `python tools/check_release.py v0.1.0`.

The version of the workspace, that by which its crates name each other, and a dated heading of the changelog
must be that of the tag. Needs no package; the release workflow runs it first.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def faults(root: Path, tag: str) -> list[str]:
    """Return what does not fit the tag, each in a sentence."""
    version = tag.removeprefix("v")
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        return [f"{tag} is not the tag of a release, as v1.2.3 is"]
    workspace = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]
    found = []
    if workspace["package"]["version"] != version:
        found.append(f"Cargo.toml has the version {workspace['package']['version']}, not {version}")
    for name in ("alex-index", "alex-store"):
        needed = workspace["dependencies"][name]["version"]
        if needed != f"={version}":
            found.append(f"Cargo.toml asks for {name} {needed}, not ={version}")
    heading = rf"^## {re.escape(version)}, \d{{4}}-\d\d-\d\d$"
    if not re.search(heading, (root / "CHANGELOG.md").read_text(), re.MULTILINE):
        found.append(f"CHANGELOG.md has no heading '## {version}, YYYY-MM-DD'")
    return found


def main() -> int:
    """Print what does not fit; the exit code says whether anything does not."""
    found = faults(Path(__file__).parents[1], sys.argv[1] if len(sys.argv) > 1 else "")
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
